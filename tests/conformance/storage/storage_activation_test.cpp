#include "storage_conformance.hpp"

#include <algorithm>

namespace understudy::conformance {
namespace {

using ports::ActivationKind;

TEST_P(StorageConformance, promoting_gives_a_head_with_the_snapshots_content) {
    const auto volume = VolumeId::random();
    const auto old = SnapshotId::random();
    const auto newer = SnapshotId::random();
    receive_content(pool(), volume, {}, old, filled(kDiskSize, 1));
    receive_content(pool(), volume, old, newer, filled(kDiskSize, 2));
    const auto head = must(pool().activate(volume, old, ActivationKind::promote));
    EXPECT_EQ(must(pool().head(volume)), head);
    EXPECT_TRUE(fixture().read_disk(head) == filled(kDiskSize, 1));
    fixture().guest(head, {write_op(0, 4096, 9)});
    fixture().crash();
    EXPECT_EQ(must(pool().activate(volume, old, ActivationKind::promote)), head)
        << "a repeated promote loses nothing";
    EXPECT_EQ(fixture().read_disk(head)[0], std::byte{9});
    EXPECT_EQ(error_kind_of(pool().activate(volume, newer, ActivationKind::promote)),
              ErrorKind::conflict);
    expect_snapshots(pool(), volume, {{old, filled(kDiskSize, 1)}, {newer, filled(kDiskSize, 2)}});
}

TEST_P(StorageConformance, a_promoted_volume_takes_snapshots_and_receives) {
    const auto volume = VolumeId::random();
    const auto first = SnapshotId::random();
    receive_content(pool(), volume, {}, first, filled(kDiskSize, 1));
    const auto head = must(pool().activate(volume, first, ActivationKind::promote));
    fixture().guest(head, {write_op(8192, 4096, 2)});
    const auto taken = SnapshotId::random();
    auto content = fixture().read_disk(head);
    take_in_steps(pool(), volume, taken, kDiskSize);
    const auto sibling = SnapshotId::random();
    receive_content(pool(), volume, first, sibling, filled(kDiskSize, 3));
    expect_snapshots(
        pool(), volume,
        {{first, filled(kDiskSize, 1)}, {taken, content}, {sibling, filled(kDiskSize, 3)}});
    EXPECT_EQ(bytes_in(list_changes(pool(), volume, first, taken), model::ExtentKind::data), 4096U);
}

// As a task does it, whose VM is then defined with the new head.
ports::DiskSource roll_back(ports::StoragePool& pool, const VolumeId& volume,
                            const SnapshotId& id) {
    const auto made = must(pool.activate(volume, id, ActivationKind::rollback));
    EXPECT_EQ(must(pool.activate(volume, id, ActivationKind::promote)), made);
    return made;
}

TEST_P(StorageConformance, rolling_back_throws_away_what_was_written_since) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto first = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto second = disk.take();
    disk.run({write_op(0, 4096, 3)});
    const auto traces = fixture().traces(disk.id()).size();
    const auto head = roll_back(pool(), disk.id(), first);
    EXPECT_EQ(disk.head(), head);
    EXPECT_EQ(roll_back(pool(), disk.id(), first), head);
    EXPECT_TRUE(fixture().read_disk(head) == disk.contents()[first]);
    EXPECT_EQ(fixture().traces(disk.id()).size(), traces) << "the old head is gone";
    expect_snapshots(pool(), disk.id(), disk.contents());
    disk.run({write_op(0, 4096, 4)});
    const auto again = roll_back(pool(), disk.id(), first);
    EXPECT_TRUE(fixture().read_disk(again) == disk.contents()[first]) << "also a second time";
    const auto forward = roll_back(pool(), disk.id(), second);
    EXPECT_TRUE(fixture().read_disk(forward) == disk.contents()[second]);
    EXPECT_EQ(error_kind_of(pool().activate(disk.id(), first, ActivationKind::promote)),
              ErrorKind::conflict);
}

TEST_P(StorageConformance, of_two_rollbacks_to_one_snapshot_the_newer_head_is_promoted) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto id = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto older = must(pool().activate(disk.id(), id, ActivationKind::rollback));
    fixture().guest(older, {write_op(0, 4096, 3)});  // a VM ran on it
    const auto newer = must(pool().activate(disk.id(), id, ActivationKind::rollback));
    EXPECT_EQ(newer == older, in_place());
    EXPECT_EQ(must(pool().activate(disk.id(), id, ActivationKind::promote)), newer);
    EXPECT_EQ(disk.head(), newer);
    EXPECT_TRUE(fixture().read_disk(newer) == disk.contents()[id]);
}

TEST_P(StorageConformance, a_rollback_that_the_vm_was_not_defined_with_changes_nothing) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto first = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto second = disk.take();
    disk.run({write_op(0, 4096, 3)});
    const auto head = disk.head();
    const auto present = fixture().read_disk(head);
    const auto traces = fixture().traces(disk.id());
    const auto made = must(pool().activate(disk.id(), first, ActivationKind::rollback));
    fixture().crash();
    EXPECT_EQ(must(pool().activate(disk.id(), first, ActivationKind::rollback)), made);
    EXPECT_EQ(disk.head(), head) << "the VM is still defined with it";
    must(pool().adopt(disk.id(), kLabel, head));
    EXPECT_TRUE(fixture().read_disk(head) == present);
    must(pool().remove_snapshot(disk.id(), second));  // merged under the present head
    disk.contents().erase(second);
    expect_snapshots(pool(), disk.id(), disk.contents());
    EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
    must(pool().deactivate(disk.id(), made));
    EXPECT_LT(fixture().traces(disk.id()).size(), traces.size());
    EXPECT_EQ(error_kind_of(pool().deactivate(disk.id(), disk.head())), ErrorKind::refused);
    EXPECT_EQ(error_kind_of(pool().activate(disk.id(), first, ActivationKind::promote)),
              ErrorKind::conflict)
        << "the rollback is off";
    if (in_place()) {
        EXPECT_EQ(made, head);
    } else {
        must(pool().deactivate(disk.id(), made));
        EXPECT_EQ(error_kind_of(pool().adopt(disk.id(), kLabel, made)), ErrorKind::conflict);
    }
    EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, a_drill_leaves_no_trace) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto first = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto head = disk.head();
    const auto present = fixture().read_disk(head);
    const auto traces = fixture().traces(disk.id());
    const auto drill = must(pool().activate(disk.id(), first, ActivationKind::drill));
    EXPECT_NE(drill, head);
    EXPECT_EQ(disk.head(), head);
    EXPECT_EQ(must(pool().activate(disk.id(), first, ActivationKind::drill)), drill);
    fixture().guest(drill, {write_op(0, 1 << 20, 7)});
    fixture().crash();
    EXPECT_EQ(fixture().read_disk(drill)[0], std::byte{7});
    const auto second = must(pool().activate(disk.id(), first, ActivationKind::drill));
    EXPECT_TRUE(fixture().read_disk(second) == disk.contents()[first]) << "never a used one";
    for (int repeat = 0; repeat < 2; ++repeat) {
        must(pool().deactivate(disk.id(), drill));
        must(pool().deactivate(disk.id(), second));
    }
    EXPECT_EQ(fixture().traces(disk.id()), traces);
    EXPECT_TRUE(fixture().read_disk(head) == present);
    expect_snapshots(pool(), disk.id(), disk.contents());
    EXPECT_EQ(error_kind_of(pool().deactivate(disk.id(), head)), ErrorKind::refused);
    EXPECT_TRUE(fixture().read_disk(head) == present);
}

TEST_P(StorageConformance, a_replica_has_no_disk_to_snapshot_until_it_is_promoted) {
    const auto volume = VolumeId::random();
    const auto id = SnapshotId::random();
    receive_content(pool(), volume, {}, id, filled(kDiskSize, 1));
    EXPECT_EQ(must(pool().head(volume)), std::nullopt);
    EXPECT_EQ(error_kind_of(pool().prepare_snapshot(volume, SnapshotId::random(), kDiskSize)),
              ErrorKind::conflict);
}

}  // namespace
}  // namespace understudy::conformance
