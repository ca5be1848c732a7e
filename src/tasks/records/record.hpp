#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// What a task keeps in its row of the catalog, as structs with a version. A record is a struct with
//
//   static constexpr int kVersion = 1;
//   template <class Self, class Field>
//   static void fields(Self& self, Field& field) {
//       field.required("vm", self.vm);       // corrupt when it is missing
//       field("accept", self.accept);        // stays at its default when it is missing
//   }
//
// and, once it had another form, `static void upgrade(nlohmann::json&, int from)`, which turns that
// form into the present one. In JSON it is an object of these fields and "version". Version 0 is
// what was written before there were versions: without that field. A struct without kVersion is a
// part of a record. Names of fields are a format: they stay, or `upgrade` knows the former one.
//
// Ids and times are text, an id that is not known is empty or missing, bytes are numbers. An
// enumeration is the word that its to_string gives; word_to reads it.
namespace understudy::tasks {

// Specialized beside the records that have such a field. An error: there is no such word.
template <class Enum>
Result<Enum> word_to(std::string_view) = delete;

class FieldReader;
class FieldWriter;

template <class T>
concept Fielded = requires(T& value, FieldReader& field) { T::fields(value, field); };

template <class T>
concept IsId = requires(const std::string& text) {
    T::parse(text);
    std::declval<const T&>().is_nil();
};

namespace detail {

using Malformed = std::invalid_argument;  // what is wrong, in the words of an error's text

[[noreturn]] void refuse(std::string_view what);
void check(bool right, const char* wanted);
std::uint64_t whole_number(const nlohmann::json& j, std::uint64_t most);

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class K, class T>
struct IsMap<std::map<K, T>> : std::true_type {};

template <class T>
void read_value(const nlohmann::json& j, T& value);
template <class T>
nlohmann::json write_value(const T& value);

template <class Id>
Id id_from(const std::string& text) {
    if (text.empty()) return Id{};
    auto id = Id::parse(text);
    if (!id) refuse(fmt::format("'{}' is not an id", text));
    return *id;
}

template <class K>
K key_from(const std::string& text) {
    if constexpr (IsId<K>)
        return id_from<K>(text);
    else
        return text;
}

}  // namespace detail

class FieldReader {
public:
    explicit FieldReader(const nlohmann::json& object) : object_(object) {}
    template <class T>
    void operator()(const char* name, T& value) {
        const auto found = object_.find(name);
        if (found != object_.end()) read(name, *found, value);
    }
    template <class T>
    void required(const char* name, T& value) {
        const auto found = object_.find(name);
        if (found == object_.end()) detail::refuse(fmt::format("'{}' is missing", name));
        read(name, *found, value);
    }

private:
    template <class T>
    void read(const char* name, const nlohmann::json& j, T& value) {
        try {
            detail::read_value(j, value);
        } catch (const std::exception& error) {
            detail::refuse(fmt::format("'{}': {}", name, error.what()));
        }
    }

    const nlohmann::json& object_;
};

class FieldWriter {
public:
    template <class T>
    void operator()(const char* name, const T& value) {
        auto written = detail::write_value(value);
        if (!written.is_null()) object_[name] = std::move(written);
    }
    template <class T>
    void required(const char* name, const T& value) {
        (*this)(name, value);
    }
    nlohmann::json take() { return std::move(object_); }

private:
    nlohmann::json object_ = nlohmann::json::object();
};

namespace detail {

template <class T>
void read_items(const nlohmann::json& j, T& value) {
    check(j.is_array(), "a list");
    value.clear();
    for (const auto& item : j) read_value(item, value.emplace_back());
}

template <class T>
void read_entries(const nlohmann::json& j, T& value) {
    check(j.is_object(), "an object");
    value.clear();
    for (const auto& [key, item] : j.items())
        read_value(item, value[key_from<typename T::key_type>(key)]);
}

template <class T>
void read_value(const nlohmann::json& j, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
        check(j.is_boolean(), "true or false");
        value = j.get<bool>();
    } else if constexpr (std::is_unsigned_v<T>) {
        value = static_cast<T>(whole_number(j, std::numeric_limits<T>::max()));
    } else if constexpr (std::is_arithmetic_v<T>) {
        check(j.is_number(), "a number");
        value = j.get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
        check(j.is_string(), "text");
        value = j.get<std::string>();
    } else if constexpr (std::is_same_v<T, nlohmann::json>) {
        value = j;
    } else if constexpr (IsId<T>) {
        check(j.is_string(), "an id");
        value = id_from<T>(j.get_ref<const std::string&>());
    } else if constexpr (std::is_same_v<T, TimePoint>) {
        check(j.is_string(), "a time");
        auto time = base::parse_time(j.get_ref<const std::string&>());
        if (!time) refuse(time.error().what());
        value = *time;
    } else if constexpr (std::is_enum_v<T>) {
        check(j.is_string(), "a word");
        auto read = word_to<T>(j.get_ref<const std::string&>());
        if (!read) refuse(read.error().what());
        value = *read;
    } else if constexpr (IsOptional<T>::value) {
        using Inner = typename T::value_type;
        const bool unknown_id =
            IsId<Inner> && j.is_string() && j.get_ref<const std::string&>().empty();
        if (j.is_null() || unknown_id)
            value.reset();
        else
            read_value(j, value.emplace());
    } else if constexpr (IsVector<T>::value) {
        read_items(j, value);
    } else if constexpr (IsMap<T>::value) {
        read_entries(j, value);
    } else if constexpr (Fielded<T>) {
        check(j.is_object(), "an object");
        FieldReader reader(j);
        T::fields(value, reader);
    } else if constexpr (std::is_same_v<T, ByteSize> || std::is_same_v<T, ByteOffset>) {
        value = T(whole_number(j, std::numeric_limits<std::uint64_t>::max()));
    } else {
        check(j.is_object(), "an object");
        value = j.get<T>();  // of model/json.hpp
    }
}

template <class T>
nlohmann::json write_value(const T& value) {
    if constexpr (IsId<T>) {
        return value.is_nil() ? nlohmann::json("") : nlohmann::json(value.text());
    } else if constexpr (std::is_same_v<T, TimePoint>) {
        return base::format_time(value);
    } else if constexpr (std::is_enum_v<T>) {
        return std::string(to_string(value));
    } else if constexpr (IsOptional<T>::value) {
        return value ? write_value(*value) : nlohmann::json(nullptr);
    } else if constexpr (IsVector<T>::value) {
        auto list = nlohmann::json::array();
        for (const auto& item : value) list.push_back(write_value(item));
        return list;
    } else if constexpr (IsMap<T>::value) {
        auto entries = nlohmann::json::object();
        for (const auto& [key, item] : value) {
            if constexpr (IsId<typename T::key_type>)
                entries[key.text()] = write_value(item);
            else
                entries[key] = write_value(item);
        }
        return entries;
    } else if constexpr (Fielded<T>) {
        FieldWriter writer;
        T::fields(value, writer);
        return writer.take();
    } else {
        return value;
    }
}

// The version of a record, checked: 0 where none is stated. Throws Malformed.
Result<int> version_of(const nlohmann::json& j, int newest);

}  // namespace detail

// unsupported: a newer understudyd wrote it. corrupt: it is no such record; the text says what is
// wrong with which field.
template <Fielded T>
Result<T> read_record(const nlohmann::json& stored) {
    auto version = UNDERSTUDY_VALUE(detail::version_of(stored, T::kVersion));
    try {
        T record;
        if constexpr (requires(nlohmann::json& j) { T::upgrade(j, 0); }) {
            if (version < T::kVersion) {
                auto upgraded = stored;
                T::upgrade(upgraded, version);
                FieldReader reader(upgraded);
                T::fields(record, reader);
                return record;
            }
        }
        FieldReader reader(stored);
        T::fields(record, reader);
        return record;
    } catch (const std::exception& error) {
        return fail(ErrorKind::corrupt, error.what());
    }
}

// All fields but those without a value, and the version.
template <Fielded T>
nlohmann::json write_record(const T& record) {
    auto written = detail::write_value(record);
    written["version"] = T::kVersion;
    return written;
}

// Only what differs from a new record: an empty object for one that nothing was put into.
template <Fielded T>
nlohmann::json write_changes(const T& record) {
    auto written = detail::write_value(record);
    const auto plain = detail::write_value(T{});
    for (const auto& [name, value] : plain.items())
        if (written.contains(name) && written[name] == value) written.erase(name);
    if (!written.empty()) written["version"] = T::kVersion;
    return written;
}

// What stands in a row, as JSON. corrupt: it is no object.
Result<nlohmann::json> parse_row(const std::string& text);

// A record without fields.
struct Nothing {
    static constexpr int kVersion = 1;
    template <class Self, class Field>
    static void fields(Self&, Field&) {}
};

}  // namespace understudy::tasks
