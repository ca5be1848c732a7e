#pragma once

#include "model/json.hpp"
#include "tasks/work.hpp"

#include <nlohmann/json.hpp>

// How tasks read their arguments and memo; for the .cpp files of this folder.

namespace understudy::tasks {

// In every memo, the runner's: attempts in a row that failed without having achieved anything.
inline constexpr const char* kInVain = "attempts_in_vain";

// In the memo of a drill that stands on its VM's disks, or is about to.
inline constexpr const char* kBegun = "begun";

template <class AnyId>
AnyId id_in(const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string()) return {};
    return AnyId::parse(found->get_ref<const std::string&>()).value_or(AnyId{});
}

inline std::string text_in(const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

inline bool flag_in(const nlohmann::json& object, const char* name, bool otherwise = false) {
    const auto found = object.find(name);
    return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

inline std::uint64_t number_in(const nlohmann::json& object, const char* name,
                               std::uint64_t otherwise = 0) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                                : otherwise;
}

inline std::vector<std::string> texts_in(const nlohmann::json& object, const char* name) {
    std::vector<std::string> texts;
    const auto found = object.find(name);
    if (found == object.end() || !found->is_array()) return texts;
    for (const auto& item : *found)
        if (item.is_string()) texts.push_back(item.get<std::string>());
    return texts;
}

}  // namespace understudy::tasks
