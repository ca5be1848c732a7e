#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

class CatalogValues : public CatalogTest {};
EVERY_CATALOG(CatalogValues);

std::vector<std::string> odd_names() {
    std::string control;
    for (char c = 1; c < 32; ++c) control += c;
    return {"it's \"quoted\" `here` \\ and \\'",
            "'; DROP TABLE tasks; --",
            "x') ON CONFLICT DO NOTHING; DELETE FROM vms; --",
            ":id :name ? $1 %s {} %",
            "Ünïcödé 雪 🎭 e\u0301 \u202e",
            control + "\x7f",
            std::string(100'000, 'n'),
            " ",
            ""};
}

TEST_P(CatalogValues, any_text_comes_back_as_it_was) {
    for (const auto& name : odd_names()) {
        SCOPED_TRACE(name.substr(0, 60));
        auto peer = some_peer(name);
        peer.networks = {{name, name}};
        peer.capabilities.features = {name};
        must(catalog().save_peer(peer));
        EXPECT_EQ(must(catalog().find_peer_by_fingerprint(peer.fingerprint)), peer);

        auto vm = some_vm(name);
        vm.disks[0].pool = name;
        auto snapshot = some_snapshot(vm, name, 0);
        snapshot.disks[1].target = name;
        const model::Hold hold{snapshot.id, model::HoldKind::user, name};
        must(catalog().publish_snapshot(vm, snapshot, {name, name}, {hold}, std::nullopt));
        EXPECT_EQ(must(catalog().vm(vm.id)), vm);
        EXPECT_EQ(must(catalog().snapshot(snapshot.id)), snapshot);
        EXPECT_EQ(must(catalog().definition(snapshot.id)), (model::Definition{name, name}));
        EXPECT_EQ(must(catalog().holds(vm.id)), std::vector{hold});
        must(catalog().remove_hold(hold));
        EXPECT_TRUE(must(catalog().holds(vm.id)).empty());

        auto task = some_task(vm.id, 0);
        task.title = task.memo = task.progress.note = task.error = name;
        must(catalog().add_task(task));
        EXPECT_EQ(json(must(catalog().task(task.id))), json(task));
        const auto claimed = must(catalog().claim_task(name, at(1), Duration(1), {}));
        ASSERT_TRUE(claimed);
        EXPECT_EQ(claimed->lease_node, name);
        must(catalog().renew_lease(task.id, name, at(1'000'000)));
        must(catalog().add_invite(name, at(9)));
        EXPECT_TRUE(must(catalog().take_invite(name, at(1))));
    }
    EXPECT_EQ(must(catalog().vms()).size(), odd_names().size());
    EXPECT_EQ(must(catalog().tasks({})).size(), odd_names().size());
}

TEST_P(CatalogValues, a_large_definition_comes_back_byte_for_byte) {
    model::Definition large;
    large.nvram.resize(std::size_t{1} << 20);
    for (std::size_t i = 0; i < large.nvram.size(); ++i)
        large.nvram[i] = static_cast<char>(i * 2654435761U >> 11);
    large.domain_xml = "<domain>" + std::string(300'000, 'x') + "</domain>";
    const auto vm = some_vm("uefi");
    const auto snapshot = some_snapshot(vm, "nightly", 0);
    auto transfer = some_transfer(vm, snapshot);
    transfer.request.definition = large;
    must(catalog().add_transfer(transfer));
    EXPECT_EQ(must(catalog().transfer(transfer.id)).request.definition, large);
    must(catalog().publish_snapshot(vm, snapshot, large, {}, transfer.id));
    EXPECT_EQ(must(catalog().definition(snapshot.id)), large);
}

TEST_P(CatalogValues, numbers_come_back_whole_and_impossible_ones_are_refused) {
    constexpr std::uint64_t kLargest = (std::uint64_t{1} << 63) - 1;
    auto vm = some_vm("web1");
    vm.ownership.epoch = kLargest;
    must(catalog().save_vm(vm));
    EXPECT_EQ(must(catalog().vm(vm.id)).ownership.epoch, kLargest);
    auto other = some_vm("web2");
    other.ownership.epoch = kLargest + 1;
    EXPECT_EQ(kind_of(catalog().save_vm(other)), "invalid");
    EXPECT_EQ(must(catalog().vms()).size(), 1U);
    auto snapshot = some_snapshot(vm, "before 1970", 0);
    snapshot.taken = TimePoint(Duration(-1));
    must(catalog().publish_snapshot(vm, snapshot, {}, {}, std::nullopt));
    EXPECT_EQ(must(catalog().snapshot(snapshot.id)).taken, snapshot.taken);
}

TEST_P(CatalogValues, a_text_with_a_nul_is_refused_whole) {
    auto vm = some_vm(std::string("a\0b", 3));
    EXPECT_EQ(kind_of(catalog().save_vm(vm)), "invalid");
    EXPECT_TRUE(must(catalog().vms()).empty());
}

}  // namespace
}  // namespace understudy::test
