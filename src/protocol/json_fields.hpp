#pragma once

#include "model/json.hpp"
#include "protocol/limits.hpp"

#include <fmt/format.h>

#include <concepts>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// How the messages_*.cpp files of this folder read JSON from a peer. They throw exceptions, which
// `decoded` catches; none leaves this folder.
namespace understudy::protocol::detail {

using Malformed = std::invalid_argument;

// Parses with a bound on the depth and the number of values, so that a small body cannot become a
// huge document.
nlohmann::json parse_bounded(std::string_view body);
// Bytes that are not UTF-8 (names come from libvirt) are replaced and not refused.
std::string dump(const nlohmann::json& j);

template <std::invocable<const nlohmann::json&> Read>
auto decoded(std::string_view body, std::string_view what, Read read)
    -> Result<std::invoke_result_t<Read, const nlohmann::json&>> {
    try {
        const auto j = parse_bounded(body);
        if (!j.is_object()) throw Malformed("not an object");
        return read(j);
    } catch (const std::exception& error) {
        return fail(ErrorKind::invalid, fmt::format("{} is malformed: {}", what, error.what()));
    }
}

// If `read` throws, the field's name is put before the text of what is wrong.
template <class Read>
auto inside(std::string_view name, Read read) {
    try {
        return read();
    } catch (const std::exception& error) {
        throw Malformed(fmt::format("{}: {}", name, error.what()));
    }
}

template <class T>
T field(const nlohmann::json& j, const char* name) {
    return inside(name, [&] {
        const auto found = j.find(name);
        if (found == j.end()) throw Malformed("missing");
        return found->template get<T>();
    });
}

template <class AnyId>
AnyId id_field(const nlohmann::json& j, const char* name) {
    return inside(name, [&] {
        const auto found = j.find(name);
        if (found == j.end() || !found->is_string()) throw Malformed("not a UUID");
        auto id = AnyId::parse(found->template get_ref<const std::string&>());
        if (!id) throw Malformed(id.error().what());
        if (id->is_nil()) throw Malformed("nil");
        return *id;
    });
}

template <class T>
std::vector<T> list_field(const nlohmann::json& j, const char* name) {
    return inside(name, [&] {
        const auto found = j.find(name);
        if (found == j.end() || !found->is_array()) throw Malformed("not a list");
        if (found->size() > kMaxListed) throw Malformed("too many entries");
        return found->template get<std::vector<T>>();
    });
}

template <class AnyId>
void check_id(std::string_view name, const AnyId& id) {
    if (id.is_nil()) throw Malformed(fmt::format("{}: missing", name));
}

void check_name(std::string_view name, std::string_view text);  // not empty, bounded, printable
void check_text(std::string_view name, std::string_view text, std::size_t limit);
void check_ownership(const model::Ownership& ownership);
void check_readiness(const std::vector<model::ReadinessIssue>& issues);
void check_capabilities(const model::Capabilities& capabilities);
// "holders", of clusters that have snapshots of a VM; it may be left out.
std::vector<ClusterId> holders_field(const nlohmann::json& j);
void check_cluster(const model::Cluster& cluster);

}  // namespace understudy::protocol::detail
