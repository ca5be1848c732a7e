#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class CatalogProof : public CatalogTest {
protected:
    static model::Verification verification(const model::Snapshot& of, std::int64_t ended_ms) {
        return {.vm = of.vm,
                .snapshot = of.id,
                .source = ClusterId::random(),
                .ended = at(ended_ms),
                .equal = false,
                .compared = GiB(20),
                .differing = ByteSize(8192),
                .ranges_found = 2,
                .ranges = {{"vda", ByteOffset(4096), ByteSize(4096), ""},
                           {"vdb", ByteOffset(1 << 20), ByteSize(4096), "here: a 'bad' sector"}}};
    }
};
EVERY_CATALOG(CatalogProof);

TEST_P(CatalogProof, a_verification_comes_back_whole_and_the_next_one_takes_its_place) {
    const auto first = publish_new(catalog(), "web1", "one");
    const auto second = publish_child(catalog(), first, "two", 10);
    auto of_first = verification(first.snapshot, 100);
    const auto of_second = verification(second, 50);
    must(catalog().save_verification(of_first));
    must(catalog().save_verification(of_second));
    EXPECT_EQ(must(catalog().verifications(first.vm.id)),
              (std::vector<model::Verification>{of_first, of_second}));
    of_first.ended = at(40);
    of_first.equal = true;
    of_first.ranges.clear();
    must(catalog().save_verification(of_first));
    EXPECT_EQ(must(catalog().verifications({})),
              (std::vector<model::Verification>{of_second, of_first}));
    EXPECT_THAT(must(catalog().verifications(VmId::random())), IsEmpty());
}

TEST_P(CatalogProof, goes_with_its_snapshot) {
    const auto first = publish_new(catalog(), "web1", "one");
    const auto second = publish_child(catalog(), first, "two", 10);
    const auto peer = ClusterId::random();
    for (const auto& snapshot : {first.snapshot, second}) {
        must(catalog().save_verification(verification(snapshot, 1)));
        must(catalog().note_sent(peer, snapshot.id));
    }
    must(catalog().remove_snapshot(second.id));
    EXPECT_THAT(must(catalog().verifications({})), SizeIs(1));
    EXPECT_FALSE(must(catalog().was_sent(peer, second.id)));
    EXPECT_EQ(kind_of(catalog().save_verification(verification(second, 2))), "not_found");
    must(catalog().note_sent(peer, second.id));
    EXPECT_FALSE(must(catalog().was_sent(peer, second.id)));
    must(catalog().remove_vm(first.vm.id));
    EXPECT_THAT(must(catalog().verifications({})), IsEmpty());
}

TEST_P(CatalogProof, a_peer_was_sent_what_is_noted_until_it_is_removed) {
    const auto first = publish_new(catalog(), "web1", "one");
    const auto peer = some_peer("dr");
    must(catalog().save_peer(peer));
    EXPECT_FALSE(must(catalog().was_sent(peer.id, first.snapshot.id)));
    must(catalog().note_sent(peer.id, first.snapshot.id));
    must(catalog().note_sent(peer.id, first.snapshot.id));
    EXPECT_TRUE(must(catalog().was_sent(peer.id, first.snapshot.id)));
    EXPECT_FALSE(must(catalog().was_sent(ClusterId::random(), first.snapshot.id)));
    must(catalog().remove_peer(peer.id));
    EXPECT_FALSE(must(catalog().was_sent(peer.id, first.snapshot.id)));
}

TEST_P(CatalogProof, holders_are_noted_once_and_go_with_the_vm_or_the_peer) {
    const auto first = publish_new(catalog(), "web1", "one");
    const auto peer = some_peer("dr");
    must(catalog().save_peer(peer));
    const auto other = ClusterId::random();
    must(catalog().record_holders(first.vm.id, {peer.id, other}));
    must(catalog().record_holders(first.vm.id, {other}));
    EXPECT_THAT(must(catalog().holders(first.vm.id)), UnorderedElementsAre(peer.id, other));
    must(catalog().remove_peer(peer.id));
    EXPECT_THAT(must(catalog().holders(first.vm.id)), ElementsAre(other));
    must(catalog().remove_vm(first.vm.id));
    EXPECT_THAT(must(catalog().holders(first.vm.id)), IsEmpty());
    must(catalog().record_holders(first.vm.id, {other}));
    EXPECT_THAT(must(catalog().holders(first.vm.id)), IsEmpty());
}

TEST_P(CatalogProof, a_transfer_holds_what_a_resync_is_built_on) {
    const auto first = publish_new(catalog(), "web1", "one");
    const auto second = publish_child(catalog(), first, "two", 10);
    auto transfer = some_transfer(first.vm, some_snapshot(first.vm, "coming", 20));
    transfer.request.base.reset();
    transfer.request.resync = {{VolumeId::random(), first.snapshot.id},
                               {VolumeId::random(), second.id},
                               {VolumeId::random(), SnapshotId::random()}};  // listed nowhere
    must(catalog().add_transfer(transfer));
    EXPECT_EQ(json(must(catalog().transfer(transfer.id))), json(transfer));
    for (const auto& snapshot : {first.snapshot, second})
        EXPECT_EQ(kind_of(catalog().remove_snapshot(snapshot.id)), "refused");
    must(catalog().remove_transfer(transfer.id));
    must(catalog().remove_snapshot(second.id));
}

TEST_P(CatalogProof, a_drill_comes_back_whole_the_next_takes_its_place_and_it_goes_with_the_vm) {
    const auto one = publish_new(catalog(), "web1", "one");
    const auto other = publish_new(catalog(), "web2", "one");
    model::Drill done{.vm = one.vm.id,
                      .snapshot = one.snapshot.id,
                      .snapshot_name = "one",
                      .ended = at(100),
                      .passed = false,
                      .boot_ms = 0,
                      .ready_ms = 0,
                      .check = "the guest agent",
                      .outcome = "no answer within 5 m: 'it' hangs",
                      .node = "n1",
                      .evidence = "/var/lib/understudy/drills/x"};
    auto of_other = done;
    of_other.vm = other.vm.id;
    of_other.ended = at(200);
    must(catalog().save_drill(done));
    must(catalog().save_drill(of_other));
    EXPECT_EQ(must(catalog().drills({})), (std::vector<model::Drill>{of_other, done}));
    done.passed = true;
    done.boot_ms = 4000;
    done.ready_ms = 4500;
    done.ended = at(300);
    must(catalog().save_drill(done));
    EXPECT_EQ(must(catalog().drills(done.vm)), (std::vector<model::Drill>{done}));
    EXPECT_THAT(must(catalog().drills(VmId::random())), IsEmpty());
    must(catalog().remove_snapshot(one.snapshot.id));
    EXPECT_THAT(must(catalog().drills(done.vm)), SizeIs(1));
    must(catalog().remove_vm(done.vm));
    EXPECT_THAT(must(catalog().drills({})), SizeIs(1));
    EXPECT_EQ(kind_of(catalog().save_drill(done)), "not_found");
}

}  // namespace
}  // namespace understudy::test
