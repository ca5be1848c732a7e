#include "storage_conformance.hpp"

#include <gmock/gmock.h>

namespace understudy::conformance {
namespace {

using base::MiB;
using model::ExtentKind;

TEST_P(StorageConformance, adopted_disk_becomes_the_head_as_it_stands) {
    const auto disk = fixture().make_disk("disk", kDiskSize);
    fixture().guest(disk, {write_op(12345, 70000, 0xA1)});
    const auto before = fixture().read_disk(disk);
    const auto id = VolumeId::random();
    EXPECT_FALSE(must(pool().knows(id)));
    for (int repeat = 0; repeat < 2; ++repeat) {
        const auto adopted = must(pool().adopt(id, kLabel, disk));
        EXPECT_EQ(adopted.source, disk);
        EXPECT_EQ(adopted.size, kDiskSize);
    }
    EXPECT_TRUE(must(pool().knows(id)));
    EXPECT_EQ(must(pool().head(id)), disk);
    EXPECT_TRUE(must(pool().snapshots(id)).empty());
    EXPECT_TRUE(fixture().read_disk(disk) == before);
}

TEST_P(StorageConformance, a_disk_belongs_to_one_volume_only) {
    const auto disk = fixture().make_disk("disk", kDiskSize);
    const auto first = VolumeId::random();
    must(pool().adopt(first, kLabel, disk));
    EXPECT_EQ(error_kind_of(pool().adopt(VolumeId::random(), kLabel, disk)), ErrorKind::conflict);
    const auto other = fixture().make_disk("other", kDiskSize);
    EXPECT_EQ(error_kind_of(pool().adopt(first, kLabel, other)), ErrorKind::conflict);
    EXPECT_EQ(must(pool().head(first)), disk);
}

TEST_P(StorageConformance, adopting_an_unknown_type_or_format_says_unsupported) {
    auto disk = fixture().make_disk("disk", kDiskSize);
    auto vmdk = disk;
    vmdk.format = "vmdk";
    const auto id = VolumeId::random();
    EXPECT_EQ(error_kind_of(pool().adopt(id, kLabel, vmdk)), ErrorKind::unsupported);
    auto block = disk;
    block.type = "block";
    EXPECT_EQ(error_kind_of(pool().adopt(id, kLabel, block)), ErrorKind::unsupported);
    EXPECT_FALSE(must(pool().knows(id)));
    EXPECT_TRUE(fixture().traces(id).empty());
}

TEST_P(StorageConformance, snapshots_read_what_the_guest_saw_whatever_it_writes_later) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 1 << 20, 1), write_op(5'000'000, 123'456, 2)});
    disk.take();
    disk.run({write_op(4096, 4096, 3), zero_op(65536, 65536), trim_op(256 << 10, 256 << 10)});
    disk.take();
    disk.take();  // nothing changed
    disk.run({write_op(1'000'001, 7, 4), write_op((8 << 20) - 512, 512, 5)});
    disk.take();
    disk.run({write_op(0, 8 << 20, 0xFF)});
    expect_snapshots(pool(), disk.id(), disk.contents());
    fixture().crash();
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, changes_and_the_base_make_the_snapshot_for_every_pair) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    std::vector<SnapshotId> ids;
    disk.run({write_op(0, 3 << 20, 1)});
    ids.push_back(disk.take());
    disk.run({write_op(10'000, 300, 2), trim_op(1 << 20, 512 << 10), zero_op(2 << 20, 8192)});
    ids.push_back(disk.take());
    disk.run({write_op((1 << 20) + 4096, 4096, 3), zero_op(10'000, 300)});
    ids.push_back(disk.take());
    for (std::size_t until = 0; until < ids.size(); ++until) {
        const auto& wanted = disk.contents()[ids[until]];
        const auto all = list_changes(pool(), disk.id(), {}, ids[until]);
        EXPECT_TRUE(with_changes({}, all, wanted) == wanted) << "full " << until;
        for (std::size_t base = 0; base <= until; ++base) {
            const auto some = list_changes(pool(), disk.id(), ids[base], ids[until]);
            EXPECT_TRUE(with_changes(disk.contents()[ids[base]], some, wanted) == wanted)
                << base << " to " << until;
        }
    }
    EXPECT_EQ(error_kind_of(pool().changes(disk.id(), ids[2], ids[0], {})), ErrorKind::conflict);
}

TEST_P(StorageConformance, a_small_write_shows_small_and_an_idle_disk_shows_nothing) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4 << 20, 1)});
    const auto first = disk.take();
    const auto idle = disk.take();
    disk.run({write_op(1 << 20, 4096, 2), write_op((3 << 20) + 8192, 4096, 2)});
    const auto written = disk.take();
    EXPECT_TRUE(list_changes(pool(), disk.id(), first, idle).empty());
    EXPECT_TRUE(list_changes(pool(), disk.id(), first, first).empty());
    const auto extents = list_changes(pool(), disk.id(), idle, written);
    EXPECT_EQ(bytes_in(extents, ExtentKind::data), 8192U);
    EXPECT_EQ(bytes_in(extents, ExtentKind::zero), 0U);
}

TEST_P(StorageConformance, trimmed_and_zeroed_ranges_are_told_as_zero) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4 << 20, 1)});
    const auto first = disk.take();
    disk.run({trim_op(1 << 20, 256 << 10), zero_op(2 << 20, 64 << 10)});
    const auto second = disk.take();
    const auto extents = list_changes(pool(), disk.id(), first, second);
    EXPECT_EQ(bytes_in(extents, ExtentKind::data), 0U);
    EXPECT_EQ(bytes_in(extents, ExtentKind::zero), 320U << 10);
    EXPECT_TRUE(with_changes(disk.contents()[first], extents, disk.contents()[second]) ==
                disk.contents()[second]);
}

TEST_P(StorageConformance, a_fresh_disk_has_no_extents_and_a_full_listing_no_zeroes) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto empty = disk.take();
    EXPECT_TRUE(list_changes(pool(), disk.id(), {}, empty).empty());
    disk.run({write_op(1 << 20, 8192, 1), zero_op(2 << 20, 65536)});
    const auto some = disk.take();
    const auto extents = list_changes(pool(), disk.id(), {}, some);
    EXPECT_EQ(bytes_in(extents, ExtentKind::zero), 0U);
    EXPECT_EQ(bytes_in(extents, ExtentKind::data), 8192U);
}

TEST_P(StorageConformance, a_listing_can_start_in_the_middle) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto first = disk.take();
    disk.run({write_op(1 << 20, 1 << 20, 1), write_op(6 << 20, 4096, 2)});
    const auto second = disk.take();
    const auto middle = ByteOffset((1 << 20) + (512 << 10));
    for (const auto& base : {std::optional<SnapshotId>(first), std::optional<SnapshotId>()}) {
        const auto extents = list_changes(pool(), disk.id(), base, second, middle);
        ASSERT_FALSE(extents.empty());
        EXPECT_EQ(extents.front().offset, middle);
        EXPECT_EQ(bytes_in(extents, ExtentKind::data), (512U << 10) + 4096);
    }
}

TEST_P(StorageConformance, the_size_of_a_disk_is_told_adopted_or_not_and_when_it_has_grown) {
    const auto disk = fixture().make_disk("a user's", kDiskSize);
    EXPECT_EQ(must(pool().disk_size(disk)), kDiskSize);
    EXPECT_TRUE(fixture().traces(VolumeId::random()).empty());
    GuestDisk volume(fixture(), "volume", kDiskSize);
    volume.take();
    volume.resize(MiB(12));
    EXPECT_EQ(must(pool().disk_size(volume.head())), MiB(12));
    auto nowhere = disk;
    nowhere.location += ".not";
    EXPECT_EQ(error_kind_of(pool().disk_size(nowhere)), ErrorKind::not_found);
}

TEST_P(StorageConformance, a_disk_may_grow_between_snapshots) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op((8 << 20) - 8192, 8192, 1)});
    const auto before = disk.take();
    disk.resize(MiB(12));
    disk.run({write_op((12 << 20) - 4096, 4096, 2)});
    const auto after = disk.take();
    expect_snapshots(pool(), disk.id(), disk.contents());
    const auto extents = list_changes(pool(), disk.id(), before, after);
    EXPECT_TRUE(with_changes(disk.contents()[before], extents, disk.contents()[after]) ==
                disk.contents()[after]);
}

TEST_P(StorageConformance, preparing_and_committing_may_be_repeated) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto frozen = fixture().read_disk(disk.head());
    const auto id = SnapshotId::random();
    const auto overlay = must(pool().prepare_snapshot(disk.id(), id, kDiskSize));
    EXPECT_EQ(must(pool().prepare_snapshot(disk.id(), id, kDiskSize)), overlay);
    EXPECT_EQ(overlay == disk.original(), in_place());
    EXPECT_EQ(disk.head(), disk.original()) << "not before commit";
    EXPECT_FALSE(must(pool().overlay_written(disk.id(), id)));
    must(pool().take_snapshot(disk.id(), id));
    EXPECT_TRUE(must(pool().snapshots(disk.id())).empty());
    EXPECT_EQ(error_kind_of(pool().prepare_snapshot(disk.id(), SnapshotId::random(), kDiskSize)),
              ErrorKind::conflict);
    fixture().guest(overlay, {write_op(0, 4096, 2)});  // the VM has switched, or went on
    fixture().crash();
    EXPECT_EQ(must(pool().overlay_written(disk.id(), id)), !in_place());
    for (int repeat = 0; repeat < 2; ++repeat) {
        must(pool().commit_snapshot(disk.id(), id));
        EXPECT_EQ(disk.head(), overlay);
        EXPECT_EQ(must(pool().prepare_snapshot(disk.id(), id, kDiskSize)), overlay);
    }
    expect_snapshots(pool(), disk.id(), {{id, frozen}});
    EXPECT_EQ(fixture().read_disk(overlay)[0], std::byte{2});
    EXPECT_EQ(error_kind_of(pool().cancel_snapshot(disk.id(), id)), ErrorKind::conflict);
}

TEST_P(StorageConformance, a_prepared_overlay_has_the_size_that_was_asked_for_last) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto id = SnapshotId::random();
    must(pool().prepare_snapshot(disk.id(), id, kDiskSize));
    fixture().crash();
    const auto grown = kDiskSize + base::MiB(1);
    fixture().resize(disk.head(), grown);  // before the VM was switched
    const auto overlay = must(pool().prepare_snapshot(disk.id(), id, grown));
    EXPECT_EQ(fixture().read_disk(overlay).size(), grown.count());
    EXPECT_EQ(must(pool().prepare_snapshot(disk.id(), id, grown)), overlay);
    must(pool().take_snapshot(disk.id(), id));
    fixture().guest(overlay, {write_op(0, 4096, 2)});  // the VM has switched, or went on
    if (in_place())
        EXPECT_EQ(must(pool().prepare_snapshot(disk.id(), id, kDiskSize)), disk.original());
    else
        EXPECT_EQ(error_kind_of(pool().prepare_snapshot(disk.id(), id, kDiskSize)),
                  ErrorKind::conflict);
    must(pool().commit_snapshot(disk.id(), id));
    EXPECT_EQ(fixture().read_disk(disk.head())[0], std::byte{2});
    EXPECT_EQ(must(pool().stat(disk.id(), id)).size, grown);
}

TEST_P(StorageConformance, a_cancelled_snapshot_leaves_no_trace) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto before = fixture().traces(disk.id());
    const auto id = SnapshotId::random();
    for (const bool taken : {false, true}) {
        must(pool().prepare_snapshot(disk.id(), id, kDiskSize));
        if (taken) must(pool().take_snapshot(disk.id(), id));
        must(pool().cancel_snapshot(disk.id(), id));
        must(pool().cancel_snapshot(disk.id(), id));
        EXPECT_FALSE(must(pool().snapshot_taken(disk.id(), id)));
        EXPECT_EQ(fixture().traces(disk.id()), before);
        EXPECT_EQ(disk.head(), disk.original());
        EXPECT_EQ(error_kind_of(pool().commit_snapshot(disk.id(), id)), ErrorKind::conflict);
    }
    disk.take();
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, an_overlay_that_is_set_aside_is_no_part_of_the_volume_any_more) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto id = SnapshotId::random();
    const auto overlay = must(pool().prepare_snapshot(disk.id(), id, kDiskSize));
    if (in_place()) {
        EXPECT_EQ(error_kind_of(pool().set_aside(disk.id(), id)), ErrorKind::not_found);
    } else {
        fixture().guest(overlay, {write_op(0, 4096, 2)});
        EXPECT_NE(must(pool().set_aside(disk.id(), id)), overlay.location);
        EXPECT_EQ(error_kind_of(pool().set_aside(disk.id(), id)), ErrorKind::not_found);
    }
    EXPECT_FALSE(must(pool().overlay_written(disk.id(), id)));
    must(pool().cancel_snapshot(disk.id(), id));
    disk.take();
    expect_snapshots(pool(), disk.id(), disk.contents());
    EXPECT_EQ(disk.head() == disk.original(), in_place());
}

TEST_P(StorageConformance, a_snapshot_is_of_the_moment_in_which_it_was_taken) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto id = SnapshotId::random();
    const auto future = must(pool().prepare_snapshot(disk.id(), id, kDiskSize));
    EXPECT_FALSE(must(pool().snapshot_taken(disk.id(), id)));
    disk.run({write_op(0, 4096, 2)});  // not yet
    const auto frozen = fixture().read_disk(disk.head());
    must(pool().take_snapshot(disk.id(), id));
    EXPECT_TRUE(must(pool().snapshots(disk.id())).empty()) << "not before commit";
    EXPECT_EQ(error_kind_of(pool().open_snapshot(disk.id(), id)), ErrorKind::not_found);
    fixture().guest(future, {write_op(0, 4096, 3)});
    fixture().crash();
    EXPECT_EQ(must(pool().snapshot_taken(disk.id(), id)), in_place());
    if (in_place()) {
        EXPECT_EQ(error_kind_of(pool().take_snapshot(disk.id(), id)), ErrorKind::conflict);
    }
    must(pool().commit_snapshot(disk.id(), id));
    expect_snapshots(pool(), disk.id(), {{id, frozen}});
    EXPECT_EQ(must(pool().snapshot_taken(disk.id(), id)), in_place());
    EXPECT_EQ(fixture().read_disk(disk.head())[0], std::byte{3});
}

TEST_P(StorageConformance, unknown_volumes_and_snapshots_are_not_found) {
    const auto none = VolumeId::random();
    const auto id = SnapshotId::random();
    EXPECT_EQ(error_kind_of(pool().head(none)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().snapshots(none)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().stat(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().prepare_snapshot(none, id, kDiskSize)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().commit_snapshot(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().overlay_written(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().cancel_snapshot(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().open_snapshot(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().changes(none, {}, id, {})), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().plan_removal(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().finish_removal(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().remove_snapshot(none, id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().activate(none, id, ports::ActivationKind::promote)),
              ErrorKind::not_found);
    must(pool().forget(none, true));
    GuestDisk disk(fixture(), "disk", kDiskSize);
    EXPECT_EQ(error_kind_of(pool().stat(disk.id(), id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().open_snapshot(disk.id(), id)), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().changes(disk.id(), {}, id, {})), ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().activate(disk.id(), id, ports::ActivationKind::drill)),
              ErrorKind::not_found);
    EXPECT_TRUE(fixture().traces(none).empty());
}

TEST_P(StorageConformance, labels_and_disks_may_have_any_name) {
    const auto size = MiB(1);
    const std::vector<std::string> names{
        "a b", "ünï→cøde",    "$(touch x);`id`", "semi;colon,comma", "quote'\"double",
        "-rf", "back\\slash", "new\nline"};
    for (const auto& name : names) {
        GuestDisk disk(fixture(), name, size);
        disk.run({write_op(0, 4096, 9)});
        const auto first = disk.take();
        disk.run({write_op(8192, 4096, 8)});
        disk.take();
        expect_snapshots(pool(), disk.id(), disk.contents());
        must(pool().remove_snapshot(disk.id(), first));
        const auto replica = VolumeId::random();
        const auto id = SnapshotId::random();
        const ports::VolumeLabel label{.vm_name = name + "\xFF", .disk_target = name};
        must(must(pool().receive(replica, label, {}, id, size))->publish());
        expect_snapshots(pool(), replica, {{id, filled(size, 0)}});
    }
}

TEST_P(StorageConformance, capacity_is_told_and_the_own_size_of_a_snapshot) {
    const auto capacity = must(pool().capacity());
    EXPECT_GT(capacity.total.count(), 0U);
    EXPECT_LE(capacity.free, capacity.total);
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 1 << 20, 1)});
    const auto big = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto small = disk.take();
    EXPECT_GE(must(pool().stat(disk.id(), big)).own, MiB(1));
    EXPECT_LT(must(pool().stat(disk.id(), small)).own, MiB(1));
}

TEST_P(StorageConformance, forgetting_with_data_keeps_the_users_disk_only) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto original = fixture().read_disk(disk.original());
    must(pool().forget(disk.id(), true));
    must(pool().forget(disk.id(), true));
    EXPECT_FALSE(must(pool().knows(disk.id())));
    EXPECT_TRUE(fixture().traces(disk.id()).empty());
    EXPECT_TRUE(fixture().read_disk(disk.original()) == original);
    must(pool().adopt(VolumeId::random(), kLabel, disk.original()));
}

TEST_P(StorageConformance, forgetting_without_data_leaves_the_vm_its_disk) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    disk.take();
    disk.run({write_op(8192, 4096, 2)});
    const auto head = disk.head();
    const auto content = fixture().read_disk(head);
    must(pool().forget(disk.id(), false));
    must(pool().forget(disk.id(), false));
    EXPECT_FALSE(must(pool().knows(disk.id())));
    EXPECT_TRUE(fixture().read_disk(head) == content);
    must(pool().adopt(disk.id(), kLabel, head));
    EXPECT_EQ(disk.head(), head);
    EXPECT_TRUE(fixture().read_disk(head) == content);
}

INSTANTIATE_TEST_SUITE_P(snapshots, StorageConformance, testing::ValuesIn(storage_kinds()),
                         kind_name);

}  // namespace
}  // namespace understudy::conformance
