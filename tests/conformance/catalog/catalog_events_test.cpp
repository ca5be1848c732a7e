#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using testing::IsEmpty;

class CatalogEvents : public CatalogTest {};
EVERY_CATALOG(CatalogEvents);

model::Event event(const std::string& text, std::int64_t ms) {
    model::Event made;
    made.time = at(ms);
    made.actor = "root (uid 0)";
    made.kind = "asked";
    made.vm = VmId::random();
    made.text = text;
    return made;
}

TEST_P(CatalogEvents, are_numbered_and_chained_in_the_order_in_which_they_came) {
    EXPECT_EQ(must(catalog().last_event()), 0);
    EXPECT_EQ(must(catalog().first_broken_event()), std::nullopt);
    const auto first = event("one", 5);
    must(catalog().add_event(first));
    must(catalog().add_event(event("two", 3)));
    EXPECT_EQ(must(catalog().last_event()), 2);
    const auto all = must(catalog().events(0, 10));
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].sequence, 1);
    EXPECT_EQ(all[0].text, "one");
    EXPECT_EQ(all[0].vm, first.vm);
    EXPECT_EQ(all[0].time, first.time);
    EXPECT_EQ(all[1].sequence, 2);
    EXPECT_NE(all[0].hash, all[1].hash);
    EXPECT_EQ(all[0].hash.size(), 64U);
    EXPECT_EQ(must(catalog().events(1, 10)).size(), 1U);
    EXPECT_EQ(must(catalog().events(0, 1)).front().text, "one");
    EXPECT_THAT(must(catalog().events(2, 10)), IsEmpty());
    EXPECT_EQ(must(catalog().first_broken_event()), std::nullopt);
}

TEST_P(CatalogEvents, a_change_of_owner_and_its_event_are_one) {
    const auto vm = some_vm("web");
    must(catalog().save_vm(vm));
    const model::Ownership next{8, ClusterId::random(), model::Phase::owned};
    must(catalog().set_ownership(vm.id, vm.ownership, next, event("promoted", 1)));
    EXPECT_EQ(must(catalog().events(0, 10)).front().text, "promoted");
    EXPECT_EQ(kind_of(catalog().set_ownership(vm.id, vm.ownership, next, event("again", 2))),
              "conflict");
    EXPECT_EQ(must(catalog().last_event()), 1) << "what did not happen has no event";
}

}  // namespace
}  // namespace understudy::test
