#include "api/replica_site_test.hpp"

// `replica resolve --as-new-vm`: what is asked for before a task is made, and of an old branch.

namespace understudy::api {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class NewLineApi : public ReplicaSite {
protected:
    NewLineApi() { site_.settings.default_pool = "vms"; }
    Answered resolve(json body) {
        if (!body.contains("keep")) body["keep"] = "there";
        return ask("POST", "/v1/replicas/vm7/resolve", body.dump());
    }
    void keep_branch() {
        must(catalog_->add_hold({replica_.snapshot.id, model::HoldKind::branch, "1"}));
    }
    std::size_t tasks() { return must(catalog_->tasks({std::nullopt, false, 1000})).size(); }
};

TEST_F(NewLineApi, of_a_branch_that_was_kept_a_vm_is_made_and_the_replica_stays_what_it_is) {
    keep_branch();
    const auto task = ended(resolve({{"as_new_vm", "before"}}));
    ASSERT_EQ(task.at("state"), "succeeded") << task;
    EXPECT_EQ(task.at("result").at("vm"), "before");
    EXPECT_EQ(task.at("result").at("started"), false);
    const auto made =
        must(catalog_->vm(must(VmId::parse(task.at("result").at("vm_id").get<std::string>()))));
    EXPECT_EQ(made.ownership, (model::Ownership{1, here_.id, model::Phase::owned}));
    EXPECT_FALSE(hypervisor_.runs(made.id));
    ASSERT_EQ(made.disks.size(), 1U);
    EXPECT_NE(made.disks[0].volume, replica_.snapshot.disks[0].volume);
    EXPECT_EQ(must(catalog_->vm(replica_.vm)).ownership.phase, model::Phase::replica);
    EXPECT_EQ(must(catalog_->holds(made.id)).size(), 0U);
}

TEST_F(NewLineApi, it_is_started_when_that_is_asked_for) {
    keep_branch();
    const auto task = ended(resolve({{"as_new_vm", "before"}, {"start_new_vm", true}}));
    ASSERT_EQ(task.at("state"), "succeeded") << task;
    EXPECT_EQ(task.at("result").at("started"), true);
    EXPECT_TRUE(
        hypervisor_.runs(must(VmId::parse(task.at("result").at("vm_id").get<std::string>()))));
}

TEST_F(NewLineApi, that_does_not_start_is_kept_whole_and_said_so) {
    keep_branch();
    start_error_ = "no memory for it";
    const auto task = ended(resolve({{"as_new_vm", "before"}, {"start_new_vm", true}}));
    EXPECT_EQ(task.at("state"), "failed");
    EXPECT_THAT(task.at("error").get<std::string>(),
                AllOf(HasSubstr("no memory for it"), HasSubstr("'before' here, whole and stopped"),
                      HasSubstr("understudy vm start before")));
    EXPECT_EQ(must(catalog_->vms()).size(), 2U);
}

TEST_F(NewLineApi, without_a_branch_there_is_nothing_to_make_it_of) {
    const auto before = tasks();
    const auto answer = resolve({{"as_new_vm", "before"}});
    EXPECT_EQ(answer.kind(), "refused");
    EXPECT_THAT(answer.text(), HasSubstr("no branch of it is kept"));
    EXPECT_EQ(tasks(), before);
}

TEST_F(NewLineApi, words_that_make_no_sense_are_refused_before_a_task_is_made) {
    keep_branch();
    const auto before = tasks();
    for (const auto& wrong : std::vector<json>{{{"as_new_vm", ""}},
                                               {{"as_new_vm", "a/b"}},
                                               {{"as_new_vm", "vm7"}},
                                               {{"as_new_vm", 7}},
                                               {{"as_new_vm", "x"}, {"keep", "here"}},
                                               {{"as_new_vm", "x"}, {"start_new_vm", "yes"}},
                                               {{"as_new_vm", "x"}, {"accept", "tpm"}}}) {
        const auto answer = resolve(wrong);
        EXPECT_GE(answer.status, 400) << wrong;
        EXPECT_LT(answer.status, 500) << wrong;
    }
    EXPECT_EQ(tasks(), before);
}

}  // namespace
}  // namespace understudy::api
