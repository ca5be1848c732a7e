#pragma once

#include "model/snapshot.hpp"
#include "tasks/records/record.hpp"

// What the kinds of tasks/files keep.
namespace understudy::tasks {

// ---- snapshot_export ----

struct SnapshotExportArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    std::string directory = {};
    std::string format = {};
    std::optional<SnapshotId> base = {};
    std::string base_directory = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field.required("directory", self.directory);
        field.required("format", self.format);
        field("base", self.base);
        field("base_directory", self.base_directory);
    }
};

struct SnapshotExportMemo {
    static constexpr int kVersion = 1;
    std::string directory = {};       // absolute
    std::string base_directory = {};  // of the base's export; empty: none
    std::string sums = {};            // the content of SHA256SUMS
    std::uint64_t bytes = 0;
    std::uint64_t file_bytes = 0;

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("directory", self.directory);
        field("base_directory", self.base_directory);
        field("sums", self.sums);
        field("bytes", self.bytes);
        field("file_bytes", self.file_bytes);
    }
};

struct SnapshotExportResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> directory = {};
    std::optional<std::string> format = {};
    std::optional<std::string> kind = {};  // "full", "incremental"
    std::optional<std::uint64_t> bytes = {};
    std::optional<std::uint64_t> file_bytes = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("directory", self.directory);
        field("format", self.format);
        field("kind", self.kind);
        field("bytes", self.bytes);
        field("file_bytes", self.file_bytes);
    }
};

// ---- snapshot_import ----

struct SnapshotImportArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};  // of a new VM: its id to be
    std::string directory = {};
    std::optional<SnapshotId> of = {};  // instead of a directory: a snapshot that is here
    std::string pool = {};
    // Only for a new VM:
    std::string name = {};                    // empty: no new VM
    std::optional<SnapshotId> snapshot = {};  // its id to be
    std::string base_directory = {};
    std::vector<std::string> accept = {};
    bool start = false;

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field("directory", self.directory);
        field("of", self.of);
        field("pool", self.pool);
        field("name", self.name);
        field("snapshot", self.snapshot);
        field("base_directory", self.base_directory);
        field("accept", self.accept);
        field("start", self.start);
    }
};

struct SnapshotImportMemo {
    static constexpr int kVersion = 1;
    std::optional<SnapshotId> snapshot = {};
    std::string kind = {};  // "full", "incremental", "nothing"
    std::optional<TransferId> transfer = {};
    std::optional<SnapshotId> copied = {};  // a snapshot here that is held while it is copied
    std::vector<std::string> changes = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("snapshot", self.snapshot);
        field("kind", self.kind);
        field("transfer", self.transfer);
        field("copied", self.copied);
        field("changes", self.changes);
    }
};

struct SnapshotImportResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> kind = {};
    std::optional<std::string> vm = {};
    std::optional<VmId> vm_id = {};
    std::optional<model::Snapshot> snapshot = {};
    std::optional<std::string> owner = {};
    std::optional<bool> new_vm = {};
    std::optional<bool> started = {};
    std::optional<std::vector<std::string>> changes = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("kind", self.kind);
        field("vm", self.vm);
        field("vm_id", self.vm_id);
        field("snapshot", self.snapshot);
        field("owner", self.owner);
        field("new_vm", self.new_vm);
        field("started", self.started);
        field("changes", self.changes);
    }
};

}  // namespace understudy::tasks
