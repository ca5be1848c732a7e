#pragma once

#include "model/extent.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace understudy::rbd {

enum class Grain : unsigned char { same, data, zero };

// What is known of each grain (model::kGrain) of one object-sized piece of a disk.
class Grains {
public:
    Grains(std::uint64_t begin, std::uint64_t end);  // bytes of the disk; begin lies on the grid

    std::uint64_t begin() const { return begin_; }
    std::uint64_t end() const { return end_; }
    // Marks the grains that hold any byte of [from, to), which may go beyond the piece.
    void mark(std::uint64_t from, std::uint64_t to, Grain as);
    void keep(const Grains& marked);  // all that are `same` there become so here
    Grain& at(std::uint64_t offset) { return grains_[(offset - begin_) / model::kGrain.count()]; }
    // Marks what differs in the content [offset, offset + now.size()). The offset lies on the grid.
    void compare(std::uint64_t offset, std::span<const std::byte> before,
                 std::span<const std::byte> now);

    void append_to(std::vector<model::Extent>& extents, std::uint64_t from) const;

private:
    std::uint64_t begin_;
    std::uint64_t end_;
    std::vector<Grain> grains_;
};

}  // namespace understudy::rbd
