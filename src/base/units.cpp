#include "base/units.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

// Sizes, times and durations as texts, and back. Numbers are whole; the product of number and unit
// is checked for overflow. K, M, G and T are powers of 1024; kB, MB, GB and TB are powers of 1000.
// Times are UTC with milliseconds. Pure.

namespace understudy::base {
namespace {

struct NumberAndUnit {
    std::uint64_t number;
    std::string_view unit;
};

Result<NumberAndUnit> split_number(std::string_view text, std::string_view what) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || text.empty())
        return fail(ErrorKind::invalid, fmt::format("'{}' is not a {}", text.substr(0, 64), what));
    return NumberAndUnit{number, text.substr(static_cast<std::size_t>(end - text.data()))};
}

template <std::size_t N>
Result<std::uint64_t> scaled(
    std::string_view text, std::string_view what,
    const std::array<std::pair<std::string_view, std::uint64_t>, N>& units) {
    auto parts = UNDERSTUDY_VALUE(split_number(text, what));
    for (const auto& [name, factor] : units) {
        if (name != parts.unit) continue;
        std::uint64_t product = 0;
        if (__builtin_mul_overflow(parts.number, factor, &product))
            return fail(ErrorKind::invalid, fmt::format("'{}' is too large", text));
        return product;
    }
    return fail(ErrorKind::invalid,
                fmt::format("'{}' is not a {}: unknown unit '{}'", text.substr(0, 64), what,
                            parts.unit.substr(0, 16)));
}

}  // namespace

std::string format_size(ByteSize size) {
    constexpr std::array<std::string_view, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = static_cast<double>(size.count());
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", size.count())
                     : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

Result<ByteSize> parse_size(std::string_view text) {
    constexpr std::uint64_t k = 1024;
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 14> kUnits{
        {{"", 1},
         {"B", 1},
         {"K", k},
         {"KiB", k},
         {"M", k * k},
         {"MiB", k * k},
         {"G", k * k * k},
         {"GiB", k * k * k},
         {"T", k * k * k * k},
         {"TiB", k * k * k * k},
         {"kB", 1000},
         {"MB", 1000000},
         {"GB", 1000000000},
         {"TB", 1000000000000}}};
    auto bytes = UNDERSTUDY_VALUE(scaled(text, "size (such as 512MiB or 20G)", kUnits));
    return ByteSize(bytes);
}

std::string format_time(TimePoint time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                       fmt::gmtime(static_cast<std::time_t>(seconds.time_since_epoch().count())),
                       (time - seconds).count());
}

Result<TimePoint> parse_time(std::string_view text) {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, milli = 0, used = 0;
    const std::string copy(text.substr(0, 64));
    const int fields = std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month,
                                   &day, &hour, &minute, &second, &milli, &used);
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (fields != 7 || used != static_cast<int>(text.size()) || !date.ok() || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 || milli < 0)
        return fail(ErrorKind::invalid, fmt::format("'{}' is not a time", copy));
    return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
           std::chrono::seconds(second) + std::chrono::milliseconds(milli);
}

std::string format_duration(Duration duration) {
    const auto ms = duration.count();
    if (ms < 1000) return fmt::format("{} ms", ms);
    if (ms < 60'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
    const auto s = ms / 1000;
    if (s < 3600) return fmt::format("{} m {} s", s / 60, s % 60);
    if (s < 86400) return fmt::format("{} h {} m", s / 3600, s % 3600 / 60);
    return fmt::format("{} d {} h", s / 86400, s % 86400 / 3600);
}

Result<Duration> parse_duration(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kUnits{
        {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
    auto ms = UNDERSTUDY_VALUE(scaled(text, "duration (such as 90s, 15m or 2d)", kUnits));
    if (ms > 1'000'000'000'000'000)
        return fail(ErrorKind::invalid, fmt::format("'{}' is too long", text));
    return Duration(static_cast<std::int64_t>(ms));
}

}  // namespace understudy::base
