#include "api/operators.hpp"

#include "api/memory_site_test.hpp"
#include "tasks/queue/runner.hpp"

#include <fmt/format.h>

namespace understudy::api {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OperatorsApi : public MemorySite {
protected:
    OperatorsApi() { web1_ = add_vm("web1", 101); }
    std::size_t tasks() { return must(catalog_->tasks({std::nullopt, false, 1000})).size(); }

    // As a finished snapshot task leaves it.
    model::Snapshot snapshot_of(const VmId& id, const std::string& name) {
        model::Vm vm;
        vm.id = id;
        vm.name = "web1";
        vm.ownership = {1, here_.id, model::Phase::owned};
        auto request = request_from(here_, 101);
        request.snapshot.vm = id;
        request.snapshot.name = name;
        for (const auto& disk : request.snapshot.disks) {
            auto incoming =
                must(pool_->receive(disk.volume, {}, std::nullopt, request.snapshot.id, disk.size));
            must(incoming->publish());
        }
        must(catalog_->publish_snapshot(vm, request.snapshot, request.definition, {}, {}));
        return request.snapshot;
    }

    VmId web1_;
};

struct Call {
    const char* method;
    const char* target;
};
void PrintTo(const Call& call, std::ostream* out) {
    *out << call.method << ' ' << call.target;
}

class EveryCall : public OperatorsApi, public ::testing::WithParamInterface<Call> {
protected:
    EveryCall() {
        pair_with(dr_);
        snapshot_of(web1_, "one");
    }
};

// Whatever a body holds, the answer is a clean error or a success, in JSON, and never a defect.
TEST_P(EveryCall, answers_any_body_with_json_and_no_defect) {
    for (const char* body : {"",
                             "{}",
                             "[]",
                             "null",
                             "{",
                             "\"x\"",
                             "1e999",
                             "\xff\xfe",
                             "{\"a\":\"\\ud800\"}",
                             R"({"name": 5})",
                             R"({"name": {"a": []}})",
                             R"({"name": "\u0000"})",
                             R"({"token": []})",
                             R"({"ttl_ms": -5})",
                             R"({"ttl_ms": 1e300})",
                             R"({"limit_ms": -1})",
                             R"({"limit_ms": 99999999999999999999})",
                             R"({"rate_bytes": "fast"})",
                             R"({"networks": [1]})",
                             R"({"networks": {"a": 7}})",
                             R"({"pools": {"a": "nosuch"}})",
                             R"({"pools": "vms"})",
                             R"({"accept": "tpm"})",
                             R"({"accept": [1, null]})",
                             R"({"full": "yes"})",
                             R"({"base": 3})",
                             R"({"base": "nosuch"})",
                             R"({"channels": 0})",
                             R"({"channels": 17})",
                             R"({"peer": ["dr"]})",
                             R"({"snapshot": 9})",
                             R"({"freeze": 2})"}) {
        const auto answer = ask(GetParam().method, GetParam().target, body);
        SCOPED_TRACE(body);
        EXPECT_LT(answer.status, 500 + 4) << answer.body.dump();
        EXPECT_NE(answer.status, 500) << answer.body.dump();
        if (answer.status >= 400) {
            EXPECT_FALSE(answer.text().empty());
            EXPECT_NE(answer.kind(), "internal");
        }
    }
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    EXPECT_EQ(ask(GetParam().method, GetParam().target, deep).status, 400);
    EXPECT_EQ(ask(GetParam().method, GetParam().target,
                  R"({"name": ")" + std::string(1 << 20, 'x') + "\"}")
                      .status == 500,
              false);
}

constexpr Call kCalls[] = {
    {"POST", "/v1/cluster"},
    {"POST", "/v1/invites"},
    {"POST", "/v1/peers"},
    {"PUT", "/v1/peers/dr/map"},
    {"PUT", "/v1/peers/dr/limit"},
    {"POST", "/v1/vms/web1/start"},
    {"POST", "/v1/vms/web1/shutdown"},
    {"POST", "/v1/vms/web1/stop"},
    {"POST", "/v1/vms/web1/release"},
    {"POST", "/v1/vms/web1/snapshots"},
    {"POST", "/v1/vms/web1/snapshots/one/rollback"},
    {"POST", "/v1/vms/web1/snapshots/one/send"},
    {"POST", "/v1/vms/web1/snapshots/one/export"},
    {"POST", "/v1/imports"},
    {"POST", "/v1/replicas/web1/promote"},
    {"DELETE", "/v1/replicas/web1"},
    {"POST", "/v1/tasks/nosuch/cancel"},
    {"GET", "/v1/cluster"},
    {"GET", "/v1/tasks?limit=x"},
};
INSTANTIATE_TEST_SUITE_P(Table, EveryCall, ::testing::ValuesIn(kCalls));

TEST_F(OperatorsApi, names_what_it_does_not_know_and_how_to_list_it) {
    pair_with(dr_);
    const Call calls[] = {
        {"GET", "/v1/vms/nosuch"},
        {"POST", "/v1/vms/nosuch/start"},
        {"POST", "/v1/vms/nosuch/snapshots"},
        {"GET", "/v1/vms/nosuch/snapshots"},
        {"GET", "/v1/vms/web1/snapshots/nosuch"},
        {"POST", "/v1/vms/web1/snapshots/nosuch/send"},
        {"POST", "/v1/vms/web1/snapshots/nosuch/export"},
        {"DELETE", "/v1/vms/web1/snapshots/nosuch"},
        {"GET", "/v1/replicas/nosuch"},
        {"POST", "/v1/replicas/nosuch/promote"},
        {"GET", "/v1/peers/nosuch"},
        {"DELETE", "/v1/peers/nosuch"},
        {"PUT", "/v1/peers/nosuch/map"},
        {"GET", "/v1/tasks/nosuch"},
        {"POST", "/v1/tasks/nosuch/cancel"},
        {"GET", "/v1/tasks/nosuch/log"},
        {"GET", "/v1/tasks?vm=nosuch"},
    };
    for (const auto& call : calls) {
        const auto answer = ask(call.method, call.target);
        SCOPED_TRACE(call.target);
        EXPECT_EQ(answer.status, 404);
        EXPECT_EQ(answer.kind(), "not_found");
        EXPECT_NE(answer.body.value("/error/advice"_json_pointer, ""), "");
    }
    for (const auto* path :
         {"/", "/v1", "/v2/vms", "/v1/nosuch", "/v1/vms/web1/nosuch", "/v1/vms/"})
        EXPECT_EQ(ask("GET", path).status, 404) << path;
    EXPECT_EQ(ask("PATCH", "/v1/vms").status, 404);
    EXPECT_EQ(tasks(), 0U);
}

TEST_F(OperatorsApi, takes_names_of_any_letters_and_refuses_those_that_would_break_listings) {
    const auto create = [&](const std::string& name) {
        return ask("POST", "/v1/vms/web1/snapshots", json{{"name", name}}.dump()).status;
    };
    for (const auto* good : {"a", "two words", "Grüße 世界", "$(reboot); `id` | \"x\" 'y' & *",
                             "-n", "..", "%41", "a@b"})
        EXPECT_EQ(create(good), 202) << good;
    EXPECT_EQ(create(std::string(128, 'n')), 202);
    for (const auto* bad : {"a/b", "a\nb", "\x1b[31m", "\t", "\x7f", "@newest"})
        EXPECT_EQ(create(bad), 400) << bad;
    EXPECT_EQ(create(std::string(129, 'n')), 400);
    for (const auto& task : must(catalog_->tasks({std::nullopt, false, 1000})))
        EXPECT_THAT(task.title, HasSubstr("snapshot web1@"));
}

TEST_F(OperatorsApi, finds_a_vm_whose_name_would_act_in_a_shell_or_a_url) {
    const std::string name = "a b/../$(x)'\"%?#&ü";
    add_vm(name, 102);
    std::string encoded;
    for (const char c : name)
        encoded += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    const auto answer = ask("GET", "/v1/vms/" + encoded);
    ASSERT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body["vm"]["name"], name);
}

TEST_F(OperatorsApi, gives_a_guest_a_day_at_most_to_shut_down) {
    for (const auto* limit : {"0", "86400001", "86460000", "18446744073709551615"})
        EXPECT_EQ(ask("POST", "/v1/vms/web1/shutdown", fmt::format(R"({{"limit_ms": {}}})", limit))
                      .kind(),
                  "invalid")
            << limit;
    EXPECT_EQ(ask("POST", "/v1/vms/web1/shutdown", R"({"limit_ms": 86400000})").status, 200);
}

TEST_F(OperatorsApi, a_cluster_has_one_name) {
    EXPECT_EQ(ask("POST", "/v1/cluster", R"({"name": "here"})").status, 200);
    const auto other = ask("POST", "/v1/cluster", R"({"name": "there"})");
    EXPECT_EQ(other.kind(), "refused");
    EXPECT_THAT(other.text(), HasSubstr("cluster 'here' already"));
}

TEST_F(OperatorsApi, a_status_stays_whole_without_a_hypervisor) {
    hypervisor_.set_reachable(false);
    const auto status = ask("GET", "/v1/cluster");
    ASSERT_EQ(status.status, 200);
    EXPECT_EQ(status.body["hypervisor"]["ok"], false);
    EXPECT_NE(status.body["hypervisor"]["error"], "");
    EXPECT_EQ(ask("GET", "/v1/vms").kind(), "unavailable");
}

TEST_F(OperatorsApi, a_replica_is_neither_started_stopped_nor_snapshotted) {
    pair_with(dr_);
    const auto vm = receive_from(dr_, 7).vm_name;
    for (const auto* verb : {"start", "shutdown", "stop", "snapshots"}) {
        const auto answer = ask("POST", fmt::format("/v1/vms/{}/{}", vm, verb));
        EXPECT_EQ(answer.kind(), "refused") << verb;
        EXPECT_THAT(answer.body["error"]["advice"].get<std::string>(),
                    AnyOf(HasSubstr("replica promote"), HasSubstr("replica list")));
    }
    EXPECT_THAT(hypervisor_.starts(), IsEmpty());
}

TEST_F(OperatorsApi, maps_are_changed_shown_and_taken_back_and_name_only_pools_that_exist) {
    pair_with(dr_);
    auto answer = ask("PUT", "/v1/peers/dr/map",
                      R"({"networks": {"lan": "br0", "dmz": "br1"}, "pools": {"ssd": "vms"}})");
    ASSERT_EQ(answer.status, 200);
    answer = ask("PUT", "/v1/peers/dr/map", R"({"networks": {"lan": null}})");
    EXPECT_EQ(answer.body["peer"]["networks"], (json{{"dmz", "br1"}}));
    EXPECT_EQ(ask("PUT", "/v1/peers/dr/map", R"({"pools": {"ssd": "nosuch"}})").kind(),
              "not_found");
    EXPECT_EQ(ask("PUT", "/v1/peers/dr/map", R"({"networks": {"dmz": null, "x": 1}})").kind(),
              "invalid");
    const auto peers = ask("GET", "/v1/peers").body["peers"];
    ASSERT_EQ(peers.size(), 1U);
    EXPECT_EQ(peers[0]["networks"], (json{{"dmz", "br1"}}));
    EXPECT_EQ(peers[0]["pools"], (json{{"ssd", "vms"}}));
}

TEST_F(OperatorsApi, a_peer_that_is_needed_is_removed_only_by_force_and_the_refusal_says_what_for) {
    const auto peer = pair_with(dr_);
    receive_from(dr_, 7);
    const auto snapshot = snapshot_of(web1_, "one");
    must(catalog_->save_replication({.vm = web1_,
                                     .peer = peer.id,
                                     .snapshot = snapshot.id,
                                     .snapshot_taken = snapshot.taken,
                                     .sent = clock_.now(),
                                     .readiness = "[]"}));
    ASSERT_EQ(ask("POST", "/v1/vms/web1/snapshots/one/send", R"({"peer": "dr"})").status, 202);
    const auto refused = ask("DELETE", "/v1/peers/dr");
    EXPECT_EQ(refused.kind(), "refused");
    EXPECT_THAT(refused.text(), HasSubstr("1 replica of it is here"));
    EXPECT_THAT(refused.text(), HasSubstr("1 VM of this cluster is sent to it"));
    EXPECT_THAT(refused.text(), HasSubstr("1 send to it is not over"));
    EXPECT_EQ(ask("DELETE", "/v1/peers/dr?force=1").status, 200);
    EXPECT_EQ(ask("GET", "/v1/peers").body["peers"], json::array());
    EXPECT_EQ(must(catalog_->snapshots(web1_)).size(), 1U);
    const auto replicas = ask("GET", "/v1/replicas");
    EXPECT_EQ(replicas.body.value("replicas", json()).size(), 1U) << replicas.body.dump();
}

TEST_F(OperatorsApi, a_replica_that_cannot_be_adapted_here_says_so_and_hides_no_other) {
    pair_with(dr_);
    receive_from(dr_, 7);
    auto broken = request_from(dr_, 8);
    broken.definition.domain_xml = "no definition at all";
    const auto offer = must(receiving_.offer(dr_.id, broken));
    must(receiving_.join(dr_.id, offer.id, 1));
    must(receiving_.commit(dr_.id, offer.id, 1, {}));
    const auto answer = ask("GET", "/v1/replicas");
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    ASSERT_EQ(answer.body["replicas"].size(), 2U);
    EXPECT_EQ(answer.body["replicas"][1]["ready"], false);
    EXPECT_EQ(answer.body["replicas"][1]["readiness"][0]["key"], "definition");
}

TEST_F(OperatorsApi, an_ended_task_is_not_cancelled_and_a_fine_one_not_retried) {
    ASSERT_EQ(ask("POST", "/v1/vms/web1/snapshots", R"({"name": "one"})").status, 202);
    const auto id = must(catalog_->tasks({std::nullopt, false, 1})).front().id.text();
    EXPECT_EQ(ask("POST", "/v1/tasks/" + id + "/retry").kind(), "conflict");
    EXPECT_EQ(ask("POST", "/v1/tasks/" + id.substr(0, 4) + "/cancel").status, 200);
    EXPECT_EQ(ask("GET", "/v1/tasks/" + id + "?wait_ms=30000").body["task"]["cancel_requested"],
              true);
    EXPECT_EQ(ask("GET", "/v1/tasks/" + id.substr(0, 3)).status, 404);
    for (const auto* query : {"wait_ms=-1", "wait_ms=x", "wait_ms=9223372036854775808"})
        EXPECT_EQ(ask("GET", "/v1/tasks/" + id + "?" + query).kind(), "invalid") << query;
    EXPECT_EQ(ask("GET", "/v1/tasks/" + id + "/log?after=z").kind(), "invalid");
}

TEST_F(OperatorsApi, no_secret_is_in_an_answer_a_task_or_its_log) {
    const auto invited = ask("POST", "/v1/invites").body["token"].get<std::string>();
    ask("POST", "/v1/peers", json{{"token", invited}}.dump());
    for (const auto* path : {"/v1/cluster", "/v1/peers", "/v1/tasks", "/v1/vms"}) {
        const auto text = ask("GET", path).body.dump();
        EXPECT_EQ(text.find(invited), std::string::npos);
        EXPECT_EQ(text.find("PRIVATE KEY"), std::string::npos);
    }
}

}  // namespace
}  // namespace understudy::api
