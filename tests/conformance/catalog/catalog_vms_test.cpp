#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CatalogVms : public CatalogTest {};
EVERY_CATALOG(CatalogVms);

TEST_P(CatalogVms, are_listed_by_name_and_come_back_whole) {
    const auto web = some_vm("web");
    const auto db = some_vm("db");
    must(catalog().save_vm(web));
    must(catalog().save_vm(db));
    EXPECT_THAT(must(catalog().vms()), ElementsAre(db, web));
    EXPECT_EQ(must(catalog().vm(web.id)), web);
    EXPECT_EQ(must(catalog().find_vm(db.id)), db);
    EXPECT_EQ(must(catalog().find_vm(VmId::random())), std::nullopt);
    EXPECT_EQ(kind_of(catalog().vm(VmId::random())), "not_found");
}

TEST_P(CatalogVms, saving_one_again_replaces_all_but_its_ownership) {
    auto vm = some_vm("web");
    must(catalog().save_vm(vm));
    const auto ownership = vm.ownership;
    vm.name = "renamed";
    vm.autostart = false;
    vm.disks.pop_back();
    vm.ownership = {99, ClusterId::random(), model::Phase::owned};
    must(catalog().save_vm(vm));
    vm.ownership = ownership;
    EXPECT_EQ(must(catalog().vm(vm.id)), vm);
}

TEST_P(CatalogVms, ownership_changes_only_from_what_was_expected) {
    const auto vm = some_vm("web");
    must(catalog().save_vm(vm));
    const model::Ownership next{8, ClusterId::random(), model::Phase::owned};
    auto wrong_epoch = vm.ownership;
    wrong_epoch.epoch = 6;
    auto wrong_owner = vm.ownership;
    wrong_owner.owner = ClusterId::random();
    auto wrong_phase = vm.ownership;
    wrong_phase.phase = model::Phase::superseded;
    for (const auto& wrong : {wrong_epoch, wrong_owner, wrong_phase}) {
        const auto refused = catalog().set_ownership(vm.id, wrong, next, {});
        ASSERT_EQ(kind_of(refused), "conflict");
        EXPECT_THAT(refused.error().text(), HasSubstr("replica at epoch 7"));
        EXPECT_EQ(must(catalog().vm(vm.id)).ownership, vm.ownership);
    }
    must(catalog().set_ownership(vm.id, vm.ownership, next, {}));
    EXPECT_EQ(must(catalog().vm(vm.id)).ownership, next);
    EXPECT_EQ(kind_of(catalog().set_ownership(VmId::random(), next, next, {})), "not_found");
}

TEST_P(CatalogVms, removing_one_takes_all_that_refers_to_it_but_its_tasks) {
    const auto gone = publish_new(catalog(), "gone", "nightly");
    const auto stays = publish_new(catalog(), "stays", "nightly");
    const auto child = publish_child(catalog(), gone, "later", 1);
    const auto peer = ClusterId::random();
    for (const auto& made : {gone, stays}) {
        must(catalog().save_replication(
            {made.vm.id, peer, made.snapshot.id, made.snapshot.taken, at(1), "[]"}));
        must(catalog().add_transfer(some_transfer(made.vm, some_snapshot(made.vm, "coming", 9))));
    }
    must(catalog().add_hold({child.id, model::HoldKind::user, "keep"}));
    auto task = some_task(gone.vm.id, 0);
    must(catalog().add_task(task));
    must(catalog().append_log(task.id, at(2), "line"));

    must(catalog().remove_vm(gone.vm.id));
    EXPECT_EQ(must(catalog().find_vm(gone.vm.id)), std::nullopt);
    EXPECT_THAT(must(catalog().snapshots(gone.vm.id)), IsEmpty());
    EXPECT_EQ(kind_of(catalog().definition(gone.snapshot.id)), "not_found");
    EXPECT_THAT(must(catalog().holds(gone.vm.id)), IsEmpty());
    EXPECT_THAT(must(catalog().replications(gone.vm.id)), IsEmpty());
    EXPECT_EQ(must(catalog().task(task.id)).vm, gone.vm.id);
    EXPECT_EQ(must(catalog().task_log(task.id, 0, 10)).size(), 1U);
    // What belongs to the other VM is all there.
    EXPECT_THAT(must(catalog().vms()), ElementsAre(stays.vm));
    EXPECT_THAT(must(catalog().snapshots(stays.vm.id)), ElementsAre(stays.snapshot));
    EXPECT_EQ(must(catalog().holds(stays.vm.id)).size(), 1U);
    EXPECT_EQ(must(catalog().replications(std::nullopt)).size(), 1U);
    const auto transfers = must(catalog().transfers());
    ASSERT_EQ(transfers.size(), 1U);
    EXPECT_EQ(transfers[0].request.vm, stays.vm.id);
    must(catalog().remove_vm(gone.vm.id));  // a step that is run again
}

}  // namespace
}  // namespace understudy::test
