#pragma once

#include "tasks/files/export_directory.hpp"
#include "tasks/queue/work.hpp"

#include <functional>
#include <vector>

namespace understudy::tasks {

// What an import reads: a chain of exports, each with the changes since the one below it, and the
// snapshot below the lowest, if there is one.
struct ImportChain {
    std::vector<Export> exports;   // bottom first; the last is the wanted one
    std::optional<SnapshotId> on;  // a snapshot that is here, under the lowest export
    bool is_copied = false;        // copies `on`'s content, too: new volumes are not made on it
    const Export& wanted() const { return exports.back(); }
    std::uint64_t total_bytes() const;  // to read, as far as it is stated
};

// For a snapshot that keeps its id and its VM: one export, on its base, which must be here.
// not_found: the base is not here (the text names it).
Result<ImportChain> chain_here(Site& site, Export wanted);
// For a new VM: the exports down to a full one, or to a base that this cluster has.
// `base_directory` has the export of the wanted export's base; empty: it is searched for.
Result<ImportChain> chain_of_new_vm(Site& site, Export wanted, const std::string& base_directory);

// Copies one disk of the wanted export, with all that is below it, into `into`. Every file is
// checked against its checksum, and its content against its digest, if the export states them.
// corrupt names the file.
Result<> import_disk(Site& site, const ImportChain& chain, std::size_t disk, ports::Incoming& into,
                     ByteSize size, const std::function<Result<>(ByteSize)>& go_on);

// Describes a snapshot that is here as an export without files, for a new VM that is made of it.
// All its content is in its base, which is the snapshot itself.
Result<Export> export_of_snapshot(Site& site, const SnapshotId& id);

// Whether a new VM with this id can have this name; refused: libvirt has another VM with this name.
Result<> check_name_is_free(Site& site, const std::string& name, const VmId& id);
// Starts a VM that was made here, as an operator would. If the start fails, the VM stays whole and
// stopped.
Result<> start_made_vm(Work& work, const VmId& id, const std::string& name);

// The size of a disk of the wanted export, by its files. Checks their structure.
Result<ByteSize> imported_size(Site& site, const ExportedDisk& disk);

}  // namespace understudy::tasks
