#include "api/memory_site_test.hpp"
#include "tasks/owners/ownership_news.hpp"

// Promise 7: a peer reaches only the replicas that came from it, whatever ids and epochs it claims.

namespace understudy::api {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PeerRights : public MemorySite {
protected:
    PeerRights() {
        pair_with(dr_);
        pair_with(third_);
    }
};

TEST_F(PeerRights, a_peer_sees_its_own_replica_and_no_other_vm) {
    const auto replica = receive_from(dr_, 7);
    const auto seen = must(receiving_.look_up(dr_.id, replica.vm));
    EXPECT_TRUE(seen.known);
    EXPECT_EQ(seen.snapshots.size(), 1U);
    const auto hidden = must(receiving_.look_up(third_.id, replica.vm));
    EXPECT_FALSE(hidden.known);
    EXPECT_THAT(hidden.snapshots, IsEmpty());
}

TEST_F(PeerRights, no_epoch_makes_another_peers_replica_ones_own) {
    const auto replica = receive_from(dr_, 7);
    for (const std::uint64_t epoch : {1U, 2U, 1000U}) {
        auto stolen = request_from(third_, 7);
        stolen.ownership.epoch = epoch;
        stolen.snapshot.disks = replica.snapshot.disks;
        const auto offered = receiving_.offer(third_.id, stolen);
        ASSERT_FALSE(offered);
        EXPECT_EQ(offered.error().kind(), ErrorKind::refused);
    }
    must(tasks::apply_peer_ownership(site_, third_.id,
                                     {{replica.vm, {9, third_.id, model::Phase::owned}}}));
    EXPECT_EQ(must(catalog_->vm(replica.vm)).ownership.owner, dr_.id);
}

TEST_F(PeerRights, a_vm_owned_here_is_not_taken_over_by_an_offer) {
    model::Vm vm;
    vm.id = VmId(base::uuid_from_random(7, ~std::uint64_t{7}));
    vm.name = "ours";
    vm.ownership = {1, here_.id, model::Phase::owned};
    must(catalog_->save_vm(vm));
    auto request = request_from(dr_, 7);
    request.ownership.epoch = 5;
    const auto offered = receiving_.offer(dr_.id, request);
    ASSERT_FALSE(offered);
    EXPECT_EQ(offered.error().kind(), ErrorKind::refused);
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
}

TEST_F(PeerRights, a_sender_must_own_what_it_sends) {
    auto request = request_from(third_, 8);  // the third cluster's, offered by dr
    const auto offered = receiving_.offer(dr_.id, request);
    ASSERT_FALSE(offered);
    EXPECT_THAT(offered.error().text(), HasSubstr("does not own"));
}

TEST_F(PeerRights, anothers_transfer_cannot_be_joined_committed_abandoned_or_displaced) {
    const auto offer = must(receiving_.offer(dr_.id, request_from(dr_, 7)));
    const auto receiver = must(receiving_.join(dr_.id, offer.id, 1));
    EXPECT_EQ(receiving_.join(third_.id, offer.id, 1).error().kind(), ErrorKind::refused);
    EXPECT_EQ(receiving_.commit(third_.id, offer.id, 1, {}).error().kind(), ErrorKind::refused);
    EXPECT_EQ(receiving_.abandon(third_.id, offer.id).error().kind(), ErrorKind::refused);
    auto rival = request_from(third_, 7);
    EXPECT_EQ(receiving_.offer(third_.id, rival).error().kind(), ErrorKind::refused);
    // The attempt under way was not disturbed by any of it.
    EXPECT_EQ(must(receiving_.join(dr_.id, offer.id, 1)), receiver);
    must(receiving_.commit(dr_.id, offer.id, 1, {}));
}

TEST_F(PeerRights, no_other_vms_volume_is_written_to) {
    const auto replica = receive_from(dr_, 7);
    auto request = request_from(third_, 8);
    request.snapshot.disks = replica.snapshot.disks;
    const auto before = pool_->traces(replica.snapshot.disks.front().volume);
    const auto offered = receiving_.offer(third_.id, request);
    ASSERT_FALSE(offered);
    EXPECT_THAT(offered.error().text(), HasSubstr("volume of disk 'vda' belongs to another VM"));
    EXPECT_EQ(pool_->traces(replica.snapshot.disks.front().volume), before);
    EXPECT_FALSE(must(catalog_->find_vm(request.vm)));
    // Nor a volume of a VM that is still being received here.
    const auto coming = request_from(dr_, 9);
    must(receiving_.offer(dr_.id, coming));
    request.snapshot.disks = coming.snapshot.disks;
    EXPECT_EQ(receiving_.offer(third_.id, request).error().kind(), ErrorKind::refused);
}

TEST_F(PeerRights, calls_about_unknown_transfers_are_conflicts_and_an_abandon_is_done) {
    const auto id = random_.id<TransferId>();
    EXPECT_EQ(receiving_.join(dr_.id, id, 1).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(receiving_.commit(dr_.id, id, 1, {}).error().kind(), ErrorKind::conflict);
    EXPECT_TRUE(receiving_.abandon(dr_.id, id));
}

TEST_F(PeerRights, a_base_of_another_vm_is_no_base) {
    const auto replica = receive_from(dr_, 7);
    auto request = request_from(third_, 8);
    request.base = replica.snapshot.id;
    EXPECT_EQ(receiving_.offer(third_.id, request).error().kind(), ErrorKind::conflict);
    auto same_id = request_from(third_, 8);
    same_id.snapshot.id = replica.snapshot.id;
    EXPECT_EQ(receiving_.offer(third_.id, same_id).error().kind(), ErrorKind::invalid);
}

TEST_F(PeerRights, the_end_of_a_pairing_takes_unfinished_transfers_along_and_keeps_replicas) {
    const auto replica = receive_from(dr_, 7);
    const auto coming = request_from(dr_, 8);
    must(receiving_.offer(dr_.id, coming));
    const auto others = must(receiving_.offer(third_.id, request_from(third_, 9)));
    EXPECT_EQ(ask("DELETE", "/v1/peers/dr").status, 403);
    EXPECT_EQ(ask("DELETE", "/v1/peers/dr?force=1").status, 200);
    ASSERT_EQ(must(catalog_->transfers()).size(), 1U);
    EXPECT_EQ(must(catalog_->transfers()).front().id, others.id);
    EXPECT_THAT(pool_->traces(coming.snapshot.disks.front().volume), IsEmpty());
    EXPECT_EQ(must(catalog_->snapshots(replica.vm)).size(), 1U);
}

}  // namespace
}  // namespace understudy::api
