#pragma once

#include "ports/directories.hpp"
#include "ports/disk_file.hpp"
#include "tasks/queue/site.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::tasks {

// What a directory of exported files holds; docs/operating/export-import.md describes it.

inline constexpr const char* kManifest = "manifest.json";
inline constexpr const char* kSums = "SHA256SUMS";  // as sha256sum writes and checks them

// One file of a disk.
struct ExportedFile {
    std::string path;  // absolute
    std::string format;
    ports::WantedMoment wanted;
    std::optional<ports::FileSum> sum;  // nothing: whoever wrote the file stated none
};

struct ExportedDisk {
    model::SnapshotDisk disk;         // of the source; of a foreign export only the target is known
    std::vector<ExportedFile> files;  // each on the one before it
    bool whole = true;                // false: on the base's content
    std::string content;              // digest of the files' content; empty: not stated
    ByteSize data;                    // 0: not known
};

struct Export {
    std::string directory;
    VmId vm;
    std::string vm_name;
    std::optional<model::Ownership> ownership;  // nothing: not of an Understudy cluster
    model::Snapshot snapshot;
    model::Definition definition;
    struct Base {
        SnapshotId id;
        std::string name;
        std::string directory;  // its export, relative to this one; empty: not known
    };
    std::optional<Base> base;
    std::vector<ExportedDisk> disks;  // in the snapshot's order
};

// The manifest of an export whose disks have one file each with its sum; `made_by` is for people.
std::string format_manifest(const Export& exported, const std::string& made_by);

// Reads and checks all but the disks' content: an export of ours (its manifest is checked against
// its checksums), or one of Parallel Virtual Cluster. corrupt, invalid: what is wrong and where.
Result<Export> read_export(Site& site, const std::string& directory);

// Reads only an export of ours, which has manifest.json.
Result<Export> read_own_export(Site& site, const std::string& directory);
// Reads only an export that has snapshot.json, as Parallel Virtual Cluster's `vm snapshot export`
// and its automatic backups write it.
Result<Export> read_pvc_export(Site& site, const std::string& directory);

// Where the export of a snapshot is: `given` if that is not empty, else the place that `hint` gives
// relative to `directory`, else among the directories beside it. Nothing: not found there. The
// export must have files in `format`; empty: in any format.
Result<std::optional<Export>> find_export_of(Site& site, const SnapshotId& snapshot,
                                             const std::string& directory, const std::string& hint,
                                             const std::string& given, const std::string& format);

// Whether this is the name of a file in the directory itself. A manifest has only such names.
bool is_plain_name(const std::string& name);

}  // namespace understudy::tasks
