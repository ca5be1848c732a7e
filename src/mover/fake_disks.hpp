#pragma once

#include "model/extent.hpp"
#include "ports/storage.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

// Disks in memory for the tests of this folder.
namespace understudy::mover::fake {

using Bytes = std::vector<std::byte>;
using Extents = std::vector<model::Extent>;

class DiskReader final : public ports::Reader {
public:
    explicit DiskReader(const Bytes& content) : content_(content) {}
    ByteSize size() const override { return ByteSize(content_.size()); }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        if (fail_at && offset >= *fail_at) return fail(ErrorKind::unavailable, "a bad sector");
        std::memcpy(into.data(), content_.data() + offset.count(), into.size());
        return {};
    }
    void prefetch(ByteOffset, ByteSize length) override { prefetched += length; }

    std::optional<ByteOffset> fail_at;
    ByteSize prefetched;

private:
    const Bytes& content_;
};

class ListedExtents final : public ports::ExtentStream {
public:
    ListedExtents(Extents extents, ByteOffset from) : extents_(std::move(extents)) {
        while (at_ < extents_.size() && extents_[at_].end() <= from) ++at_;
    }
    Result<std::optional<model::Extent>> next() override {
        if (at_ == extents_.size()) return std::nullopt;
        return extents_[at_++];
    }

private:
    Extents extents_;
    std::size_t at_ = 0;
};

// When the power fails, content that is written but not flushed may be lost, piece by piece.
class PowerLossDisk {
public:
    explicit PowerLossDisk(Bytes base) : durable_(std::move(base)), now_(durable_) {}

    void write(ByteOffset offset, std::span<const std::byte> data) {
        std::memcpy(now_.data() + offset.count(), data.data(), data.size());
        unflushed_.emplace_back(offset.count(), data.size());
    }
    void flush() {
        ++flushes;
        for (const auto& [at, size] : std::exchange(unflushed_, {}))
            std::memcpy(durable_.data() + at, now_.data() + at, size);
    }
    // A random part of each write that was not flushed survives.
    void lose_power(std::mt19937_64& random) {
        for (const auto& [at, size] : std::exchange(unflushed_, {})) {
            const auto kept = random() % (size + 1);
            std::memcpy(durable_.data() + at, now_.data() + at, kept);
        }
        now_ = durable_;
    }
    const Bytes& content() const { return now_; }

    std::size_t flushes = 0;
    std::size_t room = ~std::size_t{0};  // bytes that can still be written

private:
    Bytes durable_;
    Bytes now_;
    std::vector<std::pair<std::size_t, std::size_t>> unflushed_;
};

class IncomingDisk final : public ports::Incoming {
public:
    explicit IncomingDisk(PowerLossDisk& disk) : disk_(disk) {}
    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        if (data.size() > disk_.room) return fail(ErrorKind::no_space, "no space left");
        disk_.room -= data.size();
        disk_.write(offset, data);
        return {};
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        disk_.write(offset, Bytes(length.count()));
        return {};
    }
    Result<> flush() override {
        disk_.flush();
        return {};
    }
    Result<> publish() override { return flush(); }
    Result<> discard() override { return {}; }

private:
    PowerLossDisk& disk_;
};

inline Bytes random_bytes(std::size_t size, std::mt19937_64& random) {
    Bytes bytes(size);
    std::size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        const auto word = random();
        std::memcpy(bytes.data() + at, &word, 8);
    }
    for (; at < size; ++at) bytes[at] = static_cast<std::byte>(random());
    return bytes;
}

// A source disk and what changed on it since a base that the target has.
struct Story {
    Bytes base;
    Bytes now;
    Extents changes;
};

// One run of changed bytes, of any alignment: random, repetitive, zero although listed as data, or
// trimmed.
inline void change(Story& story, std::uint64_t at, std::uint64_t size, std::mt19937_64& random) {
    auto* to = story.now.data() + at;
    auto kind = model::ExtentKind::data;
    switch (random() % 4) {
        case 0: std::ranges::copy(random_bytes(size, random), to); break;
        case 1: std::memset(to, static_cast<int>(random() % 255 + 1), size); break;
        case 2: std::memset(to, 0, size); break;
        default: std::memset(to, 0, size); kind = model::ExtentKind::zero;
    }
    story.changes.push_back({ByteOffset(at), ByteSize(size), kind});
}

// An increment (with a base of random content) or a full send (onto zeroes).
inline Story random_story(std::mt19937_64& random, std::uint64_t max_size, bool with_base) {
    Story story;
    const auto size = 1 + random() % max_size;
    story.base = with_base ? random_bytes(size, random) : Bytes(size);
    story.now = story.base;
    const std::uint64_t longest = random() % 3 == 0 ? size : 64 << 10;
    const std::uint64_t grid = random() % 2 == 0 ? 4096 : 1;
    for (std::uint64_t at = random() % size; at < size;) {
        at = at / grid * grid;
        const auto length = std::min((1 + random() % longest + grid - 1) / grid * grid, size - at);
        change(story, at, length, random);
        at += length + (random() % 3 == 0 ? 0 : random() % longest + grid);
    }
    return story;
}

}  // namespace understudy::mover::fake
