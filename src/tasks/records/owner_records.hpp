#pragma once

#include "model/vm.hpp"
#include "tasks/records/record.hpp"

// What the kind of tasks/owners keeps.
namespace understudy::tasks {

struct KeepBranchArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    std::uint64_t epoch = 0;  // of the owner that superseded this cluster

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("epoch", self.epoch);
    }
};

struct KeepBranchResult {
    static constexpr int kVersion = 1;
    std::optional<SnapshotId> snapshot = {};  // that holds the branch

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("snapshot", self.snapshot);
    }
};

}  // namespace understudy::tasks
