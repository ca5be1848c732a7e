#include "cli/run.hpp"

#include "cli/commands/all_commands.hpp"
#include "cli/fake_api.hpp"
#include "cli/grammar/help.hpp"
#include "cli/grammar/parse.hpp"
#include "cli/session/complete.hpp"
#include "cli/terminal/table.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> words_of(std::string_view line) {
    return split_shell_words(line).words;
}

TEST(Help, every_command_has_a_summary_an_example_of_itself_and_its_usage) {
    for (const auto& command : all_commands().commands) {
        Program program;
        auto words = words_of(command.path);
        words.push_back("--help");
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 0) << command.path;
        EXPECT_FALSE(command.summary.empty()) << command.path;
        EXPECT_THAT(ran.out, HasSubstr("Usage: understudy " + std::string(command.path)));
        EXPECT_THAT(std::string(command.example),
                    HasSubstr("understudy " + std::string(command.path)));
        EXPECT_THAT(program.api.calls, IsEmpty());
    }
}

TEST(Help, examples_are_command_lines_that_parse) {
    for (const auto& command : all_commands().commands) {
        std::istringstream lines{std::string(command.example)};
        for (std::string line; std::getline(lines, line);) {
            auto words = words_of(line);
            if (words.front() != "understudy") continue;  // eval "$(…)"
            words.erase(words.begin());
            const auto parsed = parse(all_commands(), words);
            ASSERT_TRUE(parsed) << line << ": " << parsed.error().text();
            EXPECT_EQ(parsed->command, &command) << line;
        }
    }
}

TEST(Help, fits_100_columns) {
    std::vector<std::string> paths{""};
    for (const auto& group : all_commands().groups) paths.emplace_back(group.path);
    for (const auto& command : all_commands().commands) paths.emplace_back(command.path);
    for (const auto& path : paths) {
        std::istringstream lines(help_text(all_commands(), path));
        for (std::string line; std::getline(lines, line);)
            if (!line.starts_with("Usage:")) {
                EXPECT_LE(display_width(line), 100U) << line;
            }
    }
}

TEST(Help, of_the_program_tells_the_exit_codes) {
    Program program;
    for (const auto& words : {std::vector<std::string>{"--help"}, {"help"}, {"-h"}}) {
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 0);
        for (const char* line :
             {"0  done", "1  failed", "2  usage", "3  refused", "4  unreachable"})
            EXPECT_THAT(ran.out, HasSubstr(line));
    }
    EXPECT_THAT(program.run({"help", "vm", "snapshot"}).out, HasSubstr("vm snapshot rollback"));
}

TEST(Usage, nothing_or_only_a_noun_shows_help_and_exits_with_2) {
    Program program;
    EXPECT_EQ(program.run({}).code, 2);
    EXPECT_THAT(program.run({}).err, HasSubstr("Exit codes"));
    EXPECT_EQ(program.run({"vm"}).code, 2);
    EXPECT_THAT(program.run({"vm"}).err, HasSubstr("vm shutdown"));
    EXPECT_EQ(program.run({"--format", "json"}).error().at("kind"), "invalid");
}

TEST(Usage, unknown_command_suggests_the_nearest) {
    Program program;
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"vn", "list"}, "did you mean 'vm'?"},
        {{"vm", "lsit"}, "did you mean 'vm list'?"},
        {{"vm", "snapshot", "creat", "web1"}, "did you mean 'vm snapshot create'?"},
        {{"replica", "promot", "web1"}, "did you mean 'replica promote'?"},
        {{"--format", "table", "taks"}, "did you mean 'task'?"},
    };
    for (const auto& [words, suggestion] : cases) {
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 2);
        EXPECT_THAT(ran.err, HasSubstr(suggestion));
    }
    const auto far = program.run({"frobnicate"});
    EXPECT_EQ(far.code, 2);
    EXPECT_THAT(far.err, HasSubstr("unknown command 'frobnicate'"));
    EXPECT_THAT(far.err, Not(HasSubstr("did you mean")));
    EXPECT_EQ(program.run({"vm", "frobnicate", "--help"}).code, 2);
}

TEST(Usage, unknown_option_suggests_the_nearest) {
    Program program;
    auto ran = program.run({"vm", "snapshot", "send", "web1", "--ful"});
    EXPECT_EQ(ran.code, 2);
    EXPECT_THAT(ran.err, HasSubstr("unknown option '--ful'; did you mean --full?"));
    ran = program.run({"vm", "list", "--fromat=json"});
    EXPECT_THAT(ran.err, HasSubstr("did you mean --format?"));
}

TEST(Usage, missing_surplus_and_malformed_values_exit_with_2_before_any_call) {
    const std::vector<std::vector<std::string>> wrong{
        {"vm", "info"},
        {"vm", "info", "a", "b"},
        {"vm", "info", ""},
        {"vm", "list", "--format", "xml"},
        {"vm", "list", "--format"},
        {"vm", "info", "\xff"},
        {"vm", "shutdown", "web1", "--limit", "soon"},
        {"vm", "shutdown", "web1", "--limit", "1d"},
        {"vm", "snapshot", "info", "web1"},
        {"vm", "snapshot", "send", "web1", "--full", "--base", "x"},
        {"vm", "snapshot", "send", "web1", "--limit", "fast"},
        {"vm", "snapshot", "send", "web1", "--channels", "0"},
        {"vm", "snapshot", "send", "web1", "--to", "a", "--to", "b"},
        {"vm", "snapshot", "create", "web1@newest"},
        {"vm", "snapshot", "remove", "web1", "-y"},
        {"vm", "snapshot", "remove", "web1@a", "web2@b", "-y"},
        {"peer", "invite", "--ttl", "never"},
        {"peer", "limit", "dr", "0"},
        {"peer", "limit", "dr", "lots"},
        {"peer", "map", "dr", "network"},
        {"peer", "map", "dr", "network", "lan"},
        {"peer", "map", "dr", "network", "=br0"},
        {"peer", "map", "dr", "bridge", "a=b"},
        {"completion", "fish"},
        {"completion"},
    };
    for (const auto& words : wrong) {
        Program program;
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 2) << ::testing::PrintToString(words);
        EXPECT_TRUE(ran.err.starts_with("error: ")) << ran.err;
        EXPECT_EQ(ran.out, "");
        EXPECT_THAT(program.api.calls, IsEmpty()) << ::testing::PrintToString(words);
    }
}

TEST(Errors, exit_by_kind) {
    for (const auto& [kind, code] :
         std::vector<std::pair<ErrorKind, int>>{{ErrorKind::refused, 3},
                                                {ErrorKind::unavailable, 4},
                                                {ErrorKind::invalid, 2},
                                                {ErrorKind::not_found, 1},
                                                {ErrorKind::conflict, 1},
                                                {ErrorKind::unsupported, 1},
                                                {ErrorKind::no_space, 1},
                                                {ErrorKind::corrupt, 1},
                                                {ErrorKind::cancelled, 1},
                                                {ErrorKind::internal, 1}}) {
        Program program;
        program.api.fails("GET /v1/vms", Error(kind, "no"));
        EXPECT_EQ(program.run({"vm", "list"}).code, code) << base::to_string(kind);
    }
}

TEST(Errors, tell_what_failed_what_was_kept_and_what_to_do) {
    Program program;
    program.api.fails("GET /v1/vms", Error(ErrorKind::refused, "a \x1b[31mpromise\nwould break")
                                         .keeping("everything")
                                         .advising("Do something else."));
    EXPECT_EQ(program.run({"vm", "list"}).err,
              "error: a \\x1b[31mpromise\n"
              "       would break\n"
              "       Kept: everything\n"
              "       Do something else.\n");
}

TEST(Errors, are_json_when_json_is_wanted_by_option_or_environment) {
    const json expected{
        {"error", {{"kind", "refused"}, {"text", "no"}, {"kept", "all"}, {"advice", "wait"}}}};
    for (const bool by_environment : {true, false}) {
        Program program;
        if (by_environment) program.environment["UNDERSTUDY_FORMAT"] = "json";
        program.api.fails("GET /v1/vms",
                          Error(ErrorKind::refused, "no").keeping("all").advising("wait"));
        const auto ran = by_environment ? program.run({"vm", "list"})
                                        : program.run({"vm", "list", "--format", "json"});
        EXPECT_EQ(json::parse(ran.err), expected);
        EXPECT_EQ(program.run({"vm", "lits", "--format=json"}).error().at("kind"), "invalid");
    }
}

TEST(GlobalOptions, stand_before_or_after_the_command) {
    Program program;
    program.api.answer("GET /v1/vms", {{"vms", json::array()}});
    const std::vector<std::vector<std::string>> lines{
        {"--socket", "/x", "--format", "json", "vm", "list"},
        {"vm", "list", "--socket", "/x", "--format", "json"},
        {"vm", "--socket=/x", "list", "--format=json"},
    };
    for (const auto& words : lines) {
        const auto ran = program.run(words);
        EXPECT_EQ(ran.code, 0) << ran.err;
        EXPECT_EQ(ran.json(), json({{"vms", json::array()}}));
        EXPECT_EQ(program.api.targets.back().socket, "/x");
    }
}

TEST(GlobalOptions, win_over_the_environment) {
    Program program;
    program.environment = {{"UNDERSTUDY_FORMAT", "json"}, {"UNDERSTUDY_SOCKET", "/env"}};
    program.api.answer("GET /v1/vms", {{"vms", {{{"name", "web1"}}}}});
    const auto ran = program.run({"vm", "list", "--format", "table", "--socket", "/given"});
    EXPECT_TRUE(ran.out.starts_with("NAME"));
    EXPECT_EQ(program.api.targets.back().socket, "/given");
}

TEST(StrangeNames, reach_the_api_unchanged) {
    // Among them words that are commands, that CLI11 gives a meaning to, and that a shell would.
    for (const std::string name :
         {"list",  "vm",   "a b",  "$(reboot)", "a/b", "..",       ".", "[a,b]", "[x]", "++", "%2e",
          "größe", "東京", "a\nb", "'\"\\",     "x@y", "?force=1", "#", "{}",    "a=b", "--"}) {
        Program program;
        const auto ran = program.run({"vm", "info", "--", name});
        ASSERT_EQ(program.api.calls.size(), 1U) << name << ran.err;
        const auto& path = program.api.calls.back().path;
        EXPECT_EQ(path, path_of({"v1", "vms", name}));
        EXPECT_EQ(std::count(path.begin(), path.end(), '/'), 3) << path;
        EXPECT_EQ(ran.code, 1);
    }
}

TEST(StrangeNames, beginning_with_a_dash_go_behind_two_dashes) {
    Program program;
    program.run({"vm", "info", "--", "-y"});
    EXPECT_THAT(program.api.asked(), ElementsAre("GET /v1/vms/-y"));
    program.run({"vm", "snapshot", "remove", "-y", "--", "web1", "[a,b]", "-c"});
    EXPECT_THAT(program.api.asked(),
                ElementsAre("GET /v1/vms/-y", "DELETE /v1/vms/web1/snapshots/%5Ba%2Cb%5D"));
}

}  // namespace
}  // namespace understudy::cli
