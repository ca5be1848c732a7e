#pragma once

#include "model/extent.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace understudy::mover {

// Digest of what is known of a disk, however it was cut: XXH3-128 over runs of data and of zeroes,
// with where each begins and ends. Neighbours of one kind count as one run. Two listings of the
// same grains with the same content have the same digest, whatever format they came from. One
// thread.
class ContentDigest {
public:
    ContentDigest();
    ~ContentDigest();
    ContentDigest(const ContentDigest&) = delete;
    ContentDigest& operator=(const ContentDigest&) = delete;

    // Ascending, without overlap.
    void data(ByteOffset offset, std::span<const std::byte> content);
    void zero(ByteOffset offset, ByteSize length);
    std::string text();  // "xxh3-128:" and hex; ends the digest

private:
    void begin(model::ExtentKind kind, ByteOffset offset);
    void end();

    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace understudy::mover
