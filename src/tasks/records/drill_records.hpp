#pragma once

#include "model/drill.hpp"
#include "model/vm.hpp"
#include "tasks/records/disk_records.hpp"

// What the kind of tasks/drills keeps.
namespace understudy::tasks {

struct ReplicaDrillArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    std::string wait = {};       // as of parse_boot_check
    std::uint64_t limit_ms = 0;  // for the guest to boot; 0: as configured
    std::string network = {};    // an isolated one; empty: none at all

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field("wait", self.wait);
        field("limit_ms", self.limit_ms);
        field("network", self.network);
    }
};

struct ReplicaDrillMemo {
    static constexpr int kVersion = 1;
    bool begun = false;  // it stands on its VM's disks, or is about to
    // What is made or may be: named before it is made.
    std::optional<std::vector<model::VmDisk>> volumes = {};
    std::optional<std::map<std::string, KeptSource>> heads = {};  // by target
    std::string nvram = {};                                       // a path
    std::uint64_t begins = 0;                // attempts; each but the last was cut off
    std::optional<model::Drill> drill = {};  // what came of it
    std::vector<model::ReadinessIssue> issues = {};
    std::vector<std::string> changes = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("begun", self.begun);
        field("volumes", self.volumes);
        field("heads", self.heads);
        field("nvram", self.nvram);
        field("begins", self.begins);
        field("drill", self.drill);
        field("issues", self.issues);
        field("changes", self.changes);
    }
};

struct ReplicaDrillResult {
    static constexpr int kVersion = 1;
    std::optional<model::Drill> drill = {};
    std::optional<std::vector<model::ReadinessIssue>> issues = {};
    std::optional<std::vector<std::string>> changes = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("drill", self.drill);
        field("issues", self.issues);
        field("changes", self.changes);
    }
};

}  // namespace understudy::tasks
