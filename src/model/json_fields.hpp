#pragma once

#include "model/json.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <vector>

// How single fields are read and written; for the json_*.cpp files of this folder only.

namespace understudy::model::detail {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
concept AnyId = requires(const T& id) {
    { T::parse("") } -> std::same_as<Result<T>>;
    { id.is_nil() } -> std::same_as<bool>;
};

template <class T>
T value_or_throw(Result<T> result) {
    if (!result) throw std::invalid_argument(result.error().text());
    return std::move(*result);
}

template <class T>
inline constexpr bool kAsText = AnyId<T> || std::is_same_v<T, TimePoint> || std::is_enum_v<T>;

template <class T>
struct IsTextList : std::false_type {};
template <class T>
struct IsTextList<std::vector<T>> : std::bool_constant<kAsText<T>> {};

template <class T>
std::string to_text(const T& value) {
    if constexpr (AnyId<T>) return value.text();
    if constexpr (std::is_same_v<T, TimePoint>) return base::format_time(value);
    if constexpr (std::is_enum_v<T>) return std::string(to_string(value));
}

template <class T>
T from_text(const nlohmann::json& j) {
    const auto& text = j.get_ref<const std::string&>();
    if constexpr (AnyId<T>) return value_or_throw(T::parse(text));
    if constexpr (std::is_same_v<T, TimePoint>) return value_or_throw(base::parse_time(text));
    if constexpr (std::is_same_v<T, Consistency>) return value_or_throw(consistency_from(text));
    if constexpr (std::is_same_v<T, HoldKind>) return value_or_throw(hold_kind_from(text));
    if constexpr (std::is_same_v<T, Phase>) return value_or_throw(phase_from(text));
    if constexpr (std::is_same_v<T, Severity>) return value_or_throw(severity_from(text));
    if constexpr (std::is_same_v<T, TaskState>) return value_or_throw(task_state_from(text));
}

// A field that is absent keeps its default; one of the wrong type throws.
template <class T>
void read(const nlohmann::json& j, const char* name, T& value) {
    const auto found = j.find(name);
    if (found == j.end()) return;
    if constexpr (IsOptional<T>::value) {
        if (found->is_null())
            value.reset();
        else
            value = from_text<typename T::value_type>(*found);
    } else if constexpr (kAsText<T>) {
        value = from_text<T>(*found);
    } else if constexpr (IsTextList<T>::value) {
        value.clear();
        for (const auto& entry : *found) value.push_back(from_text<typename T::value_type>(entry));
    } else {
        found->get_to(value);
    }
}

// An absent optional is written as null.
template <class T>
void write(nlohmann::json& j, const char* name, const T& value) {
    if constexpr (IsOptional<T>::value) {
        j[name] = value ? nlohmann::json(to_text(*value)) : nlohmann::json(nullptr);
    } else if constexpr (kAsText<T>) {
        j[name] = to_text(value);
    } else if constexpr (IsTextList<T>::value) {
        j[name] = nlohmann::json::array();
        for (const auto& entry : value) j[name].push_back(to_text(entry));
    } else {
        j[name] = value;
    }
}

// `fields(value, field)` calls field(name, member) for every field of `value`.
template <class T, class Fields>
void write_fields(nlohmann::json& j, const T& value, Fields fields) {
    j = nlohmann::json::object();
    fields(value, [&j](const char* name, const auto& member) { write(j, name, member); });
}

template <class T, class Fields>
void read_fields(const nlohmann::json& j, T& value, Fields fields) {
    fields(value, [&j](const char* name, auto& member) { read(j, name, member); });
}

}  // namespace understudy::model::detail
