#include "tasks/records/record.hpp"

namespace understudy::tasks {
namespace detail {

void refuse(std::string_view what) {
    throw Malformed(std::string(what));
}

void check(bool right, const char* wanted) {
    if (!right) refuse(fmt::format("not {}", wanted));
}

std::uint64_t whole_number(const nlohmann::json& j, std::uint64_t most) {
    check(j.is_number_unsigned() || (j.is_number_integer() && j.get<std::int64_t>() >= 0),
          "a whole number");
    const auto number = j.get<std::uint64_t>();
    check(number <= most, "a number of that size");
    return number;
}

Result<int> version_of(const nlohmann::json& j, int newest) {
    if (!j.is_object()) return fail(ErrorKind::corrupt, "not an object");
    const auto found = j.find("version");
    if (found == j.end()) return 0;
    if (!found->is_number_integer()) return fail(ErrorKind::corrupt, "'version': not a number");
    const auto version = found->get<std::uint64_t>();
    if (version <= static_cast<std::uint64_t>(newest)) return static_cast<int>(version);
    return fail(
        Error(ErrorKind::unsupported,
              fmt::format("this record has version {}; this understudyd reads version {} and older",
                          version, newest))
            .advising("Update understudyd on this node, then `understudy task retry`."));
}

}  // namespace detail

Result<nlohmann::json> parse_row(const std::string& text) {
    if (text.empty()) return nlohmann::json::object();
    auto parsed = nlohmann::json::parse(text, nullptr, false);
    if (!parsed.is_object()) return fail(ErrorKind::corrupt, "not an object in JSON");
    return parsed;
}

}  // namespace understudy::tasks
