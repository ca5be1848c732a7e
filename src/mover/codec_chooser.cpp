#include "mover/codec_chooser.hpp"

#include <algorithm>

// Which codec the next chunk gets. The measured rate and the configured limit each ask for one, and
// the heavier of the two is used, as far as the peer knows it. A change takes two measurements that
// agree, and going back takes a rate a fifth beyond the threshold. After four chunks in a row that
// did not shrink only every 8th is tried, then every 16th, up to every 64th. Pure: no clock, no
// I/O, no threads.

namespace understudy::mover {
namespace {

using model::Codec;

constexpr std::uint64_t kGigabit = 1'000'000'000 / 8;
constexpr std::uint64_t kZstdBelow = 2 * kGigabit;
constexpr std::uint64_t kLz4Below = 6 * kGigabit;
constexpr unsigned kAgreeing = 2;  // measurements in a row before a change
constexpr unsigned kPatience = 4;  // incompressible chunks in a row before backing off
constexpr unsigned kFirstStride = 8;
constexpr unsigned kLastStride = 64;

// A codec is left only at a rate a fifth beyond the threshold, so that a rate near the threshold
// does not make it change to and fro.
constexpr std::uint64_t beyond(std::uint64_t threshold, bool leaving) {
    return leaving ? threshold + threshold / 5 : threshold;
}

Codec codec_for(std::uint64_t rate, Codec now) {
    if (rate < beyond(kZstdBelow, now == Codec::zstd)) return Codec::zstd;
    if (rate < beyond(kLz4Below, now != Codec::none)) return Codec::lz4;
    return Codec::none;
}

}  // namespace

CodecChooser::CodecChooser(std::vector<Codec> usable, Codec first)
    : usable_(std::move(usable)), by_link_(first), candidate_(first) {}

void CodecChooser::set_rate_limit(std::uint64_t bytes_per_second) {
    by_limit_ = bytes_per_second == 0 ? Codec::none : codec_for(bytes_per_second, by_limit_);
}

void CodecChooser::observe(const ports::LinkStats& sum) {
    if (sum.delivery_rate_bytes == 0) return;
    const auto wanted = codec_for(sum.delivery_rate_bytes, by_link_);
    const bool only_a_lower_bound = sum.app_limited || sum.receiver_limited;
    if (only_a_lower_bound && wanted > by_link_) return;  // the link may well be faster
    agreeing_ = wanted == candidate_ ? agreeing_ + 1 : 1;
    candidate_ = wanted;
    if (agreeing_ < kAgreeing) return;
    by_link_ = wanted;
    if (!only_a_lower_bound) learnt_ = wanted;
}

Codec CodecChooser::preferred() const {
    return nearest_usable(std::max(by_link_, by_limit_));
}

// If the other side does not know the wanted codec, the heaviest one below it is taken, which is
// never slower.
Codec CodecChooser::nearest_usable(Codec wanted) const {
    auto best = Codec::none;
    for (const auto codec : usable_)
        if (codec <= wanted) best = std::max(best, codec);
    return best;
}

Codec CodecChooser::choose() {
    const auto codec = preferred();
    if (codec == Codec::none || stride_ == 0) return codec;
    if (skip_ > 0) {
        --skip_;
        return Codec::none;
    }
    skip_ = stride_ - 1;
    return codec;
}

void CodecChooser::record(bool shrank) {
    if (shrank) {
        failures_ = stride_ = skip_ = 0;
        return;
    }
    if (++failures_ < kPatience) return;
    stride_ = stride_ == 0 ? kFirstStride : std::min(stride_ * 2, kLastStride);
    skip_ = stride_ - 1;
}

}  // namespace understudy::mover
