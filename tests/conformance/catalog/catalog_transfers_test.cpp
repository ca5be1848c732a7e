#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

class CatalogTransfers : public CatalogTest {};
EVERY_CATALOG(CatalogTransfers);

TEST_P(CatalogTransfers, come_back_whole_by_id_and_by_snapshot) {
    const auto vm = some_vm("web1");
    const auto transfer = some_transfer(vm, some_snapshot(vm, "nightly", 0));
    auto second = some_transfer(vm, some_snapshot(vm, "later", 1));
    second.created = at(-1);
    second.request.base.reset();
    must(catalog().add_transfer(transfer));
    must(catalog().add_transfer(second));
    const auto found = must(catalog().transfer(transfer.id));
    EXPECT_EQ(json(found), json(transfer));
    EXPECT_EQ(found.request.definition, transfer.request.definition);
    const auto by_snapshot = must(catalog().find_transfer(vm.id, second.request.snapshot.id));
    ASSERT_TRUE(by_snapshot);
    EXPECT_EQ(json(*by_snapshot), json(second));
    const auto all = must(catalog().transfers());
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].id, second.id) << "oldest first";
    EXPECT_EQ(must(catalog().find_transfer(VmId::random(), second.request.snapshot.id)),
              std::nullopt);
    EXPECT_EQ(kind_of(catalog().transfer(TransferId::random())), "not_found");
}

TEST_P(CatalogTransfers, there_is_one_per_snapshot) {
    const auto vm = some_vm("web1");
    const auto transfer = some_transfer(vm, some_snapshot(vm, "nightly", 0));
    must(catalog().add_transfer(transfer));
    auto again = transfer;
    again.id = TransferId::random();
    EXPECT_EQ(kind_of(catalog().add_transfer(again)), "conflict");
    EXPECT_EQ(must(catalog().transfers()).size(), 1U);
}

TEST_P(CatalogTransfers, the_durable_point_moves_alone) {
    const auto vm = some_vm("web1");
    auto transfer = some_transfer(vm, some_snapshot(vm, "nightly", 0));
    must(catalog().add_transfer(transfer));
    transfer.durable = {3, ByteOffset(std::uint64_t{1} << 40)};
    transfer.received = GiB(900);
    transfer.updated = at(77);
    must(catalog().save_durable(transfer.id, transfer.durable, transfer.received, at(77)));
    EXPECT_EQ(json(must(catalog().transfer(transfer.id))), json(transfer));
    EXPECT_EQ(kind_of(catalog().save_durable(TransferId::random(), {}, {}, at(0))), "not_found");
}

TEST_P(CatalogTransfers, are_removed_idempotently) {
    const auto vm = some_vm("web1");
    const auto transfer = some_transfer(vm, some_snapshot(vm, "nightly", 0));
    must(catalog().add_transfer(transfer));
    must(catalog().remove_transfer(transfer.id));
    must(catalog().remove_transfer(transfer.id));
    EXPECT_TRUE(must(catalog().transfers()).empty());
}

TEST_P(CatalogTransfers, end_with_what_they_held) {
    const auto vm = some_vm("web1");
    const auto base = some_snapshot(vm, "base", 0);
    must(catalog().publish_snapshot(vm, base, {}, {}, std::nullopt));
    for (const bool published : {true, false}) {
        const auto next = some_snapshot(vm, published ? "next" : "given up", 1);
        const auto transfer = some_transfer(vm, next);
        must(catalog().add_transfer(transfer));
        must(catalog().add_hold({base.id, model::HoldKind::transfer, transfer.id.text()}));
        const model::Hold other{base.id, model::HoldKind::transfer, "another"};
        must(catalog().add_hold(other));
        if (published)
            must(catalog().publish_snapshot(vm, next, {}, {}, transfer.id));
        else
            must(catalog().remove_transfer(transfer.id));
        EXPECT_EQ(must(catalog().holds(vm.id)), std::vector{other});
    }
}

TEST_P(CatalogTransfers, hold_their_base_from_their_beginning_to_their_end) {
    const auto base = publish_new(catalog(), "web1", "nightly");
    const auto of_base = [&](const std::string& name) {
        auto made = some_transfer(base.vm, some_snapshot(base.vm, name, 5));
        made.request.base = base.snapshot.id;
        return made;
    };
    const auto abandoned = of_base("later");
    must(catalog().add_transfer(abandoned));
    EXPECT_EQ(kind_of(catalog().remove_snapshot(base.snapshot.id)), "refused");
    must(catalog().remove_transfer(abandoned.id));
    EXPECT_TRUE(must(catalog().holds(base.vm.id)).empty());
    const auto whole = of_base("newest");
    must(catalog().add_transfer(whole));
    must(catalog().publish_snapshot(base.vm, whole.request.snapshot, whole.request.definition, {},
                                    whole.id));
    EXPECT_TRUE(must(catalog().holds(base.vm.id)).empty());
    EXPECT_EQ(kind_of(catalog().remove_snapshot(base.snapshot.id)), "ok");
}

}  // namespace
}  // namespace understudy::test
