#include "storage/rbd/image_grains.hpp"

#include <algorithm>
#include <cstring>

namespace understudy::rbd {
namespace {

constexpr std::uint64_t kGrainBytes = model::kGrain.count();

bool is_zero(std::span<const std::byte> bytes) {
    return bytes.empty() || (bytes[0] == std::byte{0} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

Grains::Grains(std::uint64_t begin, std::uint64_t end)
    : begin_(begin), end_(end), grains_((end - begin + kGrainBytes - 1) / kGrainBytes) {}

void Grains::mark(std::uint64_t from, std::uint64_t to, Grain as) {
    from = std::max(from, begin_);
    to = std::min(to, end_);
    if (from >= to) return;
    const auto first = (from - begin_) / kGrainBytes;
    const auto last = (to - begin_ + kGrainBytes - 1) / kGrainBytes;
    for (auto grain = first; grain < last; ++grain) grains_[grain] = as;
}

void Grains::keep(const Grains& marked) {
    for (std::size_t i = 0; i < grains_.size(); ++i)
        if (marked.grains_[i] == Grain::same) grains_[i] = Grain::same;
}

void Grains::compare(std::uint64_t offset, std::span<const std::byte> before,
                     std::span<const std::byte> now) {
    for (std::size_t at = 0; at < now.size(); at += kGrainBytes) {
        const auto length = std::min<std::size_t>(kGrainBytes, now.size() - at);
        if (std::memcmp(before.data() + at, now.data() + at, length) == 0) continue;
        this->at(offset + at) = is_zero(now.subspan(at, length)) ? Grain::zero : Grain::data;
    }
}

void Grains::append_to(std::vector<model::Extent>& extents, std::uint64_t from) const {
    for (std::size_t i = 0; i < grains_.size(); ++i) {
        if (grains_[i] == Grain::same) continue;
        const auto begin = std::max(begin_ + i * kGrainBytes, from);
        const auto end = std::min(begin_ + (i + 1) * kGrainBytes, end_);
        if (begin >= end) continue;
        const auto kind =
            grains_[i] == Grain::data ? model::ExtentKind::data : model::ExtentKind::zero;
        if (!extents.empty() && extents.back().kind == kind &&
            extents.back().end().count() == begin)
            extents.back().length += ByteSize(end - begin);
        else
            extents.push_back({ByteOffset(begin), ByteSize(end - begin), kind});
    }
}

}  // namespace understudy::rbd
