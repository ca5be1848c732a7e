#include "api/replica_site_test.hpp"
#include "model/json.hpp"
#include "tasks/drills/boot_check.hpp"
#include "tasks/drills/drilling.hpp"

// Drills through the operators' API, run to their end over memory drivers: what is asked for, what
// a console says, what is kept.

namespace understudy::api {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OperatorsDrill : public ReplicaSite {};

TEST_F(OperatorsDrill, is_kept_with_its_evidence_and_shown_with_its_age) {
    EXPECT_EQ(ask("GET", "/v1/replicas/vm7").body.at("/replica/drilled"_json_pointer), nullptr);
    const auto done = result(drilled());
    EXPECT_TRUE(done.at("passed").get<bool>());
    EXPECT_EQ(done.at("check"), "the guest agent");
    EXPECT_EQ(evidence_->files.count("result.json"), 1u);
    EXPECT_THAT(evidence_->files["screen.png"], HasSubstr("vm7-drill-"));
    EXPECT_THAT(evidence_->files["result.json"], HasSubstr("\"vm_name\": \"vm7\""));
    EXPECT_EQ(evidence_->consoles, 0);
    clock_.sleep(Duration(5000));
    const auto shown = ask("GET", "/v1/replicas/vm7").body.at("/replica/drilled"_json_pointer);
    EXPECT_GE(shown.at("age_ms"), 5000);
    EXPECT_EQ(shown.at("snapshot_name"), "first");
    EXPECT_THAT(shown.at("evidence").get<std::string>(), HasSubstr("/drills/"));
    EXPECT_THAT(ask("GET", "/v1/events").body.dump(), HasSubstr("drill vm7@first: passed"));
}

TEST_F(OperatorsDrill, one_at_a_time_of_a_vm_and_nothing_but_a_replicas) {
    EXPECT_EQ(drill().status, 202);
    EXPECT_EQ(drill().kind(), "conflict");
    add_vm("mine", 9);
    EXPECT_EQ(ask("POST", "/v1/replicas/mine/drill").kind(), "refused");
    EXPECT_EQ(ask("POST", "/v1/replicas/nobody/drill").kind(), "not_found");
}

TEST_F(OperatorsDrill, what_makes_no_sense_is_refused_before_anything_is_queued) {
    EXPECT_EQ(drill({{"wait", "tcp=22"}}).kind(), "invalid") << "without a network";
    EXPECT_EQ(drill({{"wait", "console=("}}).kind(), "invalid");
    EXPECT_EQ(drill({{"wait", 7}}).kind(), "invalid");
    EXPECT_EQ(drill({{"limit_ms", 86'400'001}}).kind(), "invalid");
    EXPECT_EQ(drill({{"network", std::string(300, 'n')}}).kind(), "invalid");
    EXPECT_EQ(drill({{"snapshot", "nightly"}}).kind(), "not_found");
    EXPECT_THAT(must(catalog_->tasks({})), IsEmpty());
}

TEST_F(OperatorsDrill, a_copy_is_no_vm_that_anything_can_be_done_to) {
    const auto id = drill().body.at("task").at("id").get<std::string>();
    hypervisor_.add(VmId(must(TaskId::parse(id)).bytes()), "vm7-drill-x", {});
    EXPECT_THAT(ask("GET", "/v1/vms").body.at("vms"), IsEmpty());
    EXPECT_EQ(ask("POST", "/v1/vms/vm7-drill-x/snapshots").kind(), "not_found");
    EXPECT_EQ(ask("POST", "/v1/vms/" + id + "/start").kind(), "not_found");
}

TEST_F(OperatorsDrill, keeps_the_guest_within_its_memory_and_the_host_alive) {
    hypervisor_.set_free_memory(base::MiB(300));  // 128 for the guest, and 256 to spare
    const auto task = drilled();
    EXPECT_EQ(task.at("error_kind"), "unavailable");
    EXPECT_THAT(task.at("error").get<std::string>(), HasSubstr("to spare"));
    EXPECT_THAT(must(hypervisor_.list()), IsEmpty());
}

TEST_F(OperatorsDrill, whose_evidence_cannot_be_kept_is_a_drill_all_the_same) {
    evidence_->full = true;
    const auto done = result(drilled());
    EXPECT_TRUE(done.at("passed").get<bool>());
    EXPECT_EQ(done.at("evidence"), "");
}

TEST_F(OperatorsDrill, the_host_runs_no_more_of_them_than_it_may) {
    site_.settings.drill.at_once = 0;
    drill();
    tasks::Runner runner(site_, tasks::all_kinds());
    EXPECT_FALSE(must(runner.run_one()));
    site_.settings.drill.at_once = 1;
    EXPECT_TRUE(must(runner.run_one()));
    drill();
    EXPECT_TRUE(must(runner.run_one())) << "the place is free again";
}

// A guest of the memory driver has a console when a drill asks for one.
TEST_F(OperatorsDrill, a_console_is_heard_across_what_is_read_at_a_time) {
    evidence_->said = {"booting\nweb1 log", "in: "};
    const auto done = result(drilled({{"wait", "console=^web1 login: $"}}));
    EXPECT_TRUE(done.at("passed").get<bool>()) << done;
    EXPECT_EQ(evidence_->files["console.txt"], "booting\nweb1 login: ");
}

TEST_F(OperatorsDrill, a_console_is_matched_line_by_line) {
    evidence_->said = {"not ready\r\n", "ready\n", std::string("x\0y\n", 4)};
    EXPECT_TRUE(result(drilled({{"wait", "console=^ready$"}})).at("passed").get<bool>());
    evidence_->said = {"one\ntwo\n"};
    EXPECT_FALSE(result(drilled({{"wait", "console=one.*two"}})).at("passed").get<bool>());
}

TEST_F(OperatorsDrill, of_a_console_without_end_the_tail_is_kept) {
    for (int i = 0; i < 10; ++i) evidence_->said.emplace_back(30'000, static_cast<char>('a' + i));
    EXPECT_FALSE(result(drilled({{"wait", "console=never"}})).at("passed").get<bool>());
    EXPECT_EQ(evidence_->files["console.txt"].size(), tasks::kConsoleTail);
    EXPECT_EQ(evidence_->files["console.txt"].back(), 'j');
}

TEST_F(OperatorsDrill, without_anything_to_ask_it_says_that_nothing_was_asked) {
    const auto done = result(drilled({{"wait", "none"}}));
    EXPECT_TRUE(done.at("passed").get<bool>());
    EXPECT_THAT(done.at("outcome").get<std::string>(), HasSubstr("nothing in it was asked"));
}

TEST_F(OperatorsDrill, that_libvirt_refuses_to_start_has_failed_and_says_why) {
    start_error_ = "CPU model EPYC is not supported";
    const auto done = result(drilled());
    EXPECT_FALSE(done.at("passed").get<bool>());
    EXPECT_THAT(done.at("outcome").get<std::string>(), HasSubstr("EPYC"));
    EXPECT_THAT(must(hypervisor_.list()), IsEmpty());
}

}  // namespace
}  // namespace understudy::api
