#pragma once

#include "ports/storage.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::ports {

// What one file, or one layer in a file, says about one disk: its whole content, or what changed.
// For one thread.
class DiskLayer {
public:
    virtual ~DiskLayer() = default;
    virtual ByteSize size() const = 0;  // of the disk, whole 512-byte sectors
    // What the layer knows, exact to the byte. A range that it leaves out has the content of the
    // layer below; if there is none below, it is zero. The stream itself keeps the file open.
    virtual Result<std::unique_ptr<ExtentStream>> extents() = 0;
    // Fills `into`; the range lies within data extents of this layer. Fast if the offsets of the
    // calls ascend.
    virtual Result<> read(ByteOffset offset, std::span<std::byte> into) = 0;
};

struct NewDiskFile {
    std::string path;  // absolute; nothing is there yet
    ByteSize size;     // of the disk
    SnapshotId snapshot;
    // What the file is relative to; nothing: the file is whole.
    struct Base {
        SnapshotId snapshot;
        // The base's own file in this format, as seen from the new file's directory. Empty if
        // the format needs no base file (needs_base_file).
        std::string file;
    };
    std::optional<Base> base;
};

// Which snapshots a file must contain. Compared with the names in the file, if its format has
// names.
struct WantedMoment {
    bool whole = true;  // the file is relative to nothing
    std::string base;   // else what it is relative to
    std::string until;  // the moment that it leads to; if it holds several, the one to take
};

// A kind of file that holds a disk's content and that other tools read. Thread-safe.
class DiskFormat {
public:
    virtual ~DiskFormat() = default;
    virtual std::string ending() const = 0;    // of file names: "qcow2"
    virtual bool needs_base_file() const = 0;  // to write an increment
    // The name that create() gives a moment in the file; "" if the format has no names.
    virtual std::string name_of(const SnapshotId&) const = 0;
    // Begins a file. publish() makes it whole and durable, discard() deletes it. What is written to
    // it ascends, with offsets and lengths that are multiples of model::kGrain.
    virtual Result<std::unique_ptr<Incoming>> create(const NewDiskFile&) = 0;
    // Opens a file and checks its whole structure before it returns. The last layer is the topmost.
    // If the file refers to other files, those are not opened. corrupt: it is not as the format
    // prescribes; the text names the place. invalid: it is about other moments than `wanted`, or it
    // is no file of this format.
    virtual Result<std::vector<std::unique_ptr<DiskLayer>>> open(const std::string& path,
                                                                 const WantedMoment& wanted) = 0;
};

}  // namespace understudy::ports
