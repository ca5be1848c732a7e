#include "storage_conformance.hpp"

namespace understudy::conformance {
namespace {

using ports::ActivationKind;

TEST_P(StorageConformance, a_retired_disk_is_a_replicas_and_can_be_received_on_and_promoted_again) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 8192, 1)});
    const auto first = disk.take();
    disk.run({write_op(4096, 8192, 2), trim_op(0, 128 * 1024)});
    const auto last = disk.take();
    EXPECT_TRUE(must(pool().head_equals(disk.id(), last)));
    must(pool().retire_head(disk.id(), last));
    EXPECT_EQ(must(pool().head(disk.id())), std::nullopt);
    EXPECT_TRUE(must(pool().head_equals(disk.id(), last)));
    must(pool().retire_head(disk.id(), last));  // repeated
    expect_snapshots(pool(), disk.id(), disk.contents());
    fixture().crash();
    auto expected = disk.contents();
    const auto came = SnapshotId::random();
    receive_content(pool(), disk.id(), last, came, expected[came] = filled(kDiskSize, 7));
    const auto late = SnapshotId::random();
    receive_content(pool(), disk.id(), first, late, expected[late] = filled(kDiskSize, 8));
    expect_snapshots(pool(), disk.id(), expected);
    const auto head = must(pool().activate(disk.id(), came, ActivationKind::promote));
    EXPECT_TRUE(fixture().read_disk(head) == filled(kDiskSize, 7));
}

TEST_P(StorageConformance, a_disk_with_writes_that_no_snapshot_has_is_not_retired) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto first = disk.take();
    disk.run({write_op(8192, 4096, 2)});
    const auto head = disk.head();
    EXPECT_FALSE(must(pool().head_equals(disk.id(), first)));
    EXPECT_EQ(error_kind_of(pool().retire_head(disk.id(), first)), ErrorKind::conflict);
    EXPECT_EQ(must(pool().head(disk.id())), head);
    EXPECT_EQ(fixture().read_disk(head)[8192], std::byte{2});
    const auto second = disk.take();
    EXPECT_EQ(error_kind_of(pool().retire_head(disk.id(), first)), ErrorKind::conflict)
        << "it is on a newer snapshot";
    disk.run({trim_op(0, 128 * 1024)});
    EXPECT_EQ(error_kind_of(pool().retire_head(disk.id(), second)), ErrorKind::conflict)
        << "a trim is a write";
    const auto third = disk.take();
    disk.resize(kDiskSize + base::MiB(1));
    EXPECT_EQ(error_kind_of(pool().retire_head(disk.id(), third)), ErrorKind::conflict)
        << "it has grown";
    EXPECT_EQ(error_kind_of(pool().retire_head(disk.id(), SnapshotId::random())),
              ErrorKind::not_found);
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, a_promoted_disk_that_nothing_ran_on_is_retired) {
    const auto volume = VolumeId::random();
    const auto old = SnapshotId::random();
    const auto newer = SnapshotId::random();
    receive_content(pool(), volume, {}, old, filled(kDiskSize, 1));
    receive_content(pool(), volume, old, newer, filled(kDiskSize, 2));
    for (const auto& on : {old, newer}) {
        must(pool().activate(volume, on, ActivationKind::promote));
        must(pool().retire_head(volume, on));
        EXPECT_EQ(must(pool().head(volume)), std::nullopt);
    }
    expect_snapshots(pool(), volume, {{old, filled(kDiskSize, 1)}, {newer, filled(kDiskSize, 2)}});
    const auto next = SnapshotId::random();
    receive_content(pool(), volume, newer, next, filled(kDiskSize, 3));
    EXPECT_TRUE(read_snapshot(pool(), volume, next) == filled(kDiskSize, 3));
}

// Drivers count in pieces of their own; no piece is larger than an eighth of the disk.
TEST_P(StorageConformance, a_head_owns_about_what_was_written_to_it_since_its_snapshot) {
    const auto owned = [&](const VolumeId& id, const SnapshotId& on) {
        return must(pool().head_own(id, on)).value_or(ByteSize(0)).count();
    };
    constexpr std::uint64_t kWritten = 512 * 1024;
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 2 * kWritten, 1)});
    const auto first = disk.take();
    EXPECT_LT(owned(disk.id(), first), kWritten) << "nothing was written since";
    disk.run({write_op(4096, kWritten, 2)});
    EXPECT_GE(owned(disk.id(), first), kWritten);
    EXPECT_LE(owned(disk.id(), first), kWritten + kDiskSize.count() / 8);
    const auto second = disk.take();
    EXPECT_LT(owned(disk.id(), second), kWritten) << "the snapshot has it now";
    must(pool().retire_head(disk.id(), second));
    EXPECT_EQ(must(pool().head_own(disk.id(), second)), ByteSize(0)) << "there is no head";
}

}  // namespace
}  // namespace understudy::conformance
