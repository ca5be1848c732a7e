#include "cli/commands/all_commands.hpp"
#include "cli/fake_api.hpp"
#include "cli/session/complete.hpp"

#include <gmock/gmock.h>

#include <filesystem>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kHere = std::filesystem::current_path().string();

TEST(SnapshotExport, names_vm_snapshot_and_an_absolute_directory) {
    Program program;
    script_task(program.api, "POST /v1/vms/web1/snapshots/nightly/export",
                {{"directory", "/mnt/x"},
                 {"format", "qcow2"},
                 {"kind", "full"},
                 {"bytes", 1 << 20},
                 {"file_bytes", 2 << 20}});
    const std::vector<std::pair<std::vector<std::string>, json>> cases{
        {{"web1", "nightly", "/mnt/x"}, {{"directory", "/mnt/x"}}},
        {{"web1@nightly", "/mnt/x"}, {{"directory", "/mnt/x"}}},
        {{"web1", "nightly", "x/../y"}, {{"directory", kHere + "/y"}}},
        {{"web1@nightly", "y", "--as", "rbd", "--incremental-from", "web1@monday", "--base-dir",
          "../b"},
         {{"directory", kHere + "/y"},
          {"as", "rbd"},
          {"incremental_from", "monday"},
          {"base_directory",
           (std::filesystem::path(kHere) / "../b").lexically_normal().string()}}}};
    for (auto [words, body] : cases) {
        program.api.calls.clear();
        words.insert(words.begin(), {"vm", "snapshot", "export"});
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 0) << ran.err;
        EXPECT_EQ(json::parse(program.api.calls.front().body), body);
        EXPECT_EQ(ran.out, "Wrote /mnt/x: full, qcow2 files of 2.0 MiB, 1.0 MiB of data.\n");
    }
}

TEST(SnapshotExport, without_a_snapshot_or_a_directory_is_a_wrong_command_line) {
    Program program;
    EXPECT_EQ(program.run({"vm", "snapshot", "export", "web1", "nightly"}).code, 2);
    EXPECT_EQ(program.run({"vm", "snapshot", "export", "web1"}).code, 2);
    EXPECT_TRUE(program.api.calls.empty());
}

TEST(SnapshotImport, tells_what_became_of_it) {
    Program program;
    const json snapshot{{"name", "nightly"}};
    script_task(program.api, "POST /v1/imports",
                {{"kind", "full"},
                 {"vm", "web1"},
                 {"owner", "prod"},
                 {"new_vm", false},
                 {"snapshot", snapshot},
                 {"changes", json::array()}});
    const auto seeded = program.run({"vm", "snapshot", "import", "/mnt/x", "--pool", "fast"});
    EXPECT_EQ(seeded.code, 0) << seeded.err;
    EXPECT_EQ(seeded.out, "Imported web1@nightly (full); prod owns the VM.\n");
    EXPECT_EQ(json::parse(program.api.calls.front().body),
              (json{{"directory", "/mnt/x"}, {"pool", "fast"}}));
}

TEST(SnapshotImport, of_a_new_vm_names_it_and_what_is_accepted) {
    Program program;
    script_task(program.api, "POST /v1/imports",
                {{"kind", "full"},
                 {"vm", "copy"},
                 {"new_vm", true},
                 {"snapshot", {{"name", "nightly"}}},
                 {"changes", {"name: web1 → copy"}}});
    const auto made = program.run({"vm", "snapshot", "import", "x", "--as-new-vm", "copy",
                                   "--accept", "tpm", "--base-dir", "/mnt/b"});
    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_THAT(made.out, HasSubstr("copy is a new VM here, from snapshot nightly"));
    EXPECT_THAT(made.out, HasSubstr("  changed: name: web1 → copy\n"));
    EXPECT_EQ(json::parse(program.api.calls.front().body), (json{{"directory", kHere + "/x"},
                                                                 {"as_new_vm", "copy"},
                                                                 {"accept", {"tpm"}},
                                                                 {"base_directory", "/mnt/b"}}));
}

TEST(SnapshotImport, options_of_a_new_vm_need_its_name) {
    Program program;
    for (const auto& words : {std::vector<std::string>{"--accept", "tpm"},
                              {"--base-dir", "/mnt/b"},
                              {"--as-new-vm", ""}}) {
        std::vector<std::string> all{"vm", "snapshot", "import", "/mnt/x"};
        all.insert(all.end(), words.begin(), words.end());
        EXPECT_EQ(program.run(all).code, 2);
    }
    EXPECT_TRUE(program.api.calls.empty());
}

TEST(SnapshotImport, what_is_here_already_is_no_failure) {
    Program program;
    script_task(program.api, "POST /v1/imports", {{"kind", "nothing"}});
    const auto ran = program.run({"vm", "snapshot", "import", "/mnt/x"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("it is there already"));
}

TEST(FileCompletion, of_an_exports_format_and_of_directories) {
    const ApiSource none = []() -> Result<Api*> { return fail(ErrorKind::unavailable, "none"); };
    EXPECT_THAT(
        complete_line(all_commands(), "", "understudy vm snapshot export web1 a /x --as ", none),
        ElementsAre("qcow2", "rbd"));
    EXPECT_TRUE(
        complete_line(all_commands(), "", "understudy vm snapshot import /mnt/", none).empty());
    EXPECT_THAT(std::string(bash_completion_script()), HasSubstr("(ex|im)port"));
}

}  // namespace
}  // namespace understudy::cli
