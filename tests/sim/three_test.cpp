// One VM and three clusters: a handover between two of them while the third is promoted.
#include "all_well.hpp"
#include "play.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace understudy::sim {
namespace {

using model::Phase;
using testing::HasSubstr;

constexpr auto kHeads = memory::MemoryPool::Heads::move_on;

// Of two owners under one epoch the one with the higher id prevails.
std::uint64_t seed_in_which_c_prevails_over_b(bool wanted) {
    for (std::uint64_t seed = 1;; ++seed) {
        World world(seed, Trace::Loud::silent, {kHeads, kHeads, kHeads});
        if ((world.b().id() < world.clusters()[2]->id()) == wanted) return seed;
    }
}

// b, which got the VM from a, hands it back; c, which reaches neither, was promoted meanwhile. The
// handover is recorded, and before a is asked it hears of c.
struct Torn {
    explicit Torn(bool c_prevails)
        : world(seed_in_which_c_prevails_over_b(c_prevails), Trace::Loud::silent,
                {kHeads, kHeads, kHeads}) {
        spdlog::set_level(spdlog::level::off);
        write(a, 3);
        const auto id = world.chance().id<SnapshotId>();
        a.queue("snapshot_create", vm, "snapshot",
                {{"snapshot", id.text()}, {"name", "common"}, {"freeze", true}});
        for (auto* peer : {&b, &c})
            a.queue("send", vm, "send", {{"snapshot", id.text()}, {"peer", peer->id().text()}});
        a.run_all();
        move(a, b);
        work();
        EXPECT_TRUE(runs(b));
        for (auto* peer : {&a, &b}) world.cut.insert(std::minmax(peer->id(), c.id()));
        world.promoted.insert(vm);
        c.queue("promote", vm, "promote", {{"snapshot", id.text()}, {"start", true}});
        c.run_all();
        EXPECT_TRUE(runs(c));
        write(b, 20);
        write(c, 40);
        back = move(b, a);
        b.die_at("catalog.set_ownership", true);
        b.run_all();
        EXPECT_EQ(owner(b).phase, Phase::handing_over);
        world.cut.clear();
        EXPECT_TRUE(a.contact(c));
    }
    ~Torn() { expect_all_well(world); }
    Torn(const Torn&) = delete;
    Torn& operator=(const Torn&) = delete;

    void write(Cluster& on, std::uint64_t sector) {
        EXPECT_TRUE(on.write(vm, "vda", sector, 4, world.next_stamp()));
    }
    TaskId move(Cluster& from, Cluster& to) {
        return *from.queue("move", vm, "move", {{"peer", to.id().text()}, {"limit_ms", 1000}});
    }
    model::Ownership owner(Cluster& on) { return on.catalog().vm(vm)->ownership; }
    bool runs(Cluster& on) {
        return std::ranges::any_of(on.machines(), [](const auto& machine) {
            return machine.state == ports::VmState::running;
        });
    }
    void work() {
        for (int round = 0; round < 12; ++round) {
            for (auto& cluster : world.clusters()) {
                cluster->start();
                cluster->run_all();
            }
            world.clock().sleep(Duration(400'000));
        }
    }

    World world;
    Cluster& a = world.a();
    Cluster& b = world.b();
    Cluster& c = *world.clusters()[2];
    VmId vm = a.create_vm("web1", {base::KiB(64)});
    TaskId back;
};

TEST(Three, who_handed_over_to_a_cluster_that_heard_of_another_owner_is_superseded) {
    Torn torn(true);
    ASSERT_EQ(torn.owner(torn.a), (model::Ownership{2, torn.c.id(), Phase::replica}));
    torn.work();
    EXPECT_EQ(torn.owner(torn.b), (model::Ownership{2, torn.c.id(), Phase::superseded}));
    const auto task = torn.b.task(torn.back);
    EXPECT_EQ(task.state, model::TaskState::failed);
    EXPECT_THAT(task.error, HasSubstr("'c' has been promoted and owns it at epoch 2"));
    EXPECT_FALSE(torn.runs(torn.a) || torn.runs(torn.b));
    EXPECT_TRUE(torn.runs(torn.c));

    // Tried again, it says so again, and what was written there stays.
    ASSERT_TRUE(torn.b.catalog().retry_task(torn.back, torn.world.clock().now()));
    torn.work();
    EXPECT_EQ(torn.owner(torn.b).phase, Phase::superseded);
    EXPECT_EQ(torn.b.machines().size(), 1U);
}

TEST(Three, the_cancel_of_such_a_handover_ends_it_too) {
    Torn torn(true);
    ASSERT_TRUE(torn.b.catalog().request_cancel(torn.back, torn.world.clock().now()));
    torn.work();
    EXPECT_EQ(torn.owner(torn.b), (model::Ownership{2, torn.c.id(), Phase::superseded}));
}

TEST(Three, an_owner_that_does_not_prevail_gives_way_to_the_target_of_a_handover) {
    Torn torn(false);
    torn.work();
    EXPECT_EQ(torn.owner(torn.a), (model::Ownership{3, torn.a.id(), Phase::owned}));
    EXPECT_EQ(torn.owner(torn.b).phase, Phase::replica);
    torn.world.exchange_news();
    EXPECT_EQ(torn.owner(torn.c).phase, Phase::superseded);
    EXPECT_FALSE(torn.runs(torn.c));
}

}  // namespace
}  // namespace understudy::sim
