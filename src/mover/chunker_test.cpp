#include "mover/chunker.hpp"

#include "model/transfer.hpp"
#include "mover/fake_disks.hpp"

#include <gmock/gmock.h>

namespace understudy::mover {
namespace {

using model::Extent;
using model::ExtentKind;
using testing::ElementsAre;

constexpr std::uint64_t KiB = 1 << 10;
constexpr std::uint64_t MiB = 1 << 20;

Extent data(std::uint64_t at, std::uint64_t length) {
    return {ByteOffset(at), ByteSize(length), ExtentKind::data};
}
Extent zero(std::uint64_t at, std::uint64_t length) {
    return {ByteOffset(at), ByteSize(length), ExtentKind::zero};
}

fake::Extents chunks_of(const fake::Extents& extents, std::uint64_t size,
                        ChunkerOptions options = {}, std::uint64_t from = 0) {
    Chunker chunker(std::make_unique<fake::ListedExtents>(extents, ByteOffset(from)),
                    ByteSize(size), ByteOffset(from), options);
    fake::Extents chunks;
    for (;;) {
        const auto next = chunker.next();
        if (!next.has_value() || !next->has_value()) return chunks;
        chunks.push_back(**next);
    }
}

TEST(Chunker, cuts_data_at_multiples_of_a_mebibyte) {
    EXPECT_THAT(chunks_of({data(512 * KiB, 2 * MiB)}, 8 * MiB),
                ElementsAre(data(512 * KiB, 512 * KiB), data(MiB, MiB), data(2 * MiB, 512 * KiB)));
}

TEST(Chunker, joins_what_a_driver_split) {
    EXPECT_THAT(chunks_of({data(0, 64 * KiB), data(64 * KiB, 64 * KiB), zero(128 * KiB, 4 * KiB),
                           zero(132 * KiB, 4 * KiB)},
                          MiB),
                ElementsAre(data(0, 128 * KiB), zero(128 * KiB, 8 * KiB)));
}

TEST(Chunker, merges_small_gaps_only_when_told) {
    const fake::Extents extents{data(0, 4 * KiB), data(36 * KiB, 4 * KiB), data(76 * KiB, 4 * KiB)};
    EXPECT_EQ(chunks_of(extents, MiB), extents);
    EXPECT_THAT(chunks_of(extents, MiB, {.merge_gaps = true}),
                ElementsAre(data(0, 40 * KiB), data(76 * KiB, 4 * KiB)));
}

TEST(Chunker, a_dropped_zero_range_is_a_gap_like_any_other) {
    EXPECT_THAT(chunks_of({data(0, 4 * KiB), zero(4 * KiB, 8 * KiB), data(12 * KiB, 4 * KiB),
                           zero(16 * KiB, MiB)},
                          8 * MiB, {.merge_gaps = true, .drop_zeroes = true}),
                ElementsAre(data(0, 16 * KiB)));
}

TEST(Chunker, data_grows_to_the_grid_and_zero_shrinks_to_it) {
    EXPECT_THAT(chunks_of({data(100, 100), zero(10 * KiB, 20 * KiB)}, MiB),
                ElementsAre(data(0, 4 * KiB), data(8 * KiB, 4 * KiB), zero(12 * KiB, 16 * KiB),
                            data(28 * KiB, 4 * KiB)));
    EXPECT_THAT(chunks_of({zero(4 * KiB + 1, 100)}, MiB), ElementsAre(data(4 * KiB, 4 * KiB)));
}

TEST(Chunker, stays_within_a_disk_of_odd_size) {
    EXPECT_THAT(chunks_of({data(4 * KiB, 64 * KiB)}, 5000), ElementsAre(data(4 * KiB, 904)));
    EXPECT_THAT(chunks_of({zero(4 * KiB, 904)}, 5000), ElementsAre(zero(4 * KiB, 904)));
    EXPECT_THAT(chunks_of({data(8 * KiB, 4 * KiB)}, 5000), ElementsAre());
}

TEST(Chunker, begins_at_the_given_place_inside_an_extent) {
    EXPECT_THAT(chunks_of({data(0, 4 * MiB)}, 8 * MiB, {}, 3 * MiB),
                ElementsAre(data(3 * MiB, MiB)));
    EXPECT_THAT(chunks_of({data(0, 5000)}, 5000, {}, 5000), ElementsAre());
}

TEST(Chunker, zero_ranges_stay_whole_up_to_the_limit) {
    const auto limit = std::uint64_t{1} << 40;
    EXPECT_THAT(chunks_of({zero(0, limit + MiB)}, 2 * limit),
                ElementsAre(zero(0, limit), zero(limit, MiB)));
}

TEST(Chunker, covers_every_changed_byte_once_in_order) {
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        std::mt19937_64 random(seed);
        const auto story = fake::random_story(random, 4 * MiB, true);
        const auto size = story.now.size();
        const ChunkerOptions options{.merge_gaps = seed % 2 == 0};
        std::vector<char> covered(size, 0);
        std::uint64_t reached = 0;
        for (const auto& chunk : chunks_of(story.changes, size, options)) {
            ASSERT_GE(chunk.offset.count(), reached) << "seed " << seed;
            reached = chunk.end().count();
            ASSERT_LE(reached, size);
            ASSERT_EQ(chunk.offset.count() % 4096, 0U);
            ASSERT_TRUE(chunk.length.count() % 4096 == 0 || reached == size);
            ASSERT_TRUE(chunk.kind == ExtentKind::zero || chunk.length <= model::kMaxChunk);
            for (auto at = chunk.offset.count(); at < reached; ++at) {
                covered[at] = 1;
                ASSERT_TRUE(chunk.kind == ExtentKind::data || story.now[at] == std::byte{0})
                    << "seed " << seed << " at " << at;
            }
        }
        for (const auto& extent : story.changes)
            for (auto at = extent.offset.count(); at < extent.end().count(); ++at)
                ASSERT_TRUE(covered[at]) << "seed " << seed << " at " << at;
    }
}

}  // namespace
}  // namespace understudy::mover
