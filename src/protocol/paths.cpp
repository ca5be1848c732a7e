#include "protocol/paths.hpp"

#include "protocol/limits.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

// The URLs of the peers' API, made and taken apart. parse_route compares the target as it was sent:
// still encoded, and with its query. Pure.

namespace understudy::protocol {
namespace {

constexpr std::string_view kChannelEnd = "/channel?attempt=";
constexpr std::string_view kCommitEnd = "/commit";
constexpr std::string_view kStateEnd = "/state";
constexpr std::string_view kHandoverEnd = "/handover";
constexpr std::string_view kTakeBackEnd = "/take-back";
constexpr std::size_t kUuidText = 36;

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    return number;
}

// "/peer/v1/vms/UUID…" → the id and what follows it.
template <class AnyId>
std::optional<AnyId> id_below(std::string_view collection, std::string_view target,
                              std::string_view& rest) {
    if (!target.starts_with(collection)) return std::nullopt;
    target.remove_prefix(collection.size());
    if (!target.starts_with('/') || target.size() < 1 + kUuidText) return std::nullopt;
    auto id = AnyId::parse(target.substr(1, kUuidText));
    if (!id) return std::nullopt;
    rest = target.substr(1 + kUuidText);
    return *id;
}

std::optional<Call> call_about_vm(std::string_view method, std::string_view rest) {
    if (method == "GET" && rest.empty()) return Call::look_up;
    if (method == "GET" && rest == kStateEnd) return Call::vm_state;
    if (method == "POST" && rest == kHandoverEnd) return Call::handover;
    if (method == "POST" && rest == kTakeBackEnd) return Call::take_back;
    return std::nullopt;
}

std::optional<Route> route_by_id(std::string_view method, std::string_view target) {
    std::string_view rest;
    Route route;
    if (const auto vm = id_below<VmId>(kVmsPath, target, rest)) {
        const auto call = call_about_vm(method, rest);
        if (!call) return std::nullopt;
        route.call = *call;
        route.vm = *vm;
        return route;
    }
    const auto transfer = id_below<TransferId>(kTransfersPath, target, rest);
    if (!transfer) return std::nullopt;
    route.transfer = *transfer;
    if (method == "DELETE" && rest.empty()) {
        route.call = Call::abandon;
        return route;
    }
    if (method == "POST" && rest == kCommitEnd) {
        route.call = Call::commit;
        return route;
    }
    if (method != "GET" || !rest.starts_with(kChannelEnd)) return std::nullopt;
    const auto attempt = parse_number(rest.substr(kChannelEnd.size()));
    if (!attempt) return std::nullopt;
    route.call = Call::channel;
    route.attempt = *attempt;
    return route;
}

}  // namespace

std::string look_up_path(const VmId& vm) {
    return fmt::format("{}/{}", kVmsPath, vm.text());
}

std::string vm_state_path(const VmId& vm) {
    return look_up_path(vm).append(kStateEnd);
}

std::string handover_path(const VmId& vm) {
    return look_up_path(vm).append(kHandoverEnd);
}

std::string take_back_path(const VmId& vm) {
    return look_up_path(vm).append(kTakeBackEnd);
}

std::string channel_path(const TransferId& transfer, std::uint64_t attempt) {
    return fmt::format("{}/{}{}{}", kTransfersPath, transfer.text(), kChannelEnd, attempt);
}

std::string commit_path(const TransferId& transfer) {
    return fmt::format("{}/{}{}", kTransfersPath, transfer.text(), kCommitEnd);
}

std::string transfer_path(const TransferId& transfer) {
    return fmt::format("{}/{}", kTransfersPath, transfer.text());
}

Result<Route> parse_route(std::string_view method, std::string_view target) {
    if (method == "POST") {
        if (target == kPairPath) return Route{.call = Call::pair};
        if (target == kCapabilitiesPath) return Route{.call = Call::capabilities};
        if (target == kOwnershipPath) return Route{.call = Call::ownership};
        if (target == kTransfersPath) return Route{.call = Call::offer};
        if (target == kDigestsPath) return Route{.call = Call::digests};
        if (target == kRangePath) return Route{.call = Call::range};
        if (target == kContentsPath) return Route{.call = Call::contents};
    }
    if (auto route = route_by_id(method, target)) return *route;
    return fail(ErrorKind::not_found, "the peers' API has no such call");
}

std::size_t body_limit(Call call) {
    return call == Call::offer ? kMaxOfferBody : kMaxBody;
}

}  // namespace understudy::protocol
