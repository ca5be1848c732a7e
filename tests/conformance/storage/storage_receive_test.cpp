#include "storage_conformance.hpp"

#include <algorithm>

namespace understudy::conformance {
namespace {

using base::MiB;
using model::ExtentKind;

std::unique_ptr<ports::Incoming> begin(ports::StoragePool& pool, const VolumeId& volume,
                                       std::optional<SnapshotId> base, const SnapshotId& id) {
    return must(pool.receive(volume, kLabel, base, id, kDiskSize));
}

TEST_P(StoragePair, full_and_incremental_snapshots_arrive_byte_equal) {
    GuestDisk disk(*source_, "disk", kDiskSize);
    disk.run({write_op(0, 2 << 20, 1), write_op(7'000'000, 5000, 2)});
    const auto first = disk.take();
    disk.run({write_op(4096, 4096, 3), trim_op(1 << 20, 256 << 10), zero_op(131072, 10'000)});
    const auto second = disk.take();
    disk.resize(MiB(10));
    disk.run({write_op((10 << 20) - 4096, 4096, 4), write_op((1 << 20) + 8192, 512, 5)});
    const auto third = disk.take();
    copy_snapshot(source_->pool(), target_->pool(), disk.id(), {}, first);
    copy_snapshot(source_->pool(), target_->pool(), disk.id(), first, second);
    target_->crash();
    copy_snapshot(source_->pool(), target_->pool(), disk.id(), second, third);
    expect_snapshots(target_->pool(), disk.id(), disk.contents());
    EXPECT_EQ(must(target_->pool().head(disk.id())), std::nullopt);
    // And from there on: what was received is listed as well as what was taken.
    const auto extents = list_changes(target_->pool(), disk.id(), first, third);
    EXPECT_TRUE(with_changes(disk.contents()[first], extents, disk.contents()[third]) ==
                disk.contents()[third]);
    EXPECT_LT(bytes_in(extents, ExtentKind::data), 128U << 10);
    EXPECT_GE(bytes_in(extents, ExtentKind::zero), 200U << 10);
}

TEST_P(StoragePair, failback_brings_only_what_changed_since) {
    GuestDisk disk(*source_, "disk", kDiskSize);
    disk.run({write_op(0, 2 << 20, 1)});
    const auto common = disk.take();
    disk.run({write_op(0, 4096, 0xDD)});
    const auto diverged = disk.take();
    auto& away = target_->pool();
    copy_snapshot(source_->pool(), away, disk.id(), {}, common);
    const auto head = must(away.activate(disk.id(), common, ports::ActivationKind::promote));
    target_->guest(head, {write_op(1 << 20, 4096, 0xEE)});
    const auto made_there = SnapshotId::random();
    auto expected = target_->read_disk(head);
    take_in_steps(away, disk.id(), made_there, kDiskSize);
    EXPECT_EQ(bytes_in(list_changes(away, disk.id(), common, made_there), ExtentKind::data), 4096U);
    copy_snapshot(away, source_->pool(), disk.id(), common, made_there);
    disk.contents()[made_there] = expected;
    expect_snapshots(source_->pool(), disk.id(), disk.contents());
    EXPECT_EQ(error_kind_of(source_->pool().changes(disk.id(), diverged, made_there, {})),
              ErrorKind::conflict);
    const auto back =
        must(source_->pool().activate(disk.id(), made_there, ports::ActivationKind::rollback));
    EXPECT_EQ(must(source_->pool().activate(disk.id(), made_there, ports::ActivationKind::promote)),
              back);
    EXPECT_TRUE(source_->read_disk(back) == expected);
    expect_snapshots(source_->pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, receiving_resumes_mid_disk_after_a_crash) {
    const auto volume = VolumeId::random();
    const auto base = SnapshotId::random();
    receive_content(pool(), volume, {}, base, filled(kDiskSize, 7));
    for (const auto& below : {std::optional<SnapshotId>(), std::optional<SnapshotId>(base)}) {
        const auto id = SnapshotId::random();
        const auto content = filled(kDiskSize, 0xC3);
        {
            const auto incoming = begin(pool(), volume, below, id);
            write_extents(*incoming, {{ByteOffset(0), MiB(3), ExtentKind::data}}, content);
            must(incoming->flush());
            write_extents(*incoming, {{ByteOffset(5 << 20), MiB(1), ExtentKind::data}}, content);
        }
        fixture().crash();
        {
            const auto incoming = begin(pool(), volume, below, id);
            write_extents(*incoming, {{ByteOffset(3 << 20), MiB(2), ExtentKind::data}}, content);
            must(incoming->flush());
        }
        fixture().crash();
        const auto incoming = begin(pool(), volume, below, id);
        write_extents(*incoming, {{ByteOffset(5 << 20), MiB(3), ExtentKind::data}}, content);
        must(incoming->publish());
        EXPECT_TRUE(read_snapshot(pool(), volume, id) == content);
    }
}

TEST_P(StorageConformance, publishing_may_be_repeated_also_after_a_crash) {
    const auto volume = VolumeId::random();
    const auto id = SnapshotId::random();
    const auto content = filled(kDiskSize, 5);
    {
        const auto incoming = begin(pool(), volume, {}, id);
        write_extents(*incoming, {{ByteOffset(0), kDiskSize, ExtentKind::data}}, content);
        must(incoming->publish());
        must(incoming->publish());
        must(begin(pool(), volume, {}, id)->publish());
    }
    fixture().crash();
    const auto again = begin(pool(), volume, {}, id);
    must(again->publish());
    EXPECT_EQ(error_kind_of(again->write(ByteOffset(0), filled(base::KiB(4), 1))),
              ErrorKind::conflict);
    EXPECT_EQ(error_kind_of(again->discard()), ErrorKind::conflict);
    expect_snapshots(pool(), volume, {{id, content}});
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, {}, id, MiB(9))), ErrorKind::conflict);
}

TEST_P(StorageConformance, what_is_not_published_is_nowhere_to_be_seen) {
    const auto volume = VolumeId::random();
    const auto id = SnapshotId::random();
    const auto incoming = begin(pool(), volume, {}, id);
    must(incoming->write(ByteOffset(0), filled(MiB(1), 1)));
    must(incoming->flush());
    EXPECT_TRUE(must(pool().snapshots(volume)).empty());
    EXPECT_EQ(error_kind_of(pool().stat(volume, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().open_snapshot(volume, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().changes(volume, {}, id, {})), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().activate(volume, id, ports::ActivationKind::promote)),
              ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, id, SnapshotId::random(), kDiskSize)),
              ErrorKind::conflict);
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, {}, id, kDiskSize)),
              ErrorKind::unavailable)
        << "one receives it already";
}

TEST_P(StorageConformance, discarding_leaves_nothing) {
    const auto volume = VolumeId::random();
    const auto base = SnapshotId::random();
    const auto fill = filled(MiB(1), 1);
    {
        const auto incoming = begin(pool(), volume, {}, SnapshotId::random());
        must(incoming->write(ByteOffset(0), fill));
        must(incoming->flush());
        must(incoming->discard());
        must(incoming->discard());
        EXPECT_TRUE(error_kind_of(incoming->write(ByteOffset(0), fill)).has_value());
        EXPECT_TRUE(error_kind_of(incoming->publish()).has_value());
    }
    EXPECT_TRUE(fixture().traces(volume).empty());
    EXPECT_FALSE(must(pool().knows(volume)));
    receive_content(pool(), volume, {}, base, filled(kDiskSize, 2));
    const auto before = fixture().traces(volume);
    const auto id = SnapshotId::random();
    must(begin(pool(), volume, base, id)->flush());
    fixture().crash();
    must(begin(pool(), volume, base, id)->discard());  // also what was begun before a crash
    EXPECT_EQ(fixture().traces(volume), before);
    expect_snapshots(pool(), volume, {{base, filled(kDiskSize, 2)}});
}

TEST_P(StorageConformance, receiving_needs_its_base_and_the_same_terms_as_before) {
    const auto volume = VolumeId::random();
    const auto id = SnapshotId::random();
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, SnapshotId::random(), id, kDiskSize)),
              ErrorKind::conflict);
    EXPECT_FALSE(must(pool().knows(volume)));
    const auto base = SnapshotId::random();
    receive_content(pool(), volume, {}, base, filled(kDiskSize, 2));
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, SnapshotId::random(), id, kDiskSize)),
              ErrorKind::conflict);
    {
        const auto incoming = begin(pool(), volume, base, id);
    }
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, {}, id, kDiskSize)),
              ErrorKind::conflict);
    EXPECT_EQ(error_kind_of(pool().receive(volume, kLabel, base, id, MiB(9))), ErrorKind::conflict);
}

TEST_P(StorageConformance, several_snapshots_may_be_received_at_once_also_as_siblings) {
    const auto volume = VolumeId::random();
    const auto base = SnapshotId::random();
    const auto left = SnapshotId::random();
    const auto right = SnapshotId::random();
    auto content = filled(kDiskSize, 2);
    receive_content(pool(), volume, {}, base, content);
    std::map<SnapshotId, Bytes> expected{{base, content}, {left, content}, {right, content}};
    {
        const auto one = begin(pool(), volume, base, left);
        const auto two = begin(pool(), volume, base, right);
        must(one->write(ByteOffset(4096), filled(base::KiB(4), 3)));
        must(two->zero(ByteOffset(1 << 20), MiB(2)));
        must(two->publish());
        must(one->publish());
    }
    std::fill_n(expected[left].begin() + 4096, 4096, std::byte{3});
    std::fill_n(expected[right].begin() + (1 << 20), 2 << 20, std::byte{0});
    expect_snapshots(pool(), volume, expected);
    EXPECT_EQ(error_kind_of(pool().changes(volume, left, right, {})), ErrorKind::conflict);
    EXPECT_EQ(bytes_in(list_changes(pool(), volume, base, right), ExtentKind::zero), 2U << 20);
}

TEST_P(StorageConformance, an_odd_sized_disk_is_received_to_its_last_sector) {
    const auto size = ByteSize((1 << 20) + 512 * 5);
    const auto volume = VolumeId::random();
    const auto first = SnapshotId::random();
    const auto second = SnapshotId::random();
    receive_content(pool(), volume, {}, first, filled(size, 6));
    auto content = filled(size, 6);
    std::fill(content.begin() + (1 << 20), content.end(), std::byte{0});
    {
        const auto incoming = must(pool().receive(volume, kLabel, first, second, size));
        must(incoming->zero(ByteOffset(1 << 20), ByteSize(512 * 5)));
        must(incoming->publish());
    }
    expect_snapshots(pool(), volume, {{first, filled(size, 6)}, {second, content}});
    const auto extents = list_changes(pool(), volume, first, second);
    EXPECT_EQ(bytes_in(extents, ExtentKind::zero), 512U * 5);
}

TEST_P(StorageConformance, a_full_pool_says_so_and_receiving_goes_on_when_there_is_room) {
    open(MiB(20));
    const auto volume = VolumeId::random();
    const auto ballast = SnapshotId::random();
    receive_content(pool(), volume, {}, ballast, filled(MiB(10), 1));
    const auto other = VolumeId::random();
    const auto id = SnapshotId::random();
    const auto content = filled(MiB(12), 2);
    const auto receive = [&] { return must(pool().receive(other, kLabel, {}, id, MiB(12))); };
    std::optional<Error> problem;
    std::uint64_t durable = 0;
    {
        const auto incoming = receive();
        while (!problem && durable < content.size()) {
            const auto chunk = std::span(content).subspan(durable, 1 << 20);
            auto done = incoming->write(ByteOffset(durable), chunk);
            if (done) done = incoming->flush();
            fixture().settle();
            if (!done) problem = done.error();
            if (done) durable += chunk.size();
        }
    }
    ASSERT_TRUE(problem.has_value());
    EXPECT_EQ(problem->kind(), ErrorKind::no_space);
    EXPECT_NE(problem->text().find("free"), std::string::npos) << problem->text();
    EXPECT_GT(durable, 4U << 20);
    expect_snapshots(pool(), volume, {{ballast, filled(MiB(10), 1)}});
    must(pool().remove_snapshot(volume, ballast));
    fixture().settle();
    const auto incoming = receive();
    for (; durable < content.size(); durable += 1 << 20)
        must(incoming->write(ByteOffset(durable), std::span(content).subspan(durable, 1 << 20)));
    must(incoming->publish());
    expect_snapshots(pool(), other, {{id, content}});
}

TEST_P(StorageConformance, what_was_received_can_be_discarded_from_a_full_pool) {
    open(MiB(20));
    const auto volume = VolumeId::random();
    const auto incoming = must(pool().receive(volume, kLabel, {}, SnapshotId::random(), MiB(32)));
    const auto chunk = filled(MiB(1), 2);
    Result<> done;
    for (std::uint64_t at = 0; done; at += chunk.size()) {
        done = incoming->write(ByteOffset(at), chunk);
        if (done) done = incoming->flush();
        fixture().settle();
    }
    EXPECT_EQ(error_kind_of(done), ErrorKind::no_space);
    must(incoming->discard());
    EXPECT_TRUE(fixture().traces(volume).empty());
    fixture().settle();
    receive_content(pool(), volume, {}, SnapshotId::random(), filled(MiB(10), 3));
}

INSTANTIATE_TEST_SUITE_P(receive, StoragePair, testing::ValuesIn(storage_pairs()), pair_name);

}  // namespace
}  // namespace understudy::conformance
