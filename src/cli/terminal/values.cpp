#include "cli/terminal/values.hpp"

#include "cli/terminal/table.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

// Single values of a JSON answer as text. First how a member is reached, then one function per
// kind of value; what is absent or of another type is "unknown".

namespace understudy::cli {

using nlohmann::json;

namespace {

std::optional<Duration> duration_from(std::optional<std::uint64_t> ms) {
    if (!ms || *ms > static_cast<std::uint64_t>(Duration::max().count())) return std::nullopt;
    return Duration(static_cast<Duration::rep>(*ms));
}

std::string ago(Duration age) {
    if (age < std::chrono::minutes(1) && age >= std::chrono::seconds(1))
        return fmt::format("{} s ago", age.count() / 1000);
    if (age < std::chrono::seconds(1)) return "just now";
    return base::format_duration(age) + " ago";
}

}  // namespace

const json& at(const json& j, std::string_view key) {
    static const json nothing;
    if (!j.is_object()) return nothing;
    const auto found = j.find(key);
    return found == j.end() ? nothing : *found;
}

const std::vector<json>& list_at(const json& j, std::string_view key) {
    static const std::vector<json> none;
    const json& member = at(j, key);
    return member.is_array() ? member.get_ref<const std::vector<json>&>() : none;
}

std::optional<std::string> find_text(const json& j, std::string_view key) {
    const json& member = at(j, key);
    if (!member.is_string()) return std::nullopt;
    return member.get<std::string>();
}

std::optional<std::uint64_t> find_number(const json& j, std::string_view key) {
    const json& member = at(j, key);
    if (member.is_number_unsigned()) return member.get<std::uint64_t>();
    if (member.is_number_integer() && member.get<std::int64_t>() >= 0)
        return static_cast<std::uint64_t>(member.get<std::int64_t>());
    if (member.is_number_float() && member.get<double>() >= 0 && member.get<double>() < 1.8e19)
        return static_cast<std::uint64_t>(member.get<double>());
    return std::nullopt;
}

bool true_at(const json& j, std::string_view key) {
    const json& member = at(j, key);
    return member.is_boolean() && member.get<bool>();
}

std::string text_at(const json& j, std::string_view key) {
    auto text = find_text(j, key);
    return text && !text->empty() ? *text : std::string(kUnknown);
}

std::string number_at(const json& j, std::string_view key) {
    const auto number = find_number(j, key);
    return number ? fmt::format("{}", *number) : std::string(kUnknown);
}

std::string size_at(const json& j, std::string_view key) {
    const auto bytes = find_number(j, key);
    return bytes ? base::format_size(ByteSize(*bytes)) : std::string(kUnknown);
}

std::string rate_at(const json& j, std::string_view key) {
    const auto bytes = find_number(j, key);
    if (!bytes) return std::string(kUnknown);
    return *bytes == 0 ? "none" : base::format_size(ByteSize(*bytes)) + "/s";
}

std::string duration_at(const json& j, std::string_view key) {
    const auto duration = duration_from(find_number(j, key));
    return duration ? base::format_duration(*duration) : std::string(kUnknown);
}

std::string yes_no_at(const json& j, std::string_view key) {
    const json& member = at(j, key);
    if (!member.is_boolean()) return std::string(kUnknown);
    return member.get<bool>() ? "yes" : "no";
}

std::string age_at(const json& j, std::string_view key, TimePoint now) {
    const auto text = find_text(j, key);
    if (!text) return std::string(kUnknown);
    const auto time = base::parse_time(*text);
    if (!time) return std::string(kUnknown);
    if (*time > now + std::chrono::seconds(1)) return *text;
    return ago(now > *time ? now - *time : Duration(0));
}

std::string ago_at(const json& j, std::string_view key) {
    const auto age = duration_from(find_number(j, key));
    return age ? ago(*age) : std::string(kUnknown);
}

std::string moment_at(const json& j, std::string_view key, TimePoint now) {
    const auto text = find_text(j, key);
    if (!text) return std::string(kUnknown);
    const auto age = age_at(j, key, now);
    return age == *text || age == kUnknown ? *text : fmt::format("{} ({})", *text, age);
}

std::string joined_at(const json& j, std::string_view key, std::string_view none) {
    std::string joined;
    for (const json& element : list_at(j, key)) {
        if (!joined.empty()) joined += ", ";
        joined += element.is_string() ? element.get<std::string>() : std::string(kUnknown);
    }
    return joined.empty() ? std::string(none) : joined;
}

std::string issue_lines(const std::vector<json>& issues) {
    std::string lines;
    for (const json& issue : issues)
        lines += fmt::format("  {:6}  {}: {}\n", escape(text_at(issue, "severity")),
                             escape(text_at(issue, "key")), escape(text_at(issue, "text")));
    return lines;
}

std::size_t count_blocking(const std::vector<json>& issues) {
    std::size_t count = 0;
    for (const json& issue : issues)
        if (find_text(issue, "severity") == "blocks") ++count;
    return count;
}

std::string dump(const json& document) {
    return document.dump(2, ' ', false, json::error_handler_t::replace);
}

std::string short_id(std::string_view id) {
    return std::string(id.substr(0, 8));
}

}  // namespace understudy::cli
