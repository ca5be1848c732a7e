#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <cstdint>
#include <string>
#include <string_view>

// The URLs of the peers' API; WIRE.md has the table.
namespace understudy::protocol {

inline constexpr std::string_view kPairPath = "/peer/v1/pair";
inline constexpr std::string_view kCapabilitiesPath = "/peer/v1/capabilities";
inline constexpr std::string_view kOwnershipPath = "/peer/v1/ownership";
inline constexpr std::string_view kVmsPath = "/peer/v1/vms";
inline constexpr std::string_view kTransfersPath = "/peer/v1/transfers";
inline constexpr std::string_view kDigestsPath = "/peer/v1/digests";
inline constexpr std::string_view kRangePath = "/peer/v1/range";
inline constexpr std::string_view kContentsPath = "/peer/v1/contents";
inline constexpr std::string_view kUpgrade = "understudy-frames/1";  // Upgrade: of a channel

std::string look_up_path(const VmId& vm);
std::string vm_state_path(const VmId& vm);
std::string handover_path(const VmId& vm);
std::string take_back_path(const VmId& vm);
std::string channel_path(const TransferId& transfer, std::uint64_t attempt);
std::string commit_path(const TransferId& transfer);
std::string transfer_path(const TransferId& transfer);

enum class Call {
    pair,
    capabilities,
    ownership,
    look_up,
    vm_state,
    handover,
    take_back,
    offer,
    channel,
    commit,
    abandon,
    digests,
    range,
    contents,
};

struct Route {
    Call call = Call::pair;
    VmId vm{};                  // look_up, vm_state, handover, take_back
    TransferId transfer{};      // channel, commit, abandon
    std::uint64_t attempt = 0;  // channel
    bool operator==(const Route&) const = default;
};

// What a request asks for; not_found for anything else.
Result<Route> parse_route(std::string_view method, std::string_view target);

// How large the body of that call's request may be.
std::size_t body_limit(Call call);

}  // namespace understudy::protocol
