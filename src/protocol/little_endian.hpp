#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// Fixed-size little-endian integers at given places of a byte buffer. The caller has checked that
// the places lie within it.
namespace understudy::protocol {

static_assert(std::endian::native == std::endian::little, "byte swapping is not written yet");

template <class T>
void put(std::span<std::byte> into, std::size_t at, T value) {
    std::memcpy(into.subspan(at, sizeof value).data(), &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> from, std::size_t at) {
    T value;
    std::memcpy(&value, from.subspan(at, sizeof value).data(), sizeof value);
    return value;
}

}  // namespace understudy::protocol
