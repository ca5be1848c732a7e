#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using model::HoldKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CatalogSnapshots : public CatalogTest {};
EVERY_CATALOG(CatalogSnapshots);

TEST_P(CatalogSnapshots, publishing_makes_everything_exist_at_once) {
    const auto vm = some_vm("web1");
    const auto snapshot = some_snapshot(vm, "nightly", 0, SnapshotId::random());
    const auto transfer = some_transfer(vm, snapshot);
    must(catalog().add_transfer(transfer));
    const model::Hold hold{snapshot.id, HoldKind::base, ClusterId::random().text()};
    must(catalog().publish_snapshot(vm, snapshot, some_definition(), {hold}, transfer.id));
    EXPECT_EQ(must(catalog().vm(vm.id)), vm);
    EXPECT_EQ(must(catalog().snapshot(snapshot.id)), snapshot);
    EXPECT_EQ(must(catalog().find_snapshot(snapshot.id)), snapshot);
    EXPECT_THAT(must(catalog().snapshots(vm.id)), ElementsAre(snapshot));
    EXPECT_EQ(must(catalog().definition(snapshot.id)), some_definition());
    EXPECT_THAT(must(catalog().holds(vm.id)), ElementsAre(hold));
    EXPECT_THAT(must(catalog().transfers()), IsEmpty());
}

TEST_P(CatalogSnapshots, what_is_unknown_is_not_found) {
    EXPECT_EQ(kind_of(catalog().snapshot(SnapshotId::random())), "not_found");
    EXPECT_EQ(kind_of(catalog().definition(SnapshotId::random())), "not_found");
    EXPECT_EQ(must(catalog().find_snapshot(SnapshotId::random())), std::nullopt);
    EXPECT_THAT(must(catalog().snapshots(VmId::random())), IsEmpty());
}

TEST_P(CatalogSnapshots, publishing_to_a_known_vm_changes_its_disks_but_not_its_ownership) {
    const auto made = publish_new(catalog(), "web1", "first");
    auto vm = made.vm;
    vm.ownership = {99, ClusterId::random(), model::Phase::owned};
    vm.disks.pop_back();
    const auto second = some_snapshot(vm, "second", 1, made.snapshot.id);
    must(catalog().publish_snapshot(vm, second, some_definition(), {}, std::nullopt));
    vm.ownership = made.vm.ownership;
    EXPECT_EQ(must(catalog().vm(vm.id)), vm);
}

TEST_P(CatalogSnapshots, publishing_again_changes_nothing) {
    const auto made = publish_new(catalog(), "web1", "nightly");
    auto vm = made.vm;
    vm.name = "changed";
    vm.disks.clear();
    auto snapshot = made.snapshot;
    snapshot.name = "changed";
    const model::Hold hold{snapshot.id, HoldKind::user, "new"};
    must(catalog().publish_snapshot(vm, snapshot, {"other", ""}, {hold}, std::nullopt));
    EXPECT_EQ(must(catalog().vm(vm.id)), made.vm);
    EXPECT_THAT(must(catalog().snapshots(vm.id)), ElementsAre(made.snapshot));
    EXPECT_EQ(must(catalog().definition(snapshot.id)), some_definition());
    EXPECT_THAT(must(catalog().holds(vm.id)), IsEmpty());
}

TEST_P(CatalogSnapshots, a_taken_name_leaves_nothing_of_the_publish) {
    const auto made = publish_new(catalog(), "web1", "nightly");
    auto vm = made.vm;
    vm.disks.clear();
    const auto second = some_snapshot(vm, "nightly", 1);
    const auto transfer = some_transfer(vm, second);
    must(catalog().add_transfer(transfer));
    const auto refused = catalog().publish_snapshot(vm, second, some_definition(), {}, transfer.id);
    ASSERT_EQ(kind_of(refused), "conflict");
    EXPECT_THAT(refused.error().text(), HasSubstr("'nightly'"));
    EXPECT_EQ(must(catalog().vm(vm.id)), made.vm);
    EXPECT_THAT(must(catalog().snapshots(vm.id)), ElementsAre(made.snapshot));
    EXPECT_EQ(must(catalog().transfers()).size(), 1U);
    // The name is taken for that VM only.
    const auto other = publish_new(catalog(), "web2", "nightly");
    EXPECT_EQ(must(catalog().snapshots(other.vm.id)).size(), 1U);
}

TEST_P(CatalogSnapshots, a_failure_after_the_rows_were_written_leaves_nothing_of_the_publish) {
    const auto vm = some_vm("web1");
    const auto snapshot = some_snapshot(vm, "nightly", 0);
    const auto transfer = some_transfer(vm, snapshot);
    must(catalog().add_transfer(transfer));
    const model::Hold good{snapshot.id, HoldKind::user, ""};
    const model::Hold bad{SnapshotId::random(), HoldKind::user, ""};
    EXPECT_EQ(kind_of(catalog().publish_snapshot(vm, snapshot, some_definition(), {good, bad},
                                                 transfer.id)),
              "not_found");
    EXPECT_EQ(must(catalog().find_vm(vm.id)), std::nullopt);
    EXPECT_EQ(must(catalog().find_snapshot(snapshot.id)), std::nullopt);
    EXPECT_EQ(kind_of(catalog().definition(snapshot.id)), "not_found");
    EXPECT_THAT(must(catalog().holds(vm.id)), IsEmpty());
    EXPECT_EQ(json(must(catalog().transfer(transfer.id))), json(transfer));
    must(catalog().publish_snapshot(vm, snapshot, some_definition(), {good}, transfer.id));
}

TEST_P(CatalogSnapshots, another_vms_snapshot_id_is_a_conflict) {
    const auto made = publish_new(catalog(), "web1", "nightly");
    const auto intruder = some_vm("intruder");
    auto snapshot = some_snapshot(intruder, "nightly", 0);
    EXPECT_EQ(kind_of(catalog().publish_snapshot(made.vm, snapshot, {}, {}, std::nullopt)),
              "invalid");
    snapshot.id = made.snapshot.id;
    EXPECT_EQ(kind_of(catalog().publish_snapshot(intruder, snapshot, {}, {}, std::nullopt)),
              "conflict");
    EXPECT_EQ(must(catalog().find_vm(intruder.id)), std::nullopt);
}

TEST_P(CatalogSnapshots, are_listed_by_lineage_then_oldest_first_and_then_as_published) {
    const auto made = publish_new(catalog(), "web1", "b");
    const auto late = publish_child(catalog(), made, "a", 5);
    const auto same = publish_child(catalog(), made, "0", 5);
    const auto early = publish_child(catalog(), made, "z", -5);
    EXPECT_THAT(must(catalog().snapshots(made.vm.id)),
                ElementsAre(made.snapshot, early, late, same));
}

TEST_P(CatalogSnapshots,
       what_is_received_changes_neither_an_owned_vm_nor_a_superseded_ones_record) {
    for (const auto phase : {model::Phase::owned, model::Phase::superseded}) {
        auto made = publish_new(catalog(), phase == model::Phase::owned ? "web1" : "web2", "base");
        auto now = must(catalog().vm(made.vm.id));
        auto next = now.ownership;
        next.phase = phase;
        must(catalog().set_ownership(made.vm.id, now.ownership, next, {}));
        now = must(catalog().vm(made.vm.id));
        auto theirs = made.vm;
        theirs.disks.clear();
        theirs.head_parent.reset();
        const auto late = some_snapshot(made.vm, "late", 9);
        const auto transfer = some_transfer(made.vm, late);
        must(catalog().add_transfer(transfer));
        const auto published = catalog().publish_snapshot(theirs, late, {}, {}, transfer.id);
        EXPECT_EQ(kind_of(published), phase == model::Phase::owned ? "refused" : "ok");
        EXPECT_EQ(must(catalog().vm(made.vm.id)), now);
    }
}

TEST_P(CatalogSnapshots, children_of_a_removed_one_get_its_parent) {
    const auto root = publish_new(catalog(), "web1", "root");
    const auto middle = publish_child(catalog(), root, "middle", 1);
    auto leaf = some_snapshot(root.vm, "leaf", 2, middle.id);
    must(catalog().publish_snapshot(root.vm, leaf, {}, {}, std::nullopt));
    must(catalog().remove_snapshot(middle.id));
    leaf.parent = root.snapshot.id;
    EXPECT_THAT(must(catalog().snapshots(root.vm.id)), ElementsAre(root.snapshot, leaf));
    EXPECT_EQ(kind_of(catalog().definition(middle.id)), "not_found");
    must(catalog().remove_snapshot(root.snapshot.id));
    leaf.parent.reset();
    EXPECT_THAT(must(catalog().snapshots(root.vm.id)), ElementsAre(leaf));
    must(catalog().remove_snapshot(root.snapshot.id));  // a step that is run again
}

TEST_P(CatalogSnapshots, a_held_one_is_not_removed_and_the_refusal_says_by_what) {
    const auto peer = some_peer("dr");
    must(catalog().save_peer(peer));
    const auto unknown_peer = ClusterId::random();
    const auto made = publish_new(catalog(), "web1", "nightly");
    const auto refusal = [&](HoldKind kind, const std::string& detail) {
        const model::Hold hold{made.snapshot.id, kind, detail};
        must(catalog().add_hold(hold));
        const auto refused = catalog().remove_snapshot(made.snapshot.id);
        EXPECT_EQ(kind_of(refused), "refused");
        EXPECT_EQ(must(catalog().snapshot(made.snapshot.id)), made.snapshot);
        must(catalog().remove_hold(hold));
        return refused ? std::string() : refused.error().text();
    };
    EXPECT_THAT(refusal(HoldKind::base, peer.id.text()),
                HasSubstr("snapshot 'nightly' is the base for peer dr. Send a newer snapshot"));
    EXPECT_THAT(refusal(HoldKind::base, unknown_peer.text()), HasSubstr(unknown_peer.text()));
    EXPECT_THAT(refusal(HoldKind::transfer, "7f3a"), HasSubstr("in use by transfer 7f3a"));
    EXPECT_THAT(refusal(HoldKind::user, "audit"), HasSubstr("held by an operator: audit"));
    must(catalog().remove_snapshot(made.snapshot.id));
}

TEST_P(CatalogSnapshots, a_head_made_on_a_removed_one_stands_on_its_parent) {
    const auto root = publish_new(catalog(), "web1", "root");
    auto vm = root.vm;
    const auto other = some_vm("other");
    must(catalog().save_vm(other));
    const auto top = some_snapshot(vm, "top", 1, root.snapshot.id);
    vm.head_parent = top.id;
    must(catalog().publish_snapshot(vm, top, some_definition(), {}, std::nullopt));
    EXPECT_EQ(must(catalog().vm(vm.id)).head_parent, top.id);
    must(catalog().remove_snapshot(top.id));
    EXPECT_EQ(must(catalog().vm(vm.id)).head_parent, root.snapshot.id);
    must(catalog().remove_snapshot(root.snapshot.id));
    EXPECT_EQ(must(catalog().vm(vm.id)).head_parent, std::nullopt);
    EXPECT_EQ(must(catalog().vm(other.id)), other);
}

class CatalogHolds : public CatalogTest {};
EVERY_CATALOG(CatalogHolds);

TEST_P(CatalogHolds, are_added_and_removed_idempotently) {
    const auto made = publish_new(catalog(), "web1", "nightly");
    const model::Hold user{made.snapshot.id, HoldKind::user, "audit"};
    const model::Hold transfer{made.snapshot.id, HoldKind::transfer, "7f3a"};
    for (const auto& hold : {user, transfer, user, transfer}) must(catalog().add_hold(hold));
    EXPECT_THAT(must(catalog().holds(made.vm.id)), ElementsAre(transfer, user));
    must(catalog().remove_hold(user));
    must(catalog().remove_hold(user));
    EXPECT_THAT(must(catalog().holds(made.vm.id)), ElementsAre(transfer));
    EXPECT_EQ(kind_of(catalog().add_hold({SnapshotId::random(), HoldKind::user, ""})), "not_found");
}

TEST_P(CatalogHolds, the_base_hold_of_a_peer_moves_and_those_of_others_stay) {
    const auto made = publish_new(catalog(), "web1", "first");
    const auto second = publish_child(catalog(), made, "second", 1);
    const auto peer = ClusterId::random();
    const auto other = ClusterId::random();
    must(catalog().add_hold({made.snapshot.id, HoldKind::base, other.text()}));
    must(catalog().move_base_hold(made.vm.id, peer, made.snapshot.id));
    must(catalog().move_base_hold(made.vm.id, peer, second.id));
    must(catalog().move_base_hold(made.vm.id, peer, second.id));
    EXPECT_THAT(must(catalog().holds(made.vm.id)),
                ElementsAre(model::Hold{made.snapshot.id, HoldKind::base, other.text()},
                            model::Hold{second.id, HoldKind::base, peer.text()}));
    const auto elsewhere = publish_new(catalog(), "web2", "first");
    EXPECT_EQ(kind_of(catalog().move_base_hold(made.vm.id, peer, elsewhere.snapshot.id)),
              "not_found");
    EXPECT_EQ(must(catalog().holds(made.vm.id)).size(), 2U);
}

TEST_P(CatalogHolds, saving_a_replication_moves_the_base_hold_with_it) {
    const auto made = publish_new(catalog(), "web1", "first");
    const auto second = publish_child(catalog(), made, "second", 1);
    const auto peer = ClusterId::random();
    model::Replication replication{made.vm.id, peer, made.snapshot.id, at(0), at(7), "[]"};
    must(catalog().save_replication(replication));
    replication.snapshot = second.id;
    replication.snapshot_taken = second.taken;
    replication.sent = at(8);
    replication.readiness = R"([{"severity":"warns"}])";
    must(catalog().save_replication(replication));
    const auto found = must(catalog().replications(made.vm.id));
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(json(found[0]), json(replication));
    EXPECT_THAT(must(catalog().holds(made.vm.id)),
                ElementsAre(model::Hold{second.id, HoldKind::base, peer.text()}));
    replication.snapshot = SnapshotId::random();
    EXPECT_EQ(kind_of(catalog().save_replication(replication)), "not_found");
    EXPECT_THAT(must(catalog().replications(VmId::random())), IsEmpty());
}

}  // namespace
}  // namespace understudy::test
