#pragma once

#include "model/json.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <type_traits>

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

template <AnyId T>
nlohmann::json to_text(const T& id) {
    return id.text();
}
inline nlohmann::json to_text(TimePoint time) {
    return base::format_time(time);
}
template <class T>
nlohmann::json to_text(const std::optional<T>& value) {
    return value ? to_text(*value) : nlohmann::json(nullptr);
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

template <class T>
inline constexpr bool kFromText = AnyId<T> || std::is_same_v<T, TimePoint> || std::is_enum_v<T>;

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
    } else if constexpr (kFromText<T>) {
        value = from_text<T>(*found);
    } else {
        found->get_to(value);
    }
}

}  // namespace understudy::model::detail
