#include "protocol/json_fields.hpp"

#include <algorithm>

// Reading JSON from a peer with bounds: on depth and the number of values while it is parsed, on
// texts, names, lists and epochs after that. What is wrong is thrown as Malformed, and `decoded`
// (json_fields.hpp) turns it into an Error. Pure: no I/O.

namespace understudy::protocol::detail {
namespace {

constexpr std::uint64_t kMaxEpoch = std::uint64_t{1} << 62;

void check_names(std::string_view name, const std::vector<std::string>& names) {
    if (names.size() > kMaxListed) throw Malformed(fmt::format("{}: too many entries", name));
    for (const auto& entry : names) check_name(name, entry);
}

}  // namespace

nlohmann::json parse_bounded(std::string_view body) {
    using Event = nlohmann::json::parse_event_t;
    std::size_t values = 0;
    return nlohmann::json::parse(body, [&](int depth, Event event, const nlohmann::json&) {
        if (event == Event::object_start || event == Event::array_start || event == Event::value)
            if (++values > kMaxJsonValues) throw Malformed("too many values");
        if (depth > kMaxJsonDepth) throw Malformed("nested too deeply");
        return true;
    });
}

std::string dump(const nlohmann::json& j) {
    return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void check_text(std::string_view name, std::string_view text, std::size_t limit) {
    if (text.size() > limit)
        throw Malformed(fmt::format("{}: {} bytes, at most {}", name, text.size(), limit));
}

void check_name(std::string_view name, std::string_view text) {
    if (text.empty()) throw Malformed(fmt::format("{}: missing", name));
    check_text(name, text, kMaxName);
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
    if (std::ranges::any_of(text, control))
        throw Malformed(fmt::format("{}: contains a control character", name));
}

void check_ownership(const model::Ownership& ownership) {
    check_id("ownership.owner", ownership.owner);
    if (ownership.epoch > kMaxEpoch) throw Malformed("ownership.epoch: beyond any epoch");
}

void check_readiness(const std::vector<model::ReadinessIssue>& issues) {
    for (const auto& issue : issues) {
        check_name("readiness.key", issue.key);
        check_text("readiness.text", issue.text, kMaxErrorText);
    }
}

void check_capabilities(const model::Capabilities& v) {
    check_text("version", v.version, kMaxName);
    check_text("host_arch", v.host_arch, kMaxName);
    check_names("features", v.features);
    check_names("networks", v.networks);
    check_names("machines", v.machines);
    check_names("cpu_models", v.cpu_models);
    if (v.pools.size() > kMaxListed) throw Malformed("pools: too many entries");
    for (const auto& pool : v.pools) {
        check_name("pools.name", pool.name);
        check_name("pools.driver", pool.driver);
    }
}

std::vector<ClusterId> holders_field(const nlohmann::json& j) {
    if (!j.contains("holders")) return {};
    const auto texts = list_field<std::string>(j, "holders");
    if (texts.size() > kMaxHolders) throw Malformed("holders: too many");
    std::vector<ClusterId> holders;
    for (const auto& text : texts) {
        auto id = ClusterId::parse(text);
        if (!id) throw Malformed("holders: " + id.error().what());
        check_id("holders", *id);
        holders.push_back(*id);
    }
    return holders;
}

void check_cluster(const model::Cluster& cluster) {
    check_id("cluster.id", cluster.id);
    check_name("cluster.name", cluster.name);
}

}  // namespace understudy::protocol::detail
