// Comparing, repairing and resyncing while the other side dies, answers late or not at all.
#include "replica_stage.hpp"
#include "tasks/kinds.hpp"
#include "tasks/proof/verifying.hpp"
#include "tasks/queue/runner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::sim {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr ByteSize kDisk = base::KiB(512);

class Proof : public ReplicaStage {
protected:
    Proof() : ReplicaStage(kDisk) {
        for (std::uint64_t sector = 0; sector < 800; sector += 100) {
            a.write(vm, "vda", sector, 60, world.next_stamp());
            a.write(vm, "vdb", sector, 9, world.next_stamp());
        }
        first = taken("first");
    }

    TaskId verify(const SnapshotId& id, bool repair) {
        return *b.queue(tasks::kReplicaVerify, vm, "verify",
                        {{"snapshot", id.text()}, {"repair", repair}});
    }
    VolumeId volume(const SnapshotId& id, std::size_t disk) {
        return (*b.catalog().snapshot(id)).disks.at(disk).volume;
    }
    void flip(const SnapshotId& id, std::size_t disk, std::uint64_t offset) {
        ASSERT_TRUE(b.pool().flip_bit(volume(id, disk), id, ByteOffset(offset)));
    }
    model::Verification newest_verification() { return b.catalog().verifications(vm)->front(); }
    static nlohmann::json result(Cluster& on, const TaskId& id) {
        return nlohmann::json::parse(on.task(id).result);
    }
    void run_on() {  // what waits, and what waits for that
        for (int attempt = 0; attempt < 6; ++attempt) {
            a.start();
            b.start();
            a.run_all();
            b.run_all();
            world.clock().sleep(Duration(400'000));
        }
    }
    // The peer's catalog loses all that it knew of the VM; what its pool holds stays.
    void lose_rows() { ASSERT_TRUE(b.catalog().remove_vm(vm)); }
};
INSTANTIATE_TEST_SUITE_P(Heads, Proof,
                         testing::Values(World::Heads::move_on, World::Heads::stay_in_place),
                         [](const auto& test) {
                             return test.param == World::Heads::move_on ? "move_on"
                                                                        : "stay_in_place";
                         });

TEST_P(Proof, an_equal_replica_is_recorded_as_such) {
    sent(first);
    const auto task = verify(first, false);
    b.run_all();
    EXPECT_EQ(b.task(task).error, "");
    const auto done = newest_verification();
    EXPECT_TRUE(done.equal);
    EXPECT_EQ(done.source, a.id());
    EXPECT_EQ(done.compared, kDisk + kDisk);
    EXPECT_THAT(done.ranges, IsEmpty());
}

TEST_P(Proof, flipped_bits_are_named_and_fail_the_task) {
    sent(first);
    flip(first, 0, 51'201);
    flip(first, 1, 500'000);
    const auto task = verify(first, false);
    b.run_all();
    EXPECT_EQ(b.task(task).error_kind, "corrupt");
    EXPECT_THAT(b.task(task).error, HasSubstr("vda at 49152+4096"));
    EXPECT_THAT(b.task(task).error, HasSubstr("vdb at 499712+4096"));
    EXPECT_THAT(b.task(task).error, HasSubstr("--repair"));
    EXPECT_FALSE(newest_verification().equal);
    EXPECT_THAT(newest_verification().ranges, SizeIs(2));
    verify(first, true);
    run_on();
    EXPECT_TRUE(newest_verification().equal);
}

TEST_P(Proof, a_repair_goes_through_whatever_dies_when) {
    sent(first);
    for (const char* call :
         {"link.digests", "catalog.save_verification", "catalog.add_task", "pool.mend",
          "incoming.write", "incoming.publish", "link.read_range", "catalog.release_task"})
        for (const bool after : {false, true}) {
            SCOPED_TRACE(std::string(after ? "after " : "before ") + call);
            flip(first, 0, 51'201);
            flip(first, 1, 300'000);
            b.die_at(call, after);
            verify(first, true);
            run_on();
            EXPECT_TRUE(newest_verification().equal);
            check_promises(world);
            ASSERT_THAT(world.broken_promises(), IsEmpty());
        }
}

TEST_P(Proof, a_repair_goes_through_on_a_bad_line_and_with_a_source_that_dies) {
    sent(first);
    for (std::uint64_t at = 4096; at < kDisk.count(); at += 65536) flip(first, 0, at);
    world.weather.message_lost = 4;
    world.weather.message_repeated = 5;
    verify(first, true);
    for (int round = 0; round < 4; ++round) {
        a.die_at("reader.read", round % 2 == 0, 3);
        run_on();
    }
    world.weather = {};
    run_on();
    // What gave up after so many attempts the operator begins again.
    if (b.catalog().verifications(vm)->empty() || !newest_verification().equal) {
        verify(first, true);
        run_on();
    }
    EXPECT_TRUE(newest_verification().equal);
}

TEST_P(Proof, a_comparison_does_not_keep_a_promote_waiting) {
    sent(first);
    const auto compared = verify(first, false);
    a.kill();  // the comparison waits for its source
    b.run_all();
    const auto promoted =
        b.queue("promote", vm, "promote",
                {{"snapshot", first.text()}, {"start", true}, {"owner_may_answer", true}});
    b.run_all();
    EXPECT_EQ(b.task(*promoted).state, model::TaskState::succeeded) << b.task(*promoted).error;
    run_on();
    EXPECT_EQ(b.task(compared).error_kind, "refused") << "it is no replica any more";
}

TEST_P(Proof, what_was_removed_at_the_source_cannot_be_compared_and_says_so) {
    sent(first);
    sent(taken("second"));
    a.queue("snapshot_remove", vm, "remove", {{"snapshots", {first.text()}}});
    a.run_all();
    const auto task = verify(first, false);
    run_on();
    EXPECT_EQ(b.task(task).error_kind, "not_found");
    EXPECT_THAT(b.task(task).error, HasSubstr("verify a newer one"));
}

TEST_P(Proof, the_schedule_takes_one_replica_at_a_time_and_each_in_its_turn) {
    sent(first);
    const auto other = a.create_vm("web2", {kDisk});
    const auto of_other = world.chance().id<SnapshotId>();
    a.queue("snapshot_create", other, "snapshot",
            {{"snapshot", of_other.text()}, {"name", "one"}, {"freeze", true}});
    a.run_all();
    a.queue("send", other, "send", {{"snapshot", of_other.text()}, {"peer", b.id().text()}});
    a.run_all();
    const auto turn = [&] {
        EXPECT_TRUE(b.operate([](Daemon& here) {
            return tasks::queue_due_verification(here.site, std::chrono::hours(24));
        }));
        return b.catalog().tasks({std::nullopt, true, 10})->size();
    };
    EXPECT_EQ(turn(), 1U);
    EXPECT_EQ(turn(), 1U) << "one at a time";
    b.run_all();
    EXPECT_EQ(turn(), 1U);
    b.run_all();
    EXPECT_EQ(turn(), 0U);
    EXPECT_THAT(*b.catalog().verifications({}), SizeIs(2));
    world.clock().sleep(std::chrono::hours(25));
    a.kill();
    EXPECT_EQ(turn(), 1U);
    for (int attempt = 0; attempt < 12; ++attempt) {
        b.run_all();
        world.clock().sleep(Duration(400'000));
    }
    EXPECT_EQ(turn(), 1U) << "the other one's turn, whatever became of the first";
    run_on();
}

TEST_P(Proof, a_replica_whose_rows_are_lost_is_resynced_and_gets_only_what_differs) {
    sent(first);
    lose_rows();
    a.write(vm, "vda", 16, 8, world.next_stamp());
    a.trim(vm, "vdb", 100, 16);
    const auto second = taken("second");
    const auto task = send(second);
    a.run_all();
    ASSERT_EQ(a.task(task).error, "");
    EXPECT_EQ(result(a, task).at("kind"), "resync");
    // And two grains that the guest writes around the moment of each snapshot.
    EXPECT_LE(result(a, task).at("bytes").get<std::uint64_t>(), 3U * 4096);
    EXPECT_TRUE(*b.catalog().find_snapshot(second));
    run_on();  // what nothing lists any more is merged
    for (const std::size_t disk : {0, 1})
        EXPECT_THAT(*b.pool().snapshots(volume(second, disk)), SizeIs(1));
    // From there on it goes as ever.
    const auto third = taken("third");
    const auto next = send(third);
    a.run_all();
    EXPECT_EQ(result(a, next).at("kind"), "incremental");
}

TEST_P(Proof, with_nothing_in_common_that_both_list_the_newest_there_is_built_on) {
    sent(first);
    a.write(vm, "vda", 200, 8, world.next_stamp());
    const auto second = taken("second");
    // The pairing was undone and made anew, and the base removed meanwhile.
    const auto peer = *a.catalog().peer(b.id());
    ASSERT_TRUE(a.catalog().remove_peer(b.id()));
    a.queue("snapshot_remove", vm, "remove", {{"snapshots", {first.text()}}});
    a.run_all();
    ASSERT_TRUE(a.catalog().save_peer(peer));
    const auto task = send(second);
    a.run_all();
    ASSERT_EQ(a.task(task).error, "");
    EXPECT_EQ(result(a, task).at("kind"), "resync");
    EXPECT_LE(result(a, task).at("bytes").get<std::uint64_t>(), 3U * 4096);
    EXPECT_TRUE(*b.catalog().find_snapshot(first)) << "its own retention";
}

TEST_P(Proof, a_resync_goes_on_mid_disk_whatever_dies_when) {
    sent(first);
    for (std::uint64_t sector = 0; sector < 1024; sector += 24)
        a.write(vm, "vda", sector, 8, world.next_stamp());
    a.write(vm, "vdb", 500, 30, world.next_stamp());
    unsigned round = 0;
    for (auto* dies : {&a, &b})
        for (const char* call : {"link.contents", "link.digests", "link.offer", "incoming.write",
                                 "incoming.flush", "incoming.publish", "catalog.publish_snapshot",
                                 "pool.remove_snapshot", "catalog.note_sent"}) {
            SCOPED_TRACE(dies->name() + " dies at " + call);
            lose_rows();
            const auto id = taken("round" + std::to_string(++round));
            dies->die_at(call, round % 2 == 0, 1 + round % 3);
            send(id);
            run_on();
            a.die_at("nothing");
            b.die_at("nothing");
            EXPECT_TRUE(*b.catalog().find_snapshot(id));
            check_promises(world);
            ASSERT_THAT(world.broken_promises(), IsEmpty());
        }
}

TEST_P(Proof, a_cancelled_resync_leaves_what_it_was_to_build_on) {
    sent(first);
    const auto volume_of_vda = volume(first, 0);
    lose_rows();
    a.write(vm, "vda", 16, 8, world.next_stamp());
    const auto task = send(taken("second"));
    b.die_at("catalog.publish_snapshot");
    a.run_all();
    b.start();
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    run_on();
    EXPECT_EQ(a.task(task).state, model::TaskState::cancelled);
    EXPECT_THAT(*b.catalog().transfers(), IsEmpty());
    EXPECT_THAT(*b.pool().snapshots(volume_of_vda), SizeIs(1));
    const auto again = send(taken("third"));
    run_on();
    EXPECT_EQ(result(a, again).at("kind"), "resync");
}

TEST_P(Proof, full_as_asked_is_full_and_what_was_there_before_goes) {
    sent(first);
    lose_rows();
    const auto second = taken("second");
    const auto task = *a.queue(
        "send", vm, "send", {{"snapshot", second.text()}, {"peer", b.id().text()}, {"full", true}});
    a.run_all();
    EXPECT_EQ(result(a, task).at("kind"), "full");
    run_on();
    EXPECT_THAT(*b.pool().snapshots(volume(second, 0)), SizeIs(1));
}

TEST_P(Proof, a_peer_that_cannot_compare_is_sent_nothing_by_mistake) {
    sent(first);
    const auto peer = *a.catalog().peer(b.id());
    ASSERT_TRUE(a.catalog().remove_peer(b.id()));
    const auto second = taken("second");
    a.queue("snapshot_remove", vm, "remove", {{"snapshots", {first.text()}}});
    a.run_all();
    auto old = peer;
    std::erase(old.capabilities.features, "digests-1");
    ASSERT_TRUE(a.catalog().save_peer(old));
    const auto task = send(second);
    a.run_all();
    EXPECT_EQ(a.task(task).error_kind, "unsupported");
    EXPECT_THAT(a.task(task).error, HasSubstr("--full"));
    ASSERT_TRUE(a.catalog().save_peer(peer));
}

}  // namespace
}  // namespace understudy::sim
