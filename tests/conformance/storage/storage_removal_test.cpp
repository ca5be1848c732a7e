#include "storage_conformance.hpp"

#include <algorithm>

namespace understudy::conformance {
namespace {

using base::MiB;
using ports::ActivationKind;

// Three snapshots and a head, each with its own writes, trims and, for the last, a grown disk.
std::vector<SnapshotId> three_snapshots(GuestDisk& disk) {
    std::vector<SnapshotId> ids;
    disk.run({write_op(0, 2 << 20, 1)});
    ids.push_back(disk.take());
    disk.run({write_op(4096, 8192, 2), trim_op(1 << 20, 128 << 10)});
    ids.push_back(disk.take());
    disk.resize(MiB(9));
    disk.run({write_op((9 << 20) - 4096, 4096, 3), zero_op(8192, 4096)});
    ids.push_back(disk.take());
    disk.run({write_op(123'456, 10'000, 4), trim_op(1 << 20, 256 << 10)});
    return ids;
}

// What a task does for a running VM. Whether that moved to the user's own disk and wrote there.
bool remove_live(StorageFixture& fixture, GuestDisk& disk, const SnapshotId& id) {
    auto& pool = fixture.pool();
    bool wrote = false;
    while (const auto merge = must(pool.plan_removal(disk.id(), id))) {
        EXPECT_EQ(must(pool.plan_removal(disk.id(), id))->top, merge->top) << "may be asked again";
        fixture.merge_live(*merge, disk.head());
        if (merge->top_is_head) {  // the guest writes on before the driver hears of it
            const ports::DiskSource moved{"file", disk.original().format, merge->base};
            if (merge->base == disk.original().location) {
                fixture.guest(moved, {write_op(7 << 20, 4096, 0x77)});
                wrote = true;
            }
        }
        must(pool.finish_removal(disk.id(), id));
    }
    must(pool.finish_removal(disk.id(), id));
    return wrote;
}

std::vector<std::vector<std::size_t>> orders() {
    std::vector<std::vector<std::size_t>> all;
    std::vector<std::size_t> order{0, 1, 2};
    do all.push_back(order);
    while (std::ranges::next_permutation(order).found);
    return all;
}

TEST_P(StorageConformance, removing_all_in_any_order_gives_the_user_the_disk_back) {
    for (const auto& order : orders()) {
        GuestDisk disk(fixture(), "disk" + std::to_string(order[0]) + std::to_string(order[1]),
                       kDiskSize);
        const auto before = fixture().traces(disk.id());
        const auto ids = three_snapshots(disk);
        const auto present = fixture().read_disk(disk.head());
        for (const auto index : order) {
            must(pool().remove_snapshot(disk.id(), ids[index]));
            must(pool().remove_snapshot(disk.id(), ids[index]));
            disk.contents().erase(ids[index]);
            expect_snapshots(pool(), disk.id(), disk.contents());
            EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
        }
        EXPECT_EQ(disk.head(), disk.original());
        EXPECT_EQ(fixture().traces(disk.id()), before);
    }
}

TEST_P(StorageConformance, removing_all_under_a_running_vm_gives_the_user_the_disk_back) {
    auto all = orders();
    if (in_place()) all.resize(2);  // nothing moves: the same as without a VM
    for (const auto& order : all) {
        GuestDisk disk(fixture(), "disk" + std::to_string(order[0]) + std::to_string(order[1]),
                       kDiskSize);
        const auto before = fixture().traces(disk.id());
        const auto ids = three_snapshots(disk);
        auto present = fixture().read_disk(disk.head());
        for (const auto index : order) {
            const bool moved = remove_live(fixture(), disk, ids[index]);
            disk.contents().erase(ids[index]);
            expect_snapshots(pool(), disk.id(), disk.contents());
            EXPECT_EQ(moved, disk.contents().empty() && !in_place());
            if (moved) std::fill_n(present.begin() + (7 << 20), 4096, std::byte{0x77});
            EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
        }
        EXPECT_EQ(disk.head(), disk.original());
        EXPECT_EQ(fixture().traces(disk.id()), before);
    }
}

TEST_P(StorageConformance, a_replica_loses_snapshots_in_any_order) {
    for (const auto& order : orders()) {
        const auto volume = VolumeId::random();
        std::vector<SnapshotId> ids;
        std::map<SnapshotId, Bytes> expected;
        auto content = filled(kDiskSize, 1);
        for (unsigned char i = 0; i < 3; ++i) {
            const auto base = ids.empty() ? std::optional<SnapshotId>() : ids.back();
            ids.push_back(SnapshotId::random());
            std::fill_n(content.begin() + i * 8192L, 4096, std::byte{i});
            receive_content(pool(), volume, base, ids.back(), content);
            expected[ids.back()] = content;
        }
        for (const auto index : order) {
            must(pool().remove_snapshot(volume, ids[index]));
            expected.erase(ids[index]);
            expect_snapshots(pool(), volume, expected);
        }
        must(pool().forget(volume, true));
        EXPECT_TRUE(fixture().traces(volume).empty());
    }
}

TEST_P(StorageConformance, a_base_of_several_stays_for_them_until_one_is_left) {
    const auto volume = VolumeId::random();
    const auto base = SnapshotId::random();
    const auto left = SnapshotId::random();
    const auto right = SnapshotId::random();
    receive_content(pool(), volume, {}, base, filled(kDiskSize, 1));
    std::map<SnapshotId, Bytes> expected;
    for (const auto& [id, pattern] : {std::pair(left, 2), std::pair(right, 3)}) {
        const auto byte = static_cast<unsigned char>(pattern);
        const auto incoming = must(pool().receive(volume, kLabel, base, id, kDiskSize));
        must(incoming->write(ByteOffset(byte * 65536UL), filled(MiB(1), byte)));
        must(incoming->publish());
        expected[id] = filled(kDiskSize, 1);
        std::fill_n(expected[id].begin() + byte * 65536L, 1 << 20, std::byte{byte});
    }
    const auto size = fixture().traces(volume).size();
    must(pool().remove_snapshot(volume, base));
    expect_snapshots(pool(), volume, expected);
    EXPECT_EQ(fixture().traces(volume).size(), size) << "kept for both";
    EXPECT_EQ(error_kind_of(pool().open_snapshot(volume, base)), ErrorKind::not_found);
    must(pool().remove_snapshot(volume, left));
    expected.erase(left);
    expect_snapshots(pool(), volume, expected);
    const auto lone = VolumeId::random();
    receive_content(pool(), lone, {}, SnapshotId::random(), filled(kDiskSize, 1));
    EXPECT_EQ(fixture().traces(volume).size(), fixture().traces(lone).size())
        << "sibling gone, and nothing kept of the base";
    must(pool().remove_snapshot(volume, right));
    expect_snapshots(pool(), volume, {});
}

TEST_P(StorageConformance, a_base_may_be_removed_while_something_is_received_on_it) {
    const auto volume = VolumeId::random();
    const auto base = SnapshotId::random();
    const auto id = SnapshotId::random();
    receive_content(pool(), volume, {}, base, filled(kDiskSize, 1));
    auto expected = filled(kDiskSize, 1);
    std::fill_n(expected.begin() + 8192, 4096, std::byte{2});
    {
        const auto incoming = must(pool().receive(volume, kLabel, base, id, kDiskSize));
        must(incoming->write(ByteOffset(8192), filled(base::KiB(4), 2)));
        must(pool().remove_snapshot(volume, base));
        EXPECT_TRUE(must(pool().snapshots(volume)).empty());
        must(incoming->flush());
    }
    fixture().crash();
    {
        const auto incoming = must(pool().receive(volume, kLabel, base, id, kDiskSize));
        must(incoming->publish());
    }
    expect_snapshots(pool(), volume, {{id, expected}});
    const auto files = fixture().traces(volume).size();
    must(pool().remove_snapshot(volume, base));  // sweeps what was left
    expect_snapshots(pool(), volume, {{id, expected}});
    EXPECT_LT(fixture().traces(volume).size(), files);
}

TEST_P(StorageConformance, a_removal_does_not_move_what_is_being_received_on) {
    const auto volume = VolumeId::random();
    const auto first = SnapshotId::random();
    const auto second = SnapshotId::random();
    const auto id = SnapshotId::random();
    receive_content(pool(), volume, {}, first, filled(kDiskSize, 1));
    receive_content(pool(), volume, first, second, filled(kDiskSize, 2));
    const auto incoming = must(pool().receive(volume, kLabel, second, id, kDiskSize));
    must(incoming->write(ByteOffset(0), filled(MiB(1), 3)));
    must(incoming->flush());
    const auto files = fixture().traces(volume).size();
    must(pool().remove_snapshot(volume, first));
    if (!in_place()) {
        EXPECT_EQ(fixture().traces(volume).size(), files) << "nothing merged under a writer";
    }
    must(incoming->write(ByteOffset(4 << 20), filled(MiB(1), 4)));
    must(incoming->publish());
    auto expected = filled(kDiskSize, 2);
    std::fill_n(expected.begin(), 1 << 20, std::byte{3});
    std::fill_n(expected.begin() + (4 << 20), 1 << 20, std::byte{4});
    expect_snapshots(pool(), volume, {{second, filled(kDiskSize, 2)}, {id, expected}});
    must(pool().remove_snapshot(volume, first));
    EXPECT_LT(fixture().traces(volume).size(), files);
    expect_snapshots(pool(), volume, {{second, filled(kDiskSize, 2)}, {id, expected}});
}

TEST_P(StorageConformance, a_removal_waits_for_a_drill_on_the_layer) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto first = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto second = disk.take();
    const auto files = fixture().traces(disk.id()).size();
    const auto drill = must(pool().activate(disk.id(), second, ActivationKind::drill));
    must(pool().remove_snapshot(disk.id(), first));
    disk.contents().erase(first);
    EXPECT_TRUE(fixture().read_disk(drill) == disk.contents()[second]);
    must(pool().deactivate(disk.id(), drill));
    must(pool().remove_snapshot(disk.id(), first));
    EXPECT_LT(fixture().traces(disk.id()).size(), files);
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, open_readers_survive_the_removal_of_any_snapshot) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto ids = three_snapshots(disk);
    std::vector<std::unique_ptr<ports::Reader>> readers;
    for (const auto& id : ids) readers.push_back(must(pool().open_snapshot(disk.id(), id)));
    const auto changes = must(pool().changes(disk.id(), ids[0], ids[2], {}));
    const auto present = fixture().read_disk(disk.head());
    for (const auto& id : ids) must(pool().remove_snapshot(disk.id(), id));
    for (std::size_t i = 0; i < ids.size(); ++i) {
        Bytes seen(readers[i]->size().count());
        must(readers[i]->read(ByteOffset(0), seen));
        EXPECT_TRUE(seen == disk.contents()[ids[i]]) << "snapshot " << i;
    }
    std::vector<ports::Extent> extents;
    while (const auto extent = must(changes->next())) extents.push_back(*extent);
    EXPECT_TRUE(with_changes(disk.contents()[ids[0]], extents, disk.contents()[ids[2]]) ==
                disk.contents()[ids[2]]);
    EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
}

TEST_P(StorageConformance, what_readers_held_back_is_merged_by_the_next_removal) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto ids = three_snapshots(disk);
    const auto present = fixture().read_disk(disk.head());
    {
        const auto reader = must(pool().open_snapshot(disk.id(), ids[2]));
        for (const auto& id : ids) must(pool().remove_snapshot(disk.id(), id));
    }
    must(pool().remove_snapshot(disk.id(), ids[2]));
    EXPECT_EQ(disk.head(), disk.original());
    EXPECT_TRUE(fixture().read_disk(disk.head()) == present);
}

TEST_P(StorageConformance, a_removed_snapshot_may_be_received_again) {
    const auto volume = VolumeId::random();
    const auto first = SnapshotId::random();
    const auto second = SnapshotId::random();
    receive_content(pool(), volume, {}, first, filled(kDiskSize, 1));
    receive_content(pool(), volume, first, second, filled(kDiskSize, 2));
    must(pool().remove_snapshot(volume, first));
    receive_content(pool(), volume, {}, first, filled(kDiskSize, 3));
    expect_snapshots(pool(), volume,
                     {{first, filled(kDiskSize, 3)}, {second, filled(kDiskSize, 2)}});
}

TEST_P(StorageConformance, a_live_removal_is_not_finished_before_it_took_place) {
    GuestDisk disk(fixture(), "disk", kDiskSize);
    const auto ids = three_snapshots(disk);
    const auto merge = must(pool().plan_removal(disk.id(), ids[0]));
    EXPECT_EQ(merge.has_value(), !in_place());
    if (merge) {
        EXPECT_FALSE(merge->top_is_head);
        EXPECT_EQ(merge->base, disk.original().location);
        EXPECT_EQ(error_kind_of(pool().finish_removal(disk.id(), ids[0])), ErrorKind::conflict);
    }
    disk.contents().erase(ids[0]);
    fixture().crash();
    expect_snapshots(pool(), disk.id(), disk.contents());
    must(pool().remove_snapshot(disk.id(), ids[0]));  // the VM was stopped meanwhile
    expect_snapshots(pool(), disk.id(), disk.contents());
}

TEST_P(StorageConformance, a_head_that_may_have_moved_is_never_merged_twice) {
    for (const bool moved : {true, false}) {
        GuestDisk disk(fixture(), moved ? "moved" : "stayed", kDiskSize);
        disk.run({write_op(0, 4096, 1)});
        const auto only = disk.take();
        disk.run({write_op(0, 4096, 2)});
        const auto head = disk.head();
        const auto merge = must(pool().plan_removal(disk.id(), only));
        if (in_place()) {  // the head never moves
            EXPECT_FALSE(merge.has_value());
            EXPECT_EQ(head, disk.original());
            EXPECT_EQ(fixture().read_disk(disk.head())[0], std::byte{2});
            continue;
        }
        ASSERT_TRUE(merge && merge->top_is_head);
        auto wanted = std::byte{2};
        if (moved) {
            fixture().merge_live(*merge, head);
            fixture().guest(disk.original(), {write_op(0, 4096, 3)});
            wanted = std::byte{3};
        }
        fixture().crash();  // and the VM is stopped
        EXPECT_EQ(error_kind_of(pool().remove_snapshot(disk.id(), only)), ErrorKind::conflict);
        EXPECT_EQ(
            error_kind_of(pool().prepare_snapshot(disk.id(), SnapshotId::random(), kDiskSize)),
            ErrorKind::conflict);
        must(pool().adopt(disk.id(), kLabel, moved ? disk.original() : head));
        must(pool().remove_snapshot(disk.id(), only));
        EXPECT_EQ(disk.head(), disk.original());
        EXPECT_EQ(fixture().read_disk(disk.head())[0], wanted);
    }
}

}  // namespace
}  // namespace understudy::conformance
