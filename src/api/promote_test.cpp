#include "api/replica_site_test.hpp"

// Promotes that look whether the guest comes up, run to their end over memory drivers.

namespace understudy::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OperatorsPromote : public ReplicaSite {
protected:
    OperatorsPromote() { site_.evidence = evidence_; }
    Answered promote(const nlohmann::json& body) {
        return ask("POST", "/v1/replicas/vm7/promote", body.dump());
    }
    bool runs() {
        const auto vms = must(hypervisor_.list());
        return vms.size() == 1 && vms[0].state == ports::VmState::running;
    }
};

TEST_F(OperatorsPromote, tells_what_was_seen_of_a_guest_that_comes_up) {
    const auto task = ended(promote({{"check", true}}));
    EXPECT_EQ(task.at("state"), "succeeded") << task.at("error");
    EXPECT_THAT(task.at("result").at("checked"), HasSubstr("the guest agent answered"));
    EXPECT_EQ(task.at("result").at("epoch"), 2);
    EXPECT_TRUE(runs());
    EXPECT_THAT(evidence_->files, IsEmpty());
}

TEST_F(OperatorsPromote, of_a_guest_that_does_not_come_up_fails_and_leaves_it_running) {
    hypervisor_.set_boots(false);
    const auto task = ended(promote({{"check", true}}));
    EXPECT_EQ(task.at("state"), "failed");
    EXPECT_EQ(task.at("error_kind"), "unsupported");
    EXPECT_THAT(task.at("error").get<std::string>(),
                AllOf(HasSubstr("is owned and was started here, but did not come up"),
                      HasSubstr("no older point here"), HasSubstr("evidence in /drills/")));
    EXPECT_THAT(evidence_->files["result.json"], HasSubstr("\"passed\": false"));
    EXPECT_TRUE(runs());
    const auto vm = must(catalog_->vm(replica_.vm));
    EXPECT_EQ(vm.ownership, (model::Ownership{2, here_.id, model::Phase::owned}));
}

TEST_F(OperatorsPromote, what_cannot_be_looked_for_is_refused_before_anything_is_queued) {
    EXPECT_EQ(promote({{"check", true}, {"wait", "console=login:"}}).kind(), "invalid");
    EXPECT_EQ(promote({{"check", true}, {"wait", "prayer"}}).kind(), "invalid");
    EXPECT_EQ(promote({{"check", true}, {"start", false}}).kind(), "invalid");
    EXPECT_EQ(promote({{"check", true}, {"limit_ms", 86'400'001}}).kind(), "invalid");
    EXPECT_THAT(must(catalog_->tasks({})), IsEmpty());
}

}  // namespace
}  // namespace understudy::api
