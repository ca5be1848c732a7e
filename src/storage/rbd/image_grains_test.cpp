#include "storage/rbd/image_grains.hpp"

#include <gmock/gmock.h>

namespace understudy::rbd {
namespace {

using model::Extent;
using model::ExtentKind;
using testing::ElementsAre;

std::vector<Extent> extents_of(const Grains& grains, std::uint64_t from = 0) {
    std::vector<Extent> extents;
    grains.append_to(extents, from);
    return extents;
}

Extent extent(std::uint64_t offset, std::uint64_t length, ExtentKind kind) {
    return {ByteOffset(offset), ByteSize(length), kind};
}

TEST(Grains, a_marked_byte_marks_its_grain_within_the_piece) {
    Grains grains(65536, 65536 + 10'000);
    grains.mark(65536 + 4095, 65536 + 4097, Grain::zero);
    EXPECT_THAT(extents_of(grains), ElementsAre(extent(65536, 8192, ExtentKind::zero)));
    grains.mark(0, 65537, Grain::data);
    grains.mark(65536 + 9000, 1 << 20, Grain::data);
    EXPECT_THAT(extents_of(grains), ElementsAre(extent(65536, 4096, ExtentKind::data),
                                                extent(69632, 4096, ExtentKind::zero),
                                                extent(73728, 1808, ExtentKind::data)));
    EXPECT_THAT(extents_of(grains, 70'000),
                ElementsAre(extent(70'000, 73728 - 70'000, ExtentKind::zero),
                            extent(73728, 1808, ExtentKind::data)));
}

TEST(Grains, comparing_tells_what_differs_and_what_of_it_is_zero) {
    std::vector<std::byte> before(3 * 4096 + 100, std::byte{1});
    auto now = before;
    now[5000] = std::byte{2};
    std::fill(now.begin() + 8192, now.begin() + 12288, std::byte{0});
    now.back() = std::byte{3};
    Grains grains(0, now.size());
    grains.compare(0, before, now);
    EXPECT_THAT(extents_of(grains), ElementsAre(extent(4096, 4096, ExtentKind::data),
                                                extent(8192, 4096, ExtentKind::zero),
                                                extent(12288, 100, ExtentKind::data)));
}

TEST(Grains, keeps_only_what_another_marked) {
    Grains grains(0, 16384);
    Grains marked(0, 16384);
    grains.mark(0, 16384, Grain::data);
    marked.mark(4096, 8192, Grain::zero);
    grains.keep(marked);
    EXPECT_THAT(extents_of(grains), ElementsAre(extent(4096, 4096, ExtentKind::data)));
}

TEST(Grains, neighbours_of_one_kind_become_one_extent_across_pieces) {
    std::vector<Extent> extents;
    for (const std::uint64_t begin : {0, 8192}) {
        Grains grains(begin, begin + 8192);
        grains.mark(begin, begin + 8192, Grain::data);
        grains.append_to(extents, 0);
    }
    EXPECT_THAT(extents, ElementsAre(extent(0, 16384, ExtentKind::data)));
}

}  // namespace
}  // namespace understudy::rbd
