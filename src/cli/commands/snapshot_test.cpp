#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json snapshot_view(const std::string& name) {
    return {{"id", "aaaaaaaa-2222-4333-8444-555555555555"},
            {"name", name},
            {"parent", nullptr},
            {"taken", "2026-11-23T08:00:00.000Z"},
            {"consistency", "filesystem"},
            {"epoch", 1},
            {"disks", {{{"target", "vda"}, {"size", 1ULL << 30}, {"pool", "vms"}}}},
            {"holds", {"base for peer dr"}},
            {"size", 1ULL << 30},
            {"own", 5000000}};
}

TEST(SnapshotCreate, takes_one_with_or_without_a_name) {
    Program program;
    script_task(program.api, "POST /v1/vms/web1/snapshots",
                {{"snapshot", snapshot_view("nightly")}});
    const std::vector<std::pair<std::vector<std::string>, json>> cases{
        {{"vm", "snapshot", "create", "web1"}, {{"freeze", true}}},
        {{"vm", "snapshot", "create", "web1", "nightly"}, {{"freeze", true}, {"name", "nightly"}}},
        {{"vm", "snapshot", "create", "web1@nightly"}, {{"freeze", true}, {"name", "nightly"}}},
        {{"vm", "snapshot", "create", "web1", "--no-freeze"}, {{"freeze", false}}},
    };
    for (const auto& [words, body] : cases) {
        program.api.calls.clear();
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 0) << ran.err;
        EXPECT_EQ(json::parse(program.api.calls.front().body), body);
        EXPECT_EQ(ran.out, "Took snapshot nightly (1 disks, filesystem-consistent).\n");
    }
}

TEST(SnapshotList, shows_age_sizes_and_holds) {
    Program program;
    const json answer{{"snapshots", {snapshot_view("nightly")}}};
    program.api.answer("GET /v1/vms/web1/snapshots", answer);
    EXPECT_EQ(program.run({"vm", "snapshot", "list", "web1"}).out,
              "NAME     AGE          CONSISTENCY     SIZE      OWN  HELD AS\n"
              "nightly  2 h 0 m ago  filesystem   1.0 GiB  4.8 MiB  base for peer dr\n");
    EXPECT_EQ(program.run({"--format=json", "vm", "snapshot", "list", "web1"}).json(), answer);
}

TEST(SnapshotInfo, shows_one_or_its_xml) {
    Program program;
    const json answer{{"snapshot", snapshot_view("nightly")},
                      {"domain_xml", "<domain>\n</domain>"}};
    program.api.answer("GET /v1/vms/web1/snapshots/nightly", answer);
    EXPECT_THAT(program.run({"vm", "snapshot", "info", "web1@nightly"}).out,
                HasSubstr("Held as:      base for peer dr"));
    EXPECT_EQ(program.run({"vm", "snapshot", "info", "web1", "nightly", "--xml"}).out,
              "<domain>\n</domain>\n");
    EXPECT_EQ(program.run({"vm", "snapshot", "info", "web1@nightly", "--format=json"}).json(),
              answer);
}

TEST(SnapshotNames, follow_the_vm_after_a_blank_or_an_at) {
    Program program;
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"web1", "nightly"}, "/v1/vms/web1/snapshots/nightly"},
        {{"web1@nightly"}, "/v1/vms/web1/snapshots/nightly"},
        {{"web1@newest"}, "/v1/vms/web1/snapshots/%40newest"},
        {{"web1@@newest"}, "/v1/vms/web1/snapshots/%40newest"},
        {{"web1", "@newest"}, "/v1/vms/web1/snapshots/%40newest"},
        {{"web1", "newest"}, "/v1/vms/web1/snapshots/newest"},
        {{"a@b", "c@d"}, "/v1/vms/a%40b/snapshots/c%40d"},
    };
    for (const auto& [names, path] : cases) {
        std::vector<std::string> words{"vm", "snapshot", "info"};
        words.insert(words.end(), names.begin(), names.end());
        program.run(words);
        EXPECT_EQ(program.api.calls.back().path, path);
    }
}

TEST(SnapshotRemove, removes_several_one_after_the_other) {
    Program program;
    for (const char* name : {"a", "b", "c"})
        script_task(program.api, std::string("DELETE /v1/vms/web1/snapshots/") + name, nullptr);
    const auto ran = program.run(
        {"vm", "snapshot", "remove", "web1@a", "b", "web1@c", "-y", "--format", "json"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.json().at("tasks").size(), 3U);
    EXPECT_THAT(program.api.asked(),
                ElementsAre("DELETE /v1/vms/web1/snapshots/a", "GET " + kTaskPath,
                            "DELETE /v1/vms/web1/snapshots/b", "GET " + kTaskPath,
                            "DELETE /v1/vms/web1/snapshots/c", "GET " + kTaskPath));
}

TEST(SnapshotRemove, says_which_were_not_begun_after_a_failure) {
    Program program;
    script_task(program.api, "DELETE /v1/vms/web1/snapshots/a", nullptr);
    program.api.fails("DELETE /v1/vms/web1/snapshots/b",
                      Error(ErrorKind::refused, "it is the base for peer dr"));
    const auto ran = program.run({"vm", "snapshot", "remove", "web1", "a", "b", "c", "d", "-y"});
    EXPECT_EQ(ran.code, 3);
    EXPECT_THAT(ran.err, HasSubstr("Removed web1@a."));
    EXPECT_THAT(ran.err, HasSubstr("error: remove web1@b: it is the base for peer dr"));
    EXPECT_THAT(ran.err, HasSubstr("not begun: removal of c, d"));
}

TEST(SnapshotRemove, no_wait_prints_one_id_each) {
    Program program;
    for (const char* name : {"a", "b"})
        script_task(program.api, std::string("DELETE /v1/vms/web1/snapshots/") + name, nullptr);
    const auto ran = program.run({"vm", "snapshot", "remove", "web1", "a", "b", "-y", "--no-wait"});
    EXPECT_EQ(ran.out, kTaskId + "\n" + kTaskId + "\n");
}

TEST(SnapshotSend, asks_for_exactly_what_was_given) {
    Program program;
    script_task(program.api, "POST /v1/vms/web1/snapshots/%40newest/send", json::object());
    program.run({"vm", "snapshot", "send", "web1"});
    EXPECT_EQ(json::parse(program.api.calls.front().body),
              json({{"full", false}, {"dry_run", false}, {"accept", json::array()}}));
    program.api.calls.clear();
    program.run({"vm", "snapshot", "send", "web1@newest", "--to", "dr", "--base", "web1@old",
                 "--limit", "50MiB/s", "--channels", "4", "--accept", "tpm", "--accept",
                 "network:lan"});
    EXPECT_EQ(json::parse(program.api.calls.front().body), json({{"full", false},
                                                                 {"dry_run", false},
                                                                 {"accept", {"tpm", "network:lan"}},
                                                                 {"peer", "dr"},
                                                                 {"base", "old"},
                                                                 {"rate_bytes", 50 << 20},
                                                                 {"channels", 4}}));
}

TEST(SnapshotSend, accept_takes_one_key_and_leaves_the_vm_alone) {
    Program program;
    program.run({"vm", "snapshot", "send", "--accept", "tpm", "web1", "nightly"});
    EXPECT_THAT(program.api.asked(), ElementsAre("POST /v1/vms/web1/snapshots/nightly/send"));
}

TEST(SnapshotSend, reports_bytes_time_and_readiness) {
    Program program;
    script_task(
        program.api, "POST /v1/vms/web1/snapshots/nightly/send",
        {{"bytes", 1 << 30},
         {"wire_bytes", 1 << 29},
         {"seconds", 12.34},
         {"kind", "incremental"},
         {"readiness", {{{"severity", "warns"}, {"key", "network:lan"}, {"text", "map it"}}}}},
        "send web1@nightly to dr");
    const auto ran = program.run({"vm", "snapshot", "send", "web1@nightly", "--to", "dr"});
    EXPECT_EQ(ran.out,
              "Done: send web1@nightly to dr, incremental, 1.0 GiB (512.0 MiB on the wire) in "
              "12.3 s.\n\nStarting there:\n  warns   network:lan: map it\n");
    EXPECT_EQ(ran.err, "send web1@nightly to dr: succeeded\n");
}

TEST(SnapshotSend, dry_run_shows_the_plan_and_starts_nothing) {
    Program program;
    const json answer{
        {"plan",
         {{"kind", "full"},
          {"base", nullptr},
          {"reason", "dr holds none of its snapshots"},
          {"disks",
           {{{"target", "vda"}, {"size", 1 << 30}, {"bytes", 1 << 20}, {"zero_bytes", nullptr}}}},
          {"bytes", 1 << 20},
          {"issues", {{{"severity", "blocks"}, {"key", "tpm"}, {"text", "no TPM there"}}}}}}};
    program.api.answer("POST /v1/vms/web1/snapshots/nightly/send", answer);
    const auto ran = program.run({"vm", "snapshot", "send", "web1@nightly", "--dry-run"});
    EXPECT_EQ(ran.out,
              "Would send:  full\n"
              "Base:        none\n"
              "Because:     dr holds none of its snapshots\n"
              "Bytes:       1.0 MiB\n\n"
              "DISK     SIZE  TO SEND   ZEROED\n"
              "vda   1.0 GiB  1.0 MiB  unknown\n\n"
              "Starting there:\n  blocks  tpm: no TPM there\n");
    EXPECT_EQ(program.api.last_body().at("dry_run"), true);
    EXPECT_EQ(program.run({"vm", "snapshot", "send", "web1@nightly", "--dry-run", "--format=json"})
                  .json(),
              answer);
}

}  // namespace
}  // namespace understudy::cli
