#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

// Several replicas promoted with one command.

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

json preview_of(const std::string& vm, json issues = json::array()) {
    return {{"promotion",
             {{"vm", vm},
              {"snapshot", {{"id", vm + "-point"}, {"name", "nightly"}, {"consistency", "crash"}}},
              {"age_ms", 252000},
              {"owner_name", "home"},
              {"last_contact", nullptr},
              {"epoch", 2},
              {"issues", std::move(issues)},
              {"changes", json::array()}}}};
}

json replica_of(const std::string& vm, const std::string& owner, const char* phase = "replica") {
    return {{"id", vm}, {"name", vm}, {"owner_name", owner}, {"ownership", {{"phase", phase}}}};
}

const json kBlocked{{{"severity", "blocks"}, {"key", "network:lan"}, {"text", "not mapped"}}};

class PromoteSeveral : public ::testing::Test {
protected:
    PromoteSeveral() {
        auto& api = program_.api;
        api.answer(
            "GET /v1/replicas",
            {{"replicas",
              {replica_of("a", "home"), replica_of("b", "home"), replica_of("c", "other")}}});
        for (const char* vm : {"a", "b", "c"}) {
            const std::string path = std::string("/v1/replicas/") + vm + "/promote";
            api.answer("GET " + path, preview_of(vm));
            api.answer("POST " + path, {{"task", task(vm, "queued")}});
        }
        ends("a", "succeeded");
        ends("b", "succeeded");
        ends("c", "succeeded");
    }
    static json task(const std::string& vm, const std::string& state) {
        auto made = task_json(state, "promote " + vm);
        made["id"] = vm + "-task";
        if (state == "failed") made["error"] = "no CPU like that";
        if (state == "failed") made["error_kind"] = "unsupported";
        if (state == "succeeded")
            made["result"] = {{"vm", vm}, {"epoch", 2}, {"started", true}, {"rto_ms", 1300}};
        return made;
    }
    void ends(const std::string& vm, const std::string& state) {
        auto& script = program_.api.script["GET /v1/tasks/" + vm + "-task"];
        script.clear();
        script.emplace_back(json{{"task", task(vm, state)}, {"progress_mark", "9"}});
    }
    std::size_t posts() {
        std::size_t count = 0;
        for (const auto& call : program_.api.calls) count += call.method == "POST";
        return count;
    }

    Program program_;
};

TEST_F(PromoteSeveral, of_one_peer_asks_once_and_tells_what_became_of_each) {
    const auto ran = program_.on_terminal({"replica", "promote", "--all", "--peer", "home"}, "2\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(posts(), 2U);
    EXPECT_THAT(ran.err, AllOf(HasSubstr("4 m 12 s"), HasSubstr("how many VMs are promoted (2)"),
                               Not(HasSubstr("c-point"))));
    EXPECT_THAT(ran.out, AllOf(HasSubstr("a     runs here  2      1.3 s"),
                               HasSubstr("b     runs here  2      1.3 s")));
}

TEST_F(PromoteSeveral, pins_what_was_shown) {
    program_.run({"replica", "promote", "a", "b", "-y"});
    for (const auto& call : program_.api.calls)
        if (call.method == "POST") {
            const auto body = json::parse(call.body);
            EXPECT_THAT(body.at("snapshot").get<std::string>(), HasSubstr("-point"));
        }
}

TEST_F(PromoteSeveral, does_nothing_when_it_is_not_agreed_to) {
    EXPECT_EQ(program_.on_terminal({"replica", "promote", "a", "b"}, "yes\n").code, 1);
    EXPECT_EQ(posts(), 0U);
    EXPECT_EQ(program_.run({"replica", "promote", "a", "b", "--dry-run"}).code, 0);
    EXPECT_EQ(posts(), 0U);
}

TEST_F(PromoteSeveral, one_failure_stops_none_of_the_others) {
    ends("a", "failed");
    const auto ran = program_.run({"replica", "promote", "a", "b", "-y"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(posts(), 2U);
    EXPECT_THAT(ran.out, AllOf(HasSubstr("a     FAILED"), HasSubstr("b     runs here"),
                               HasSubstr("a: no CPU like that")));
    EXPECT_THAT(ran.err, HasSubstr("1 of 2 were not promoted as wished: a"));
}

TEST_F(PromoteSeveral, what_is_not_ready_stays_a_replica_unless_it_is_accepted_by_name) {
    auto& script = program_.api.script["GET /v1/replicas/b/promote"];
    script.clear();
    script.emplace_back(preview_of("b", kBlocked));
    const auto ran = program_.run({"replica", "promote", "a", "b", "-y"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(posts(), 1U);
    EXPECT_THAT(ran.out,
                AllOf(HasSubstr("b     not promoted"), HasSubstr("b: not ready: network:lan")));
    program_.run({"replica", "promote", "a", "b", "-y", "--accept", "network:lan"});
    EXPECT_EQ(posts(), 3U);
}

TEST_F(PromoteSeveral, that_are_all_refused_end_with_3) {
    for (const char* vm : {"a", "b"}) {
        auto& script = program_.api.script[std::string("GET /v1/replicas/") + vm + "/promote"];
        script.clear();
        script.emplace_back(preview_of(vm, kBlocked));
    }
    EXPECT_EQ(program_.run({"replica", "promote", "a", "b", "-y"}).code, 3);
    EXPECT_EQ(program_.run({"replica", "promote", "a", "nobody", "-y"}).code, 1);
    EXPECT_EQ(posts(), 0U);
}

TEST_F(PromoteSeveral, takes_no_wish_that_goes_with_no_other) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"--all", "a"},
                                                  {"a", "--peer", "home"},
                                                  {},
                                                  {"a", "b", "--snapshot", "n"},
                                                  {"a", "--wait", "agent"},
                                                  {"a", "--timeout", "1m"},
                                                  {"a", "--check", "--no-start"},
                                                  {"a", "--check", "--timeout", "0s"}}) {
        std::vector<std::string> all{"replica", "promote", "-y"};
        all.insert(all.end(), words.begin(), words.end());
        EXPECT_EQ(program_.run(all).code, 2) << ::testing::PrintToString(words);
    }
    EXPECT_EQ(posts(), 0U);
}

TEST_F(PromoteSeveral, in_json_is_one_document) {
    ends("a", "failed");
    const auto ran = program_.run({"replica", "promote", "a", "b", "-y", "--format=json"});
    const auto all = ran.json().at("promotions");
    ASSERT_EQ(all.size(), 2U);
    EXPECT_THAT(all[0].at("error").get<std::string>(), HasSubstr("no CPU like that"));
    EXPECT_EQ(all[1].at("error"), nullptr);
    EXPECT_EQ(all[1].at("task").at("state"), "succeeded");
}

}  // namespace
}  // namespace understudy::cli
