#include "mover/disk_comparison.hpp"

#include "mover/digest.hpp"
#include "mover/fake_disks.hpp"

#include <gmock/gmock.h>

namespace understudy::mover {
namespace {

using base::KiB;
using base::MiB;
using fake::Bytes;
using testing::IsEmpty;
using testing::SizeIs;
using Kind = Difference::Kind;

// One side's disk: what it holds, and what reading it did.
struct Side {
    explicit Side(Bytes bytes) : content(std::move(bytes)) {}

    std::unique_ptr<BlockDigests> digests(const std::vector<model::ByteRange>& bad = {}) {
        return std::make_unique<BlockDigests>(
            std::make_unique<Reader>(*this, bad),
            [this](ByteOffset from) -> Result<std::unique_ptr<ports::ExtentStream>> {
                if (listing_fails) return fail(ErrorKind::corrupt, "a damaged table");
                return std::make_unique<fake::ListedExtents>(allocated(), from);
            });
    }
    // Clusters of 64 KiB that hold anything but zeroes.
    fake::Extents allocated() const {
        fake::Extents extents;
        for (std::size_t at = 0; at < content.size(); at += 65536) {
            const auto length = std::min<std::size_t>(65536, content.size() - at);
            if (!all_zero(std::span(content).subspan(at, length)))
                extents.push_back({ByteOffset(at), ByteSize(length), model::ExtentKind::data});
        }
        return extents;
    }

    class Reader final : public ports::Reader {
    public:
        Reader(Side& side, std::vector<model::ByteRange> bad) : side_(side), bad_(std::move(bad)) {}
        ByteSize size() const override { return ByteSize(side_.content.size()); }
        Result<> read(ByteOffset offset, std::span<std::byte> into) override {
            for (const auto& range : bad_)
                if (offset < range.end() && range.offset < offset + ByteSize(into.size()))
                    return fail(ErrorKind::corrupt, "a bad sector");
            side_.read += ByteSize(into.size());
            std::memcpy(into.data(), side_.content.data() + offset.count(), into.size());
            return {};
        }
        void prefetch(ByteOffset, ByteSize) override {}

    private:
        Side& side_;
        std::vector<model::ByteRange> bad_;
    };

    Bytes content;
    ByteSize read;
    bool listing_fails = false;
};

struct Sides {
    Side here;
    Side there;
    std::vector<model::ByteRange> bad_here = {};
    std::vector<model::ByteRange> bad_there = {};
    std::size_t at_once = kDigestsPerCall.blocks;  // answered in one call
    std::size_t calls = 0;

    std::vector<Difference> compare(ByteOffset from = {}) {
        const auto ours = here.digests(bad_here);
        const auto theirs = there.digests(bad_there);
        DiskComparison comparison(
            *ours,
            [&](ByteSize block, const std::vector<model::ByteRange>& ranges) {
                ++calls;
                return answer(*theirs, ranges, block);
            },
            ours->size(), from);
        std::vector<Difference> found;
        while (true) {
            auto next = comparison.next();
            EXPECT_TRUE(next) << next.error().text();
            if (!next || !*next) return found;
            found.push_back(**next);
        }
    }
    Result<model::DigestAnswer> answer(BlockDigests& theirs,
                                       const std::vector<model::ByteRange>& ranges,
                                       ByteSize block) const {
        auto blocks = UNDERSTUDY_VALUE(theirs.of(ranges, block, {at_once, MiB(256)}));
        return model::DigestAnswer{std::move(blocks), theirs.failure(), 0};
    }
};

std::vector<model::ByteRange> ranges_of(const std::vector<Difference>& found) {
    std::vector<model::ByteRange> ranges;
    for (const auto& one : found) ranges.push_back(one.range);
    return ranges;
}

// The 4 KiB grains in which two disks differ, neighbours as one.
std::vector<model::ByteRange> grains_that_differ(const Bytes& here, const Bytes& there) {
    std::vector<model::ByteRange> ranges;
    for (std::size_t at = 0; at < here.size(); at += 4096) {
        const auto length = std::min<std::size_t>(4096, here.size() - at);
        if (std::memcmp(here.data() + at, there.data() + at, length) == 0) continue;
        if (!ranges.empty() && ranges.back().end() == ByteOffset(at))
            ranges.back().length += ByteSize(length);
        else
            ranges.push_back({ByteOffset(at), ByteSize(length)});
    }
    return ranges;
}

TEST(DiskComparison, finds_exactly_the_grains_that_differ) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 40; ++round) {
        auto story = fake::random_story(random, 20 << 20, random() % 2 == 0);
        Sides sides{Side(story.now), Side(story.base)};
        sides.at_once = 1 + random() % 300;
        auto found = sides.compare();
        std::vector<model::ByteRange> joined;
        for (const auto& one : found) {  // of one kind each
            if (!joined.empty() && joined.back().end() == one.range.offset)
                joined.back().length += one.range.length;
            else
                joined.push_back(one.range);
            const auto part =
                std::span(story.now).subspan(one.range.offset.count(), one.range.length.count());
            EXPECT_EQ(one.kind == Kind::differs_zero_here, all_zero(part));
        }
        ASSERT_EQ(joined, grains_that_differ(story.now, story.base)) << "round " << round;
    }
}

TEST(DiskComparison, one_bit_in_a_large_disk_is_found_with_few_questions_and_little_reading) {
    std::mt19937_64 random(1);
    const auto content = fake::random_bytes(64 << 20, random);
    Sides sides{Side(content), Side(content)};
    EXPECT_THAT(sides.compare(), IsEmpty());
    EXPECT_EQ(sides.calls, 1U);
    sides.here.read = ByteSize();
    sides.here.content[33'333'333] ^= std::byte{4};
    const auto found = sides.compare();
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_EQ(found[0].range, (model::ByteRange{ByteOffset(33'333'333 / 4096 * 4096), KiB(4)}));
    EXPECT_LE(sides.here.read, MiB(64) + MiB(4) + KiB(64));
}

TEST(DiskComparison, only_what_is_allocated_is_read) {
    Bytes content(40 << 20);
    content[5] = content[30 << 20] = std::byte{1};
    Sides sides{Side(content), Side(content)};
    EXPECT_THAT(sides.compare(), IsEmpty());
    EXPECT_LE(sides.here.read, MiB(8));
    EXPECT_LE(sides.there.read, MiB(8));
}

TEST(DiskComparison, goes_on_in_the_middle_of_a_block) {
    Bytes content(10 << 20, std::byte{1});
    Sides sides{Side(content), Side(Bytes(10 << 20, std::byte{2}))};
    const auto found = sides.compare(ByteOffset((5 << 20) + 12288));
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_EQ(found[0].range.offset, ByteOffset((5 << 20) + 12288));
    EXPECT_EQ(found[0].range.end(), ByteOffset(10 << 20));
}

TEST(DiskComparison, a_smaller_disk_there_reads_as_zeroes_beyond_its_end) {
    Bytes larger(6 << 20, std::byte{9});
    Bytes smaller(larger.begin(), larger.begin() + (5 << 20) + 512);
    std::fill(larger.begin() + (5 << 20) + 512, larger.end(), std::byte{0});
    Sides sides{Side(larger), Side(smaller)};
    EXPECT_THAT(sides.compare(), IsEmpty());
    sides.here.content.back() = std::byte{1};
    EXPECT_EQ(ranges_of(sides.compare()),
              (std::vector<model::ByteRange>{{ByteOffset((6 << 20) - 4096), KiB(4)}}));
}

TEST(DiskComparison, what_cannot_be_read_is_told_by_side_and_the_rest_is_compared) {
    std::mt19937_64 random(3);
    const auto content = fake::random_bytes(12 << 20, random);
    Sides sides{Side(content), Side(content)};
    sides.there.content[11 << 20] ^= std::byte{1};
    sides.bad_here = {{ByteOffset(100'000), ByteSize(10)}};
    sides.bad_there = {{ByteOffset(5 << 20), ByteSize(10)}};
    const auto found = sides.compare();
    ASSERT_THAT(found, SizeIs(3));
    EXPECT_EQ(found[0].kind, Kind::unreadable_here);
    EXPECT_EQ(found[0].range, (model::ByteRange{ByteOffset(65536), KiB(64)}));
    EXPECT_EQ(found[1].kind, Kind::unreadable_there);
    EXPECT_EQ(found[1].range, (model::ByteRange{ByteOffset(5 << 20), KiB(64)}));
    EXPECT_EQ(found[2].kind, Kind::differs);
    EXPECT_EQ(found[2].range.offset, ByteOffset(11 << 20));
}

TEST(DiskComparison, a_listing_that_cannot_be_read_hides_nothing) {
    std::mt19937_64 random(5);
    const auto content = fake::random_bytes(9 << 20, random);
    Sides sides{Side(content), Side(content)};
    sides.there.listing_fails = true;
    EXPECT_THAT(sides.compare(), IsEmpty());
    sides.there.content[8 << 20] ^= std::byte{1};
    EXPECT_THAT(sides.compare(), SizeIs(1));
}

TEST(DiskComparison, disks_that_have_nothing_in_common_are_told_in_parts) {
    Sides sides{Side(Bytes(200 << 20, std::byte{1})), Side(Bytes(200 << 20, std::byte{2}))};
    const auto found = sides.compare();
    EXPECT_GE(found.size(), 2U) << "the first part is known before the whole disk was compared";
    EXPECT_EQ(found.front().range.offset, ByteOffset(0));
    EXPECT_EQ(found.back().range.end(), ByteOffset(200 << 20));
}

TEST(DiskComparison, an_answer_that_cannot_be_is_an_error) {
    Side here(Bytes(8 << 20, std::byte{1}));
    const auto ours = here.digests();
    for (const std::size_t count : {0, 3}) {
        DiskComparison comparison(
            *ours,
            [&](ByteSize, const std::vector<model::ByteRange>&) -> Result<model::DigestAnswer> {
                return model::DigestAnswer{std::vector<model::BlockDigest>(count), {}, 0};
            },
            ours->size(), {});
        const auto next = comparison.next();
        ASSERT_FALSE(next);
        EXPECT_EQ(next.error().kind(), ErrorKind::invalid);
    }
}

}  // namespace
}  // namespace understudy::mover
