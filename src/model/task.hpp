#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::model {

enum class TaskState { queued, running, succeeded, failed, cancelled };

struct Progress {
    std::uint64_t done_bytes = 0;   // of content handled
    std::uint64_t total_bytes = 0;  // 0: unknown
    std::uint64_t wire_bytes = 0;   // payload and framing sent
    std::uint64_t rate_bytes = 0;   // content per second, lately
    std::string note;               // "vda: 41 %", for people
    bool operator==(const Progress&) const = default;
};

// One long-running piece of work, as it stands in the catalog.
struct Task {
    TaskId id;
    std::string kind;        // "snapshot_create", "send" …
    std::optional<VmId> vm;  // one running task at a time changes a VM
    // Changes no VM, so it does not wait for the VM's other tasks, and they do not wait for it.
    bool reads_only = false;
    std::string title;      // "send web1@nightly to dr"
    std::string actor;      // who asked for it, as in Event; empty: Understudy itself
    std::string arguments;  // JSON object
    TaskState state = TaskState::queued;
    std::string step;    // the step that runs, or is to run next
    std::string memo;    // JSON object: what steps leave for later ones
    std::string result;  // JSON object, once it has succeeded
    Progress progress;
    int attempts = 0;
    std::string error_kind;  // of the last failed attempt
    std::string error;       // its whole text
    bool cancel_requested = false;
    TimePoint created;
    TimePoint not_before;
    std::optional<TimePoint> started;
    std::optional<TimePoint> ended;
    std::string lease_node;
    std::optional<TimePoint> lease_until;

    bool ended_already() const { return state != TaskState::queued && state != TaskState::running; }
};

struct TaskLogLine {
    std::int64_t sequence = 0;  // ascending within a task
    TimePoint time;
    std::string text;
};

}  // namespace understudy::model
