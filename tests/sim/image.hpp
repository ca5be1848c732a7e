#pragma once

#include "base/units.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace understudy::sim {

// What a disk must hold, kept apart from any pool: per sector the stamp of what was last written
// there; a sector without one reads as zeroes.
class Image {
public:
    static constexpr std::uint64_t kSector = 512;

    explicit Image(ByteSize size = {}) : size_(size) {}

    ByteSize size() const { return size_; }
    const std::map<std::uint64_t, std::uint64_t>& sectors() const { return sectors_; }

    // The range lies within the disk, in whole sectors; `stamp` is not 0.
    void write(std::uint64_t first, std::uint64_t count, std::uint64_t stamp);
    void trim(std::uint64_t first, std::uint64_t count);
    void grow(ByteSize size) { size_ = size; }

    // What the sectors from `first` on read as.
    void read(std::uint64_t first, std::span<std::byte> into) const;
    // Empty, or where `found`, read from `offset`, is something else than it must be.
    std::string differs(std::uint64_t offset, std::span<const std::byte> found) const;
    bool operator==(const Image&) const = default;

private:
    ByteSize size_;
    std::map<std::uint64_t, std::uint64_t> sectors_;
};

}  // namespace understudy::sim
