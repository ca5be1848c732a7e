#include "storage/memory/pool.hpp"

#include <gtest/gtest.h>

namespace understudy::memory {
namespace {

constexpr ByteSize kSize = base::MiB(1);
const ports::VolumeLabel kLabel{.vm_name = "web1", .disk_target = "vda"};
const auto kVolume = VolumeId(base::uuid_from_random(1, 1));
const auto kFirst = SnapshotId(base::uuid_from_random(2, 1));

std::vector<std::byte> bytes(std::size_t length, unsigned char pattern) {
    return std::vector<std::byte>(length, std::byte{pattern});
}

TEST(MemoryPool, unflushed_bytes_are_lost_with_the_power_and_flushed_ones_are_not) {
    MemoryPool pool("m");
    auto before = *pool.receive(kVolume, kLabel, {}, kFirst, kSize);
    ASSERT_TRUE(before->write(ByteOffset(0), bytes(4096, 1)).has_value());
    ASSERT_TRUE(before->flush().has_value());
    ASSERT_TRUE(before->write(ByteOffset(4096), bytes(4096, 2)).has_value());
    pool.crash();
    EXPECT_EQ(before->write(ByteOffset(0), bytes(4096, 3)).error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(before->publish().error().kind(), ErrorKind::unavailable);
    auto after = *pool.receive(kVolume, kLabel, {}, kFirst, kSize);
    before.reset();  // the old one must not release the new one's claim
    ASSERT_TRUE(after->publish().has_value());
    auto seen = bytes(8192, 9);
    ASSERT_TRUE((*pool.open_snapshot(kVolume, kFirst))->read(ByteOffset(0), seen).has_value());
    EXPECT_EQ(seen[0], std::byte{1});
    EXPECT_EQ(seen[4096], std::byte{0});
}

TEST(MemoryPool, guests_write_at_any_offset_and_only_where_they_may) {
    MemoryPool pool("m");
    const auto disk = pool.create_disk("/d", kSize);
    ASSERT_TRUE(pool.adopt(kVolume, kLabel, disk).has_value());
    ASSERT_TRUE(pool.write_head(kVolume, ByteOffset(4000), bytes(200, 5)).has_value());
    ASSERT_TRUE(pool.trim_disk("/d", ByteOffset(4100), ByteSize(50)).has_value());
    auto seen = bytes(300, 9);
    ASSERT_TRUE(pool.read_disk("/d", ByteOffset(3950), seen).has_value());
    EXPECT_EQ(seen[49], std::byte{0});
    EXPECT_EQ(seen[50], std::byte{5});
    EXPECT_EQ(seen[149], std::byte{5});
    EXPECT_EQ(seen[150], std::byte{0});
    EXPECT_EQ(seen[200], std::byte{5});
    EXPECT_EQ(seen[250], std::byte{0});
    EXPECT_EQ(pool.write_disk("/d", ByteOffset(kSize.count()), bytes(1, 1)).error().kind(),
              ErrorKind::invalid);
    ASSERT_TRUE(pool.prepare_snapshot(kVolume, kFirst, kSize).has_value());
    ASSERT_TRUE(pool.commit_snapshot(kVolume, kFirst).has_value());
    EXPECT_EQ(pool.write_disk("/d", ByteOffset(0), bytes(1, 1)).error().kind(),
              ErrorKind::conflict);
    EXPECT_EQ(pool.write_disk("/e", ByteOffset(0), bytes(1, 1)).error().kind(),
              ErrorKind::not_found);
}

TEST(MemoryPool, a_shrunk_and_regrown_disk_reads_zeroes_there) {
    MemoryPool pool("m");
    pool.create_disk("/d", kSize);
    ASSERT_TRUE(pool.write_disk("/d", ByteOffset(0), bytes(kSize.count(), 5)).has_value());
    ASSERT_TRUE(pool.resize_disk("/d", ByteSize(6000)).has_value());
    ASSERT_TRUE(pool.resize_disk("/d", kSize).has_value());
    auto seen = bytes(8192, 9);
    ASSERT_TRUE(pool.read_disk("/d", ByteOffset(0), seen).has_value());
    EXPECT_EQ(seen[5999], std::byte{5});
    EXPECT_EQ(seen[6000], std::byte{0});
    EXPECT_EQ(seen[8191], std::byte{0});
}

TEST(MemoryPool, only_planned_merges_are_performed_and_they_may_be_repeated) {
    MemoryPool pool("m");
    ASSERT_TRUE(pool.adopt(kVolume, kLabel, pool.create_disk("/d", kSize)).has_value());
    ASSERT_TRUE(pool.prepare_snapshot(kVolume, kFirst, kSize).has_value());
    ASSERT_TRUE(pool.commit_snapshot(kVolume, kFirst).has_value());
    const auto top = (*pool.head(kVolume))->location;
    EXPECT_EQ(pool.perform_merge({"/d", top, true}).error().kind(), ErrorKind::conflict);
    const auto plan = **pool.plan_removal(kVolume, kFirst);
    EXPECT_EQ(pool.finish_removal(kVolume, kFirst).error().kind(), ErrorKind::conflict);
    ASSERT_TRUE(pool.perform_merge(plan).has_value());
    ASSERT_TRUE(pool.write_disk("/d", ByteOffset(0), bytes(1, 7)).has_value());
    ASSERT_TRUE(pool.perform_merge(plan).has_value());
    ASSERT_TRUE(pool.finish_removal(kVolume, kFirst).has_value());
    ASSERT_TRUE(pool.perform_merge(plan).has_value());
    auto seen = bytes(1, 9);
    ASSERT_TRUE(pool.read_disk("/d", ByteOffset(0), seen).has_value());
    EXPECT_EQ(seen[0], std::byte{7});
}

TEST(MemoryPool, the_same_calls_give_the_same_locations) {
    const auto run = [] {
        MemoryPool pool("m");
        EXPECT_TRUE(pool.adopt(kVolume, kLabel, pool.create_disk("/d", kSize)).has_value());
        EXPECT_TRUE(pool.prepare_snapshot(kVolume, kFirst, kSize).has_value());
        EXPECT_TRUE(pool.commit_snapshot(kVolume, kFirst).has_value());
        EXPECT_TRUE(pool.activate(kVolume, kFirst, ports::ActivationKind::drill).has_value());
        return pool.traces(kVolume);
    };
    EXPECT_EQ(run(), run());
    EXPECT_EQ(run().size(), 3U);
}

}  // namespace
}  // namespace understudy::memory
