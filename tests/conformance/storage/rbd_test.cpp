// What only the rbd driver promises: about what others have in the pool, who else uses it, and how
// it is told to reach Ceph.
#include "rbd_fixture.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

namespace understudy::conformance {
namespace {

using base::GiB;
using base::KiB;
using base::MiB;
using model::ExtentKind;
using ports::ActivationKind;
using testing::Contains;
using testing::HasSubstr;

std::vector<std::string> snapshots_of(RbdFixture& fixture, const std::string& image) {
    std::vector<librbd::snap_info_t> found;
    EXPECT_EQ(fixture.open(image)->snap_list(found), 0);
    std::vector<std::string> names;
    for (const auto& snapshot : found) names.push_back(snapshot.name);
    return names;
}

void clone(RbdFixture& fixture, const std::string& image, const std::string& snapshot,
           const std::string& name) {
    librbd::ImageOptions options;
    options.set(RBD_IMAGE_OPTION_CLONE_FORMAT, std::uint64_t{2});
    ASSERT_EQ(librbd::RBD().clone3(fixture.io(), image.c_str(), snapshot.c_str(), fixture.io(),
                                   name.c_str(), options),
              0);
}

TEST(RbdPool, never_touches_what_it_did_not_make) {
    RbdFixture fixture({}, {});
    auto& pool = fixture.pool();
    const auto others = fixture.make_disk("understudy.web1-vda.00000000", kDiskSize);
    fixture.guest(others, {write_op(0, 4096, 7)});
    GuestDisk disk(fixture, "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    ASSERT_EQ(fixture.open("disk")->snap_create("mine"), 0);
    const std::string lookalike = "understudy-" + SnapshotId::random().text();
    ASSERT_EQ(fixture.open("disk")->snap_create(lookalike.c_str()), 0);
    const auto first = disk.take();
    disk.run({write_op(0, 4096, 2)});
    disk.take();
    must(pool.activate(disk.id(), first, ActivationKind::rollback));
    must(pool.activate(disk.id(), first, ActivationKind::promote));
    EXPECT_EQ(fixture.read_disk(disk.head())[0], std::byte{1});
    const auto replica = VolumeId::random();
    const auto received = SnapshotId::random();
    receive_content(pool, replica, {}, received, filled(kDiskSize, 3));
    const auto image = must(pool.activate(replica, received, ActivationKind::promote)).location;
    const auto name = image.substr(image.rfind('/') + 1);
    ASSERT_EQ(fixture.open(name)->snap_create("mine"), 0);
    clone(fixture, "disk", "understudy-" + first.text(), "clone");

    must(pool.forget(disk.id(), true));
    must(pool.forget(replica, true));
    EXPECT_THAT(snapshots_of(fixture, "disk"), Contains("mine"));
    EXPECT_THAT(snapshots_of(fixture, "disk"), Contains(lookalike));
    EXPECT_THAT(snapshots_of(fixture, name), testing::ElementsAre("mine"));
    EXPECT_TRUE(fixture.read_disk(fixture.source("clone")) == disk.contents()[first]);
    EXPECT_EQ(fixture.read_disk(others)[0], std::byte{7});
    EXPECT_FALSE(must(pool.knows(disk.id())));
    EXPECT_EQ(librbd::RBD().remove(fixture.io(), "clone"), 0);
    EXPECT_EQ(snapshots_of(fixture, "disk").size(), 2U) << "rbd's trash is empty again";
    for (const auto* snapshot : {"mine", lookalike.c_str()})
        EXPECT_EQ(fixture.open("disk")->snap_remove(snapshot), 0);
}

TEST(RbdPool, a_running_vm_keeps_its_lock_while_snapshots_are_taken) {
    RbdFixture fixture({}, {});
    GuestDisk disk(fixture, "disk", kDiskSize);
    const auto vm = fixture.open("disk");
    const auto write = [&](unsigned char pattern) {
        librados::bufferlist content;
        content.append(std::string(4096, static_cast<char>(pattern)));
        EXPECT_EQ(vm->write(0, 4096, content), 4096);
    };
    std::vector<SnapshotId> ids;
    for (unsigned char round = 1; round <= 3; ++round) {
        write(round);
        ids.push_back(disk.take());
        bool owner = false;
        EXPECT_EQ(vm->is_exclusive_lock_owner(&owner), 0);
        EXPECT_TRUE(owner);
    }
    write(9);
    expect_snapshots(fixture.pool(), disk.id(), disk.contents());
    must(fixture.pool().remove_snapshot(disk.id(), ids[1]));
    const auto refused = fixture.pool().activate(disk.id(), ids[0], ActivationKind::rollback);
    ASSERT_EQ(error_kind_of(refused), ErrorKind::refused);
    EXPECT_THAT(refused.error().text(), HasSubstr("Stop the VM"));
    const auto drill = must(fixture.pool().activate(disk.id(), ids[0], ActivationKind::drill));
    const auto rehearsal = fixture.open(drill.location.substr(drill.location.rfind('/') + 1));
    EXPECT_EQ(error_kind_of(fixture.pool().deactivate(disk.id(), drill)), ErrorKind::refused);
    rehearsal->close();
    must(fixture.pool().deactivate(disk.id(), drill));
    vm->close();
    must(fixture.pool().activate(disk.id(), ids[0], ActivationKind::rollback));
    const auto starting = fixture.open("disk");
    EXPECT_EQ(error_kind_of(fixture.pool().activate(disk.id(), ids[0], ActivationKind::promote)),
              ErrorKind::refused);
}

TEST(RbdPool, a_thin_disk_costs_what_is_in_it) {
    RbdFixture fixture({}, {});
    const auto volume = VolumeId::random();
    const auto disk = fixture.make_disk("disk", GiB(100));
    must(fixture.pool().adopt(volume, kLabel, disk));
    std::vector<GuestOp> ops;
    for (std::uint64_t i = 0; i < 100; ++i)
        ops.push_back(write_op((i << 30) + (i << 20), 1 << 20, 1));
    fixture.guest(disk, ops);
    const auto first = SnapshotId::random();
    take_in_steps(fixture.pool(), volume, first, GiB(100));
    const auto all = list_changes(fixture.pool(), volume, {}, first);
    EXPECT_EQ(bytes_in(all, ExtentKind::data), 100U << 20);
    EXPECT_LE(all.size(), 200U);
    fixture.guest(disk,
                  {write_op(77ULL << 30, 8192, 2), trim_op((99ULL << 30) + (99 << 20), 1 << 20)});
    const auto second = SnapshotId::random();
    take_in_steps(fixture.pool(), volume, second, GiB(100));
    const auto some = list_changes(fixture.pool(), volume, first, second);
    EXPECT_EQ(bytes_in(some, ExtentKind::data), 8192U);
    EXPECT_EQ(bytes_in(some, ExtentKind::zero), 1U << 20);
    EXPECT_LE(must(fixture.pool().stat(volume, second)).own, KiB(8));
    // It is received as thin as it was sent.
    const auto replica = VolumeId::random();
    {
        const auto reader = must(fixture.pool().open_snapshot(volume, first));
        const auto incoming = must(fixture.pool().receive(replica, kLabel, {}, first, GiB(100)));
        Bytes chunk(1 << 20);
        for (const auto& extent : all) {
            const auto part = std::span(chunk).first(extent.length.count());
            must(reader->read(extent.offset, part));
            must(incoming->write(extent.offset, part));
        }
        must(incoming->publish());
    }
    EXPECT_EQ(list_changes(fixture.pool(), replica, {}, first), all);
}

TEST(RbdPool, what_cannot_be_begun_for_want_of_room_leaves_nothing) {
    RbdFixture fixture({}, MiB(4));
    auto& pool = fixture.pool();
    receive_content(pool, VolumeId::random(), {}, SnapshotId::random(), filled(MiB(4), 1));
    fixture.settle();
    const auto volume = VolumeId::random();
    const auto refused = pool.receive(volume, kLabel, {}, SnapshotId::random(), kDiskSize);
    ASSERT_EQ(error_kind_of(refused), ErrorKind::no_space);
    EXPECT_THAT(refused.error().text(), HasSubstr("0 B free"));
    EXPECT_FALSE(must(pool.knows(volume)));
    EXPECT_TRUE(fixture.traces(volume).empty());
}

// As after a failback: the VM runs on a clone, and the user's former disk is no part of it.
TEST(RbdPool, a_disk_that_a_rollback_left_is_the_users_again_without_clones) {
    RbdFixture fixture({}, {});
    auto& pool = fixture.pool();
    GuestDisk disk(fixture, "disk", kDiskSize);
    disk.run({write_op(0, 1 << 20, 1)});
    const auto common = disk.take();
    disk.run({write_op(0, 4096, 2)});
    const auto present = fixture.read_disk(disk.head());
    const auto received = SnapshotId::random();
    receive_content(pool, disk.id(), common, received, filled(kDiskSize, 3));
    const auto head = must(pool.activate(disk.id(), received, ActivationKind::rollback));
    EXPECT_NE(head, disk.original());
    must(pool.activate(disk.id(), received, ActivationKind::promote));
    EXPECT_EQ(disk.head(), head);
    EXPECT_TRUE(fixture.read_disk(disk.original()) == present);
    must(pool.remove_snapshot(disk.id(), common));
    must(pool.remove_snapshot(disk.id(), received));
    EXPECT_TRUE(fixture.read_disk(disk.head()) == filled(kDiskSize, 3));
    EXPECT_THAT(fixture.images(), testing::UnorderedElementsAre(
                                      "disk", head.location.substr(head.location.rfind('/') + 1)));
    EXPECT_TRUE(snapshots_of(fixture, "disk").empty());
    EXPECT_EQ(librbd::RBD().remove(fixture.io(), "disk"), 0) << "the user may remove it";
}

TEST(RbdPool, of_two_nodes_that_change_a_volume_at_once_none_spoils_it) {
    RbdFixture fixture({}, {});
    GuestDisk disk(fixture, "disk", kDiskSize);
    disk.run({write_op(0, 4096, 1)});
    const auto content = fixture.read_disk(disk.head());
    std::array<std::vector<SnapshotId>, 2> committed;
    const auto work = [&](std::vector<SnapshotId>& done) {
        const auto pool = must(rbd::open_rbd_pool("node", fixture.settings()));
        for (int round = 0; round < 12; ++round) {
            const auto id = SnapshotId::random();
            const auto take = [&]() -> Result<> {
                if (auto prepared = pool->prepare_snapshot(disk.id(), id, kDiskSize); !prepared)
                    return error_of(prepared);
                if (auto taken = pool->take_snapshot(disk.id(), id); !taken) return taken;
                return pool->commit_snapshot(disk.id(), id);
            };
            const auto result = take();
            if (result) done.push_back(id);
            if (result) continue;
            EXPECT_TRUE(result.error().kind() == ErrorKind::conflict ||
                        result.error().kind() == ErrorKind::unavailable)
                << result.error().text();
            while (!pool->cancel_snapshot(disk.id(), id)) continue;  // until nobody interferes
        }
    };
    {
        const std::jthread other([&] { work(committed[0]); });
        work(committed[1]);
    }
    std::map<SnapshotId, Bytes> expected;
    for (const auto& ids : committed)
        for (const auto& id : ids) expected[id] = content;
    EXPECT_FALSE(expected.empty());
    disk.take();  // which also removes what was left over
    expected[disk.contents().begin()->first] = content;
    expect_snapshots(fixture.pool(), disk.id(), expected);
    EXPECT_EQ(fixture.traces(disk.id()).size(), expected.size() + 1) << "and the record";
}

TEST(RbdPool, adopts_only_images_that_it_can_replicate) {
    RbdFixture fixture({}, {});
    auto& pool = fixture.pool();
    librbd::ImageOptions options;
    options.set(RBD_IMAGE_OPTION_STRIPE_UNIT, std::uint64_t{65536});
    options.set(RBD_IMAGE_OPTION_STRIPE_COUNT, std::uint64_t{4});
    ASSERT_EQ(librbd::RBD().create4(fixture.io(), "striped", 8 << 20, options), 0);
    const auto striped = pool.adopt(VolumeId::random(), kLabel, fixture.source("striped"));
    EXPECT_EQ(error_kind_of(striped), ErrorKind::unsupported);
    EXPECT_THAT(striped.error().text(), HasSubstr("deep cp"));
    EXPECT_EQ(error_kind_of(pool.adopt(VolumeId::random(), kLabel, fixture.source("none"))),
              ErrorKind::not_found);
    auto elsewhere = fixture.source("striped");
    elsewhere.location = "other/striped";
    EXPECT_FALSE(pool.takes(elsewhere));
    EXPECT_EQ(error_kind_of(pool.adopt(VolumeId::random(), kLabel, elsewhere)),
              ErrorKind::unsupported);
    EXPECT_TRUE(pool.takes(fixture.source("striped")));
    EXPECT_FALSE(pool.takes({"file", "raw", fixture.source("striped").location}));
}

TEST(RbdPool, tells_a_hypervisor_how_to_reach_the_disk) {
    RbdFixture fixture({.secret = "8c1a7d6e-0000-4000-8000-000000000001"}, {});
    GuestDisk disk(fixture, "disk", kDiskSize);
    for (const auto& source : {disk.head(), fixture.pool().outline(disk.id())}) {
        EXPECT_EQ(source.type, "network");
        EXPECT_EQ(source.format, "raw");
        EXPECT_EQ(source.user, "");  // this Ceph asks nobody who he is
        EXPECT_EQ(source.secret, "8c1a7d6e-0000-4000-8000-000000000001");
        ASSERT_EQ(source.monitors.size(), 1U);
        EXPECT_THAT(source.monitors[0], testing::StartsWith("127.0.0.1:"));
        EXPECT_TRUE(fixture.pool().takes(source));
    }
}

TEST(RbdPool, gives_a_hypervisor_its_own_login_where_ceph_asks_for_one) {
    const auto folder = testing::TempDir() + "/login-" + VolumeId::random().text();
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/ceph.conf") << "[global]\nmon_host = 127.0.0.1:1\n"
                                            "auth_client_required = cephx\n";
    rbd::RbdSettings settings;
    settings.ceph_conf = folder + "/ceph.conf";
    settings.pool = "vms";
    settings.user = "understudy";
    const auto pool = must(rbd::open_rbd_pool("images", settings));
    EXPECT_EQ(pool->outline(VolumeId::random()).user, "understudy");
    std::filesystem::remove_all(folder);
}

TEST(RbdPool, says_what_is_wrong_with_its_settings) {
    RbdFixture fixture({}, {});
    const auto& good = fixture.settings();
    auto settings = good;
    settings.ceph_conf = "/nowhere/ceph.conf";
    auto opened = rbd::open_rbd_pool("images", settings);
    EXPECT_EQ(error_kind_of(opened), ErrorKind::not_found);
    EXPECT_THAT(opened.error().text(), HasSubstr("/nowhere/ceph.conf"));
    settings = good;
    settings.object_size = ByteSize(3 << 20);
    EXPECT_EQ(error_kind_of(rbd::open_rbd_pool("images", settings)), ErrorKind::invalid);
    settings = good;
    settings.features = "layering,fast-diff";
    EXPECT_EQ(error_kind_of(rbd::open_rbd_pool("images", settings)), ErrorKind::invalid);
    settings.features = "layering,journaling";
    EXPECT_EQ(error_kind_of(rbd::open_rbd_pool("images", settings)), ErrorKind::invalid);
    for (const auto setting : {&rbd::RbdSettings::pool, &rbd::RbdSettings::rbd_namespace,
                               &rbd::RbdSettings::data_pool}) {
        settings = good;
        settings.*setting = "nonesuch";
        auto used = must(rbd::open_rbd_pool("images", settings))->knows(VolumeId::random());
        ASSERT_EQ(error_kind_of(used), ErrorKind::not_found);
        EXPECT_THAT(used.error().text(), HasSubstr("'nonesuch'"));
    }
}

}  // namespace
}  // namespace understudy::conformance
