#pragma once

#include "base/error.hpp"

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::base {

// An amount of bytes.
class ByteSize {
public:
    constexpr ByteSize() = default;
    constexpr explicit ByteSize(std::uint64_t bytes) : bytes_(bytes) {}
    constexpr std::uint64_t count() const { return bytes_; }
    constexpr auto operator<=>(const ByteSize&) const = default;
    constexpr ByteSize& operator+=(ByteSize other) {
        bytes_ += other.bytes_;
        return *this;
    }
    constexpr ByteSize& operator-=(ByteSize other) {
        bytes_ -= other.bytes_;
        return *this;
    }
    friend constexpr ByteSize operator+(ByteSize a, ByteSize b) { return a += b; }
    friend constexpr ByteSize operator-(ByteSize a, ByteSize b) { return a -= b; }

private:
    std::uint64_t bytes_ = 0;
};

// A place on a disk, in bytes from its beginning.
class ByteOffset {
public:
    constexpr ByteOffset() = default;
    constexpr explicit ByteOffset(std::uint64_t bytes) : bytes_(bytes) {}
    constexpr std::uint64_t count() const { return bytes_; }
    constexpr auto operator<=>(const ByteOffset&) const = default;
    friend constexpr ByteOffset operator+(ByteOffset at, ByteSize by) {
        return ByteOffset(at.count() + by.count());
    }
    friend constexpr ByteSize operator-(ByteOffset to, ByteOffset from) {
        return ByteSize(to.count() - from.count());
    }

private:
    std::uint64_t bytes_ = 0;
};

constexpr ByteSize KiB(std::uint64_t n) {
    return ByteSize(n << 10);
}
constexpr ByteSize MiB(std::uint64_t n) {
    return ByteSize(n << 20);
}
constexpr ByteSize GiB(std::uint64_t n) {
    return ByteSize(n << 30);
}

std::string format_size(ByteSize size);              // "41.2 GiB", "512 B"
Result<ByteSize> parse_size(std::string_view text);  // "50MiB", "1G" (= GiB), "4096"

// Wall-clock time in UTC. Shown to people; compared only with times of the same cluster's catalog.
using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::milliseconds;

std::string format_time(TimePoint time);                 // "2026-11-23T09:26:52.123Z" (RFC 3339)
Result<TimePoint> parse_time(std::string_view text);     // what format_time writes
std::string format_duration(Duration duration);          // "4 m 12 s", "1.3 s", "2 d 3 h"
Result<Duration> parse_duration(std::string_view text);  // "15m", "90s", "1h", "2d", "250ms"

}  // namespace understudy::base

namespace understudy {
using base::ByteOffset;
using base::ByteSize;
using base::Duration;
using base::TimePoint;
}  // namespace understudy
