#pragma once

#include "all_well.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <string>

namespace understudy::sim {

// A VM with two disks that runs on `a`; its snapshots go to `b`. For either kind of heads.
class ReplicaStage : public testing::TestWithParam<World::Heads> {
protected:
    explicit ReplicaStage(ByteSize disk) : vm(a.create_vm("web1", {disk, disk})) {
        spdlog::set_level(spdlog::level::off);
        a.start();
        b.start();
    }
    void TearDown() override { expect_all_well(world); }

    SnapshotId taken(const std::string& name) {
        const auto id = world.chance().id<SnapshotId>();
        a.queue("snapshot_create", vm, "snapshot " + name,
                {{"snapshot", id.text()}, {"name", name}, {"freeze", true}});
        a.run_all();
        EXPECT_TRUE(*a.catalog().find_snapshot(id));
        return id;
    }
    TaskId send(const SnapshotId& id) {
        return *a.queue("send", vm, "send", {{"snapshot", id.text()}, {"peer", b.id().text()}});
    }
    void sent(const SnapshotId& id) {
        const auto task = send(id);
        a.run_all();
        ASSERT_EQ(a.task(task).error, "");
        ASSERT_TRUE(*b.catalog().find_snapshot(id));
    }

    World world{1, Trace::Loud::silent, {GetParam(), GetParam()}};
    Cluster& a = world.a();
    Cluster& b = world.b();
    VmId vm;
    SnapshotId first;
};

}  // namespace understudy::sim
