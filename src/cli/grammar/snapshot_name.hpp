#pragma once

#include "base/error.hpp"
#include "cli/grammar/command.hpp"

#include <string>

// The ways in which a command line names a snapshot: VM SNAPSHOT, VM@SNAPSHOT, or an option beside
// VM. "newest" and "@newest" behind the VM mean the API's "@newest".

namespace understudy::cli {

struct SnapshotName {
    std::string vm;
    std::string snapshot;  // empty when none was named
};

// VM or VM@SNAPSHOT in one word.
SnapshotName split_at_snapshot(const std::string& word);

// The positionals VM and SNAPSHOT. The second word wins: with it, the first names the VM as it
// stands.
SnapshotName snapshot_name(const Arguments& arguments);
// The same; invalid when no snapshot is named.
Result<SnapshotName> required_snapshot_name(const Arguments& arguments);

// The snapshot that a word beside VM names: "nightly", "@newest", or "web1@nightly", whose VM is
// known already.
std::string snapshot_of_word(const std::string& word);

}  // namespace understudy::cli
