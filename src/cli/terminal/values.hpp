#pragma once

#include "base/units.hpp"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Single values of an answer as people read them. What is absent, null or of another type is
// "unknown": nothing is made up.

namespace understudy::cli {

inline constexpr std::string_view kUnknown = "unknown";

// The member, or null. Also for j not an object.
const nlohmann::json& at(const nlohmann::json& j, std::string_view key);
// The elements of an array member; none when it is something else.
const std::vector<nlohmann::json>& list_at(const nlohmann::json& j, std::string_view key);

std::optional<std::string> find_text(const nlohmann::json& j, std::string_view key);
std::optional<std::uint64_t> find_number(const nlohmann::json& j, std::string_view key);
bool true_at(const nlohmann::json& j, std::string_view key);

std::string text_at(const nlohmann::json& j, std::string_view key);
std::string number_at(const nlohmann::json& j, std::string_view key);
std::string size_at(const nlohmann::json& j, std::string_view key);      // "41.2 GiB"
std::string rate_at(const nlohmann::json& j, std::string_view key);      // "50.0 MiB/s", "none"
std::string duration_at(const nlohmann::json& j, std::string_view key);  // from milliseconds
std::string yes_no_at(const nlohmann::json& j, std::string_view key);

// "4 m 12 s ago", from a time and from an age in milliseconds. A time to come is shown as a time:
// clocks differ, and then the age is not known.
std::string age_at(const nlohmann::json& j, std::string_view key, TimePoint now);
std::string ago_at(const nlohmann::json& j, std::string_view key);
// "2026-11-23T09:26:52.123Z (4 m 12 s ago)"
std::string moment_at(const nlohmann::json& j, std::string_view key, TimePoint now);

// ["a", "b"] → "a, b"; empty → `none`
std::string joined_at(const nlohmann::json& j, std::string_view key, std::string_view none);

// Lines "  blocks  tpm: no TPM there" for ReadinessIssues; nothing for none.
std::string issue_lines(const std::vector<nlohmann::json>& issues);
std::size_t count_blocking(const std::vector<nlohmann::json>& issues);

// JSON text of a document, indented; bytes that are not UTF-8 are replaced.
std::string dump(const nlohmann::json& document);

// Enough of an id for people: its first 8 digits.
std::string short_id(std::string_view id);

}  // namespace understudy::cli
