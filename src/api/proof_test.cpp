#include "api/memory_site_test.hpp"
#include "tasks/kinds.hpp"
#include "tasks/proof/proving.hpp"

// What a peer may find out by comparing, and what operators are told of it.

namespace understudy::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ProofRights : public MemorySite {
protected:
    ProofRights() {
        pair_with(dr_);
        pair_with(third_);
    }
    static model::DigestQuestion about(const model::TransferRequest& held) {
        return {held.vm,
                held.snapshot.id,
                held.snapshot.disks.front().volume,
                base::MiB(4),
                {{ByteOffset(0), base::MiB(4)}}};
    }
    template <class T>
    static ErrorKind kind(const Result<T>& result) {
        return result ? ErrorKind::internal : result.error().kind();
    }
    // A VM of this cluster with one snapshot.
    model::TransferRequest owned_here(std::uint64_t number) {
        auto request = request_from(here_, number);
        const auto& disk = request.snapshot.disks.front();
        must(must(pool_->receive(disk.volume, {}, {}, request.snapshot.id, disk.size))->publish());
        model::Vm vm{request.vm, request.vm_name, request.ownership, false, {}, {}};
        vm.disks = {{disk.target, disk.volume, disk.pool}};
        must(catalog_->publish_snapshot(vm, request.snapshot, request.definition, {}, {}));
        return request;
    }
    void note_shared(const model::TransferRequest& request, const ClusterId& peer) {
        must(catalog_->save_replication(
            {request.vm, peer, request.snapshot.id, request.snapshot.taken, clock_.now(), "[]"}));
    }
    model::RangeQuestion range(const model::TransferRequest& held) {
        return {held.vm, held.snapshot.id, held.snapshot.disks.front().volume, ByteOffset(0),
                base::KiB(4)};
    }
};

TEST_F(ProofRights, an_owner_compares_its_replica_and_nobody_elses) {
    const auto replica = receive_from(dr_, 7);
    EXPECT_EQ(must(tasks::answer_digests(site_, dr_.id, about(replica))).blocks.size(), 1U);
    EXPECT_EQ(kind(tasks::answer_digests(site_, third_.id, about(replica))), ErrorKind::not_found);
    // An owner gives bytes to its replicas; a replica gives none to its owner.
    EXPECT_EQ(kind(tasks::answer_range(site_, dr_.id, range(replica))), ErrorKind::not_found);
}

TEST_F(ProofRights, of_a_vm_owned_here_a_peer_sees_only_what_it_was_sent) {
    const auto vm = owned_here(8);
    const auto asked = about(vm);
    EXPECT_EQ(kind(tasks::answer_digests(site_, dr_.id, asked)), ErrorKind::not_found);
    note_shared(vm, dr_.id);
    EXPECT_EQ(kind(tasks::answer_digests(site_, dr_.id, asked)), ErrorKind::not_found);
    EXPECT_EQ(kind(tasks::answer_range(site_, dr_.id, range(vm))), ErrorKind::not_found);
    must(catalog_->note_sent(dr_.id, vm.snapshot.id));
    EXPECT_TRUE(tasks::answer_digests(site_, dr_.id, asked));
    EXPECT_EQ(must(tasks::answer_range(site_, dr_.id, range(vm))), std::string(4096, '\0'));
    EXPECT_EQ(kind(tasks::answer_digests(site_, third_.id, asked)), ErrorKind::not_found);
    EXPECT_EQ(kind(tasks::answer_contents(site_, dr_.id, vm.vm, {asked.volume})),
              ErrorKind::not_found);
    auto beyond = range(vm);
    beyond.offset = ByteOffset(base::MiB(1).count() - 512);
    EXPECT_EQ(kind(tasks::answer_range(site_, dr_.id, beyond)), ErrorKind::invalid);
    auto other_disk = asked;
    other_disk.volume = receive_from(dr_, 9).snapshot.disks.front().volume;
    EXPECT_EQ(kind(tasks::answer_digests(site_, dr_.id, other_disk)), ErrorKind::not_found);
}

TEST_F(ProofRights, contents_are_told_of_ones_own_volumes_and_of_those_without_a_vm) {
    const auto replica = receive_from(dr_, 7);
    const auto others = receive_from(third_, 8);
    const auto orphan = random_.id<VolumeId>();
    const auto content = random_.id<SnapshotId>();
    must(must(pool_->receive(orphan, {}, {}, content, base::MiB(1)))->publish());
    const auto own = replica.snapshot.disks.front().volume;
    const auto ask_for = [&](const ClusterId& from, const VmId& vm) {
        return must(tasks::answer_contents(
            site_, from, vm,
            {own, others.snapshot.disks.front().volume, orphan, random_.id<VolumeId>()}));
    };
    EXPECT_THAT(ask_for(dr_.id, replica.vm),
                ElementsAre(model::VolumeBase{own, replica.snapshot.id},
                            model::VolumeBase{orphan, content}));
    EXPECT_THAT(ask_for(dr_.id, VmId(base::uuid_from_random(99, 99))),
                ElementsAre(model::VolumeBase{orphan, content}));
    EXPECT_EQ(kind(tasks::answer_contents(site_, third_.id, replica.vm, {own})),
              ErrorKind::not_found);
}

TEST_F(ProofRights, a_resync_on_another_vms_volume_or_on_nothing_is_refused) {
    const auto replica = receive_from(dr_, 7);
    auto stolen = request_from(third_, 8);
    stolen.snapshot.disks = replica.snapshot.disks;
    stolen.resync = {{replica.snapshot.disks.front().volume, replica.snapshot.id}};
    EXPECT_EQ(kind(receiving_.offer(third_.id, stolen)), ErrorKind::refused);
    auto unfounded = request_from(dr_, 9);
    unfounded.resync = {{unfounded.snapshot.disks.front().volume, random_.id<SnapshotId>()}};
    EXPECT_EQ(kind(receiving_.offer(dr_.id, unfounded)), ErrorKind::conflict);
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
}

TEST_F(ProofRights, operators_verify_replicas_and_see_when_they_were) {
    const auto replica = receive_from(dr_, 7);
    const auto path = "/v1/replicas/" + replica.vm_name;
    EXPECT_TRUE(ask("GET", path).body.at("replica").at("verified").is_null());
    const auto queued = ask("POST", path + "/verify", R"({"repair": true, "rate_bytes": 5})");
    ASSERT_EQ(queued.status, 202) << queued.body;
    const auto task = must(
        catalog_->task(must(TaskId::parse(queued.body.at("task").at("id").get<std::string>()))));
    EXPECT_EQ(task.kind, tasks::kReplicaVerify);
    EXPECT_TRUE(task.reads_only);
    EXPECT_EQ(task.title, "verify " + replica.vm_name + "@first");
    model::Verification done;
    done.vm = replica.vm;
    done.snapshot = replica.snapshot.id;
    done.source = dr_.id;
    done.ended = clock_.now();
    done.equal = true;
    must(catalog_->save_verification(done));
    clock_.sleep(Duration(5000));
    const auto verified = ask("GET", "/v1/replicas").body.at("replicas").at(0).at("verified");
    EXPECT_EQ(verified.at("age_ms"), 5000);
    EXPECT_EQ(verified.at("snapshot_name"), "first");
    EXPECT_EQ(verified.at("source_name"), "dr");
    EXPECT_EQ(ask("GET", path).body.at("verifications").size(), 1U);
    const auto own = owned_here(8);
    EXPECT_EQ(ask("POST", "/v1/replicas/" + own.vm_name + "/verify", "{}").status, 403);
    EXPECT_THAT(ask("POST", path + "/verify", R"({"snapshot": "none"})").text(),
                HasSubstr("no snapshot 'none'"));
}

}  // namespace
}  // namespace understudy::api
