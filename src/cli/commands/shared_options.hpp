#pragma once

#include "base/error.hpp"
#include "cli/grammar/command.hpp"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

// Positionals and options that several commands have in common: their declarations, and how their
// values are put into the body of a call.

namespace understudy::cli {

inline constexpr PositionalSpec kVm{
    .name = "VM", .help = "the VM's name or UUID", .names = Names::vm};
inline constexpr PositionalSpec kVmAtSnapshot{
    .name = "VM",
    .help = "the VM's name or UUID, or VM@SNAPSHOT in one word",
    .names = Names::vm_at_snapshot};
inline constexpr PositionalSpec kSnapshot{.name = "SNAPSHOT",
                                          .help = "its name or id, or @newest",
                                          .required = false,
                                          .names = Names::snapshot};

// Of `replica promote`, `verify` and `drill`.
inline constexpr OptionSpec kAllReplicas{.flags = "--all",
                                         .help = "the newest snapshot of every replica here"};
inline constexpr OptionSpec kOnlyOfPeer{
    .flags = "--peer",
    .value = "PEER",
    .help = "with --all: only replicas whose VM is owned by that peer",
    .names = Names::peer};
inline constexpr OptionSpec kSnapshotOrNewest{.flags = "--snapshot",
                                              .value = "SNAPSHOT",
                                              .help = "which snapshot; the newest if not given",
                                              .names = Names::snapshot};

inline constexpr OptionSpec kAcceptKey{
    .flags = "--accept",
    .value = "KEY",
    .help = "continue although KEY (network:lan …) is in the way",
    .repeats = true};

// "50MiB" or "50MiB/s" → bytes per second.
Result<std::uint64_t> rate_from(std::string_view word);

// Each puts the option's value into `body` when it was given.
// A rate by the name of its option: "rate_bytes".
Result<> put_rate(nlohmann::json& body, const Arguments& arguments, std::string_view option);
// --timeout, how long a VM may take to boot: "limit_ms".
Result<> put_boot_timeout(nlohmann::json& body, const Arguments& arguments);
// --snapshot NAME, or VM@NAME of that same VM: "snapshot".
void put_snapshot(nlohmann::json& body, const Arguments& arguments);

}  // namespace understudy::cli
