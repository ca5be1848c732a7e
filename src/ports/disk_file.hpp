#pragma once

#include "ports/storage.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::ports {

// What one file, or a part of it, tells of one disk: all of it, or what changed. One thread.
class DiskLayer {
public:
    virtual ~DiskLayer() = default;
    virtual ByteSize size() const = 0;  // of the disk, whole 512-byte sectors
    // What the layer knows, to the byte. What it leaves out is as below; with nothing below, zero.
    // The stream keeps the file open itself.
    virtual Result<std::unique_ptr<ExtentStream>> extents() = 0;
    // Fills `into` from within its data extents. Fast where the calls ascend.
    virtual Result<> read(ByteOffset offset, std::span<std::byte> into) = 0;
};

struct NewDiskFile {
    std::string path;  // absolute; nothing is there yet
    ByteSize size;     // of the disk
    SnapshotId snapshot;
    // What the file is relative to; nothing: the file is whole.
    struct Base {
        SnapshotId snapshot;
        // The base's own file in this format, as seen from the new file's directory. Empty where
        // the format does without (needs_base_file).
        std::string file;
    };
    std::optional<Base> base;
};

// What a file must be about, by the names that it states, where its format has them.
struct WantedMoment {
    bool whole = true;  // the file is relative to nothing
    std::string base;   // else what it is relative to
    std::string until;  // what it leads to; of a file that holds several moments, the one to take
};

// A kind of file that holds a disk's content and that other tools read. Thread-safe.
class DiskFormat {
public:
    virtual ~DiskFormat() = default;
    virtual std::string ending() const = 0;    // of file names: "qcow2"
    virtual bool needs_base_file() const = 0;  // to write an increment
    virtual std::string name_of(
        const SnapshotId&) const = 0;  // what create() calls a moment; or ""
    // The file holds nothing yet; publish() makes it whole and durable, discard() deletes it.
    // Offsets and lengths on model::kGrain, ascending.
    virtual Result<std::unique_ptr<Incoming>> create(const NewDiskFile&) = 0;
    // The whole structure is checked before it returns; the last layer is the topmost. A file that
    // refers to others is opened alone. corrupt: not what the format prescribes (the text names the
    // place); invalid: of other moments, or no file of this format at all.
    virtual Result<std::vector<std::unique_ptr<DiskLayer>>> open(const std::string& path,
                                                                 const WantedMoment& wanted) = 0;
};

}  // namespace understudy::ports
