#include "image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace understudy::sim {
namespace {

// An even stamp compresses well, an odd one does not.
void fill(std::uint64_t stamp, std::uint64_t sector, std::span<std::byte> into) {
    std::uint64_t value = stamp ^ sector * 0x9E3779B97F4A7C15;
    for (std::size_t at = 0; at + sizeof value <= into.size(); at += sizeof value) {
        if (stamp % 2 == 1) value = value * 6364136223846793005 + 1442695040888963407;
        std::memcpy(into.data() + at, &value, sizeof value);
    }
}

}  // namespace

void Image::write(std::uint64_t first, std::uint64_t count, std::uint64_t stamp) {
    for (auto sector = first; sector < first + count; ++sector) sectors_[sector] = stamp;
}

void Image::trim(std::uint64_t first, std::uint64_t count) {
    sectors_.erase(sectors_.lower_bound(first), sectors_.lower_bound(first + count));
}

void Image::read(std::uint64_t first, std::span<std::byte> into) const {
    std::ranges::fill(into, std::byte{0});
    const auto end = first + into.size() / kSector;
    for (auto at = sectors_.lower_bound(first); at != sectors_.end() && at->first < end; ++at)
        fill(at->second, at->first, into.subspan((at->first - first) * kSector, kSector));
}

std::string Image::differs(std::uint64_t offset, std::span<const std::byte> found) const {
    static thread_local std::vector<std::byte> wanted;
    wanted.resize(found.size());
    read(offset / kSector, wanted);
    if (std::memcmp(wanted.data(), found.data(), found.size()) == 0) return {};
    const auto [here, there] = std::ranges::mismatch(wanted, found);
    const auto at = offset + static_cast<std::uint64_t>(here - wanted.begin());
    const auto stamp = sectors_.find(at / kSector);
    return fmt::format("byte {} is {:#04x} where {:#04x} was written (sector {}, {})", at,
                       static_cast<unsigned>(*there), static_cast<unsigned>(*here), at / kSector,
                       stamp == sectors_.end() ? "never written or trimmed"
                                               : fmt::format("stamp {:x}", stamp->second));
}

}  // namespace understudy::sim
