#pragma once

#include "tasks/queue/parts.hpp"

#include <optional>
#include <set>
#include <string>

// Which task waits for which. What a task is doing (Doing) is read from its row, in one place. One
// table says which doings keep an asker waiting (`rules` in turns.cpp). Code that looks for other
// tasks asks here.
namespace understudy::tasks {

// What a task, or one of its parts, has under way.
enum class Doing {
    has_layers,     // a snapshot's volumes or layers, which only its task knows
    has_plan,       // as has_layers; also while the snapshot waits to plan again
    has_passed,     // a snapshot whose moment has passed, and which the catalog does not know yet
    follows_merge,  // a definition that has still to follow a merge
    departs,        // the VM is given away, or its line here is given up
    arrives,        // a promote that has decided
    redefines,      // a rollback that may have defined the VM anew
    decides,        // a resolve that has recorded which line of the VM goes on
    releases,       // a release that has begun to merge layers, and may not have finished
    drills,         // a drill whose copy uses the VM's disks, or is about to
    changes,        // any task but a send and those that only read
    moves,          // a move or a resolve that has begun, whatever its step
    promotes,       // a promote, whatever its step
    removes_replica,
};

// Who asks whether it must wait.
enum class Asker {
    snapshot,  // takes a snapshot
    rollback,
    layers,    // takes layers away: a release, a rollback, the tidying of a replica
    handover,  // a move that is about to give the VM away
    resolve,   // a resolve at its first check: has another resolve decided already?
    decision,  // the same resolve, before it records its decision; after that the VM may leave
    promote,
    removal,  // removes the replica
    drill,
    mending,    // changes a frozen layer
    start,      // starts the VM, whoever asks
    offer,      // a peer offers to send a snapshot here
    take_over,  // a peer hands the VM over
};

// What one task is doing. A task whose row cannot be read counts as doing everything that its kind
// can do.
std::set<Doing> doings_of(const model::Task& task);

// Which doing of `task` keeps the asker waiting; nothing: it need not wait. It is not checked
// whether `task` is the asker's own.
std::optional<Doing> in_the_way_of(Asker asker, const model::Task& task);

struct InTheWay {
    model::Task task;
    Doing doing;
};

// The newest task of the VM, other than `asking`, that keeps the asker waiting; nothing: its turn
// has come.
Result<std::optional<InTheWay>> find_in_the_way(Site& site, const VmId& vm, Asker asker,
                                                const std::optional<TaskId>& asking);

// conflict: "'TITLE' is not finished".
Result<> check_turn(Site& site, const VmId& vm, Asker asker,
                    const std::optional<TaskId>& asking = {});

// The newest task of the VM, other than `asking`, that does `doing`. Failed tasks count, too: a
// failed task may have left half-done work, which must be completed before another task of its kind
// begins.
Result<std::optional<model::Task>> find_left(Site& site, const VmId& vm, Doing doing,
                                             const TaskId& asking);

// Whether an unfinished snapshot made the layer at `location`. The VM may use it although no pool
// has recorded it.
Result<bool> is_being_snapshotted(Site& site, const VmId& vm, const std::string& location);

// unavailable: an older send of the VM to the same peer has begun. Two would take turns in throwing
// away what the other had sent.
Result<> check_send_turn(Site& site, const model::Task& send, const ClusterId& peer);

// The other clusters that a send or a move of the VM was asked for, ever.
Result<std::set<ClusterId>> peers_of_sends(Site& site, const VmId& vm);

// Asks the VM's tasks of that kind to end.
Result<> cancel_tasks(Site& site, const VmId& vm, std::string_view kind);

}  // namespace understudy::tasks
