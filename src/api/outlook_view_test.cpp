#include "api/replica_site_test.hpp"

// `replica list`: what would come back, and what to do next.

namespace understudy::api {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ReplicaList : public ReplicaSite {
protected:
    json listed() { return ask("GET", "/v1/replicas").body; }
    json entry() { return listed().at("replicas").at(0); }
    // Its newest snapshot is from some time before now.
    Duration age() { return Duration(entry().at("age_ms").get<std::int64_t>()); }
};

TEST_F(ReplicaList, says_in_one_sentence_what_would_come_back) {
    const auto summary = listed().at("summary").at(0);
    EXPECT_EQ(summary.at("peer"), "dr");
    EXPECT_EQ(summary.at("come_back"), 1);
    EXPECT_EQ(summary.at("undrilled"), 1);
    EXPECT_EQ(summary.at("slowest_ms"), nullptr) << "unknown is said as unknown";
    EXPECT_THAT(summary.at("text"), HasSubstr("If 'dr' were lost now, its one VM here would"));
}

TEST_F(ReplicaList, measures_a_point_by_the_target_of_its_vm) {
    const auto old = age();
    site_.settings.recovery.rpo_target = old + Duration(1);
    EXPECT_FALSE(entry().at("late"));
    EXPECT_EQ(entry().at("next"), "understudy replica drill vm7");
    site_.settings.recovery.rpo_targets["vm7"] = old - Duration(1);
    EXPECT_TRUE(entry().at("late"));
    EXPECT_EQ(entry().at("rpo_target_ms"), (old - Duration(1)).count());
    EXPECT_EQ(entry().at("next"), "on dr: understudy vm snapshot send vm7");
    EXPECT_EQ(listed().at("summary").at(0).at("late"), 1);
}

TEST_F(ReplicaList, names_what_is_in_the_way_and_the_command_that_mends_it) {
    site_.settings.recovery.rpo_target = age() + Duration(1);
    hypervisor_.set_adapt_issues({{model::Severity::blocks, "network:lan 1", "not here"}});
    EXPECT_EQ(entry().at("next"), "understudy peer map dr network 'lan 1'=HERE");
    EXPECT_THAT(listed().at("summary").at(0).at("text"), HasSubstr("vm7 (network:lan 1 is in"));
    hypervisor_.set_adapt_issues({{model::Severity::blocks, "tpm", "none here"}});
    EXPECT_EQ(entry().at("next"), "understudy replica info vm7");
}

TEST_F(ReplicaList, has_the_vms_that_wait_for_a_decision_beside_the_replicas) {
    auto vm = must(catalog_->vm(replica_.vm));
    const model::Ownership superseded{1, dr_.id, model::Phase::superseded};
    model::Event event;
    must(catalog_->set_ownership(vm.id, vm.ownership, superseded, event));
    const auto seen = listed();
    EXPECT_TRUE(seen.at("replicas").empty());
    EXPECT_TRUE(seen.at("summary").empty());
    EXPECT_EQ(seen.at("unsettled").at(0).at("state"), "superseded");
    EXPECT_EQ(seen.at("unsettled").at(0).at("next"), "understudy replica resolve vm7 --keep-there");
}

}  // namespace
}  // namespace understudy::api
