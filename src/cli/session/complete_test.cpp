#include "cli/session/complete.hpp"

#include "cli/commands/all_commands.hpp"
#include "cli/fake_api.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr const char* kBreaks = " \t\n\"'@><=;|&(:";  // bash's default

struct Completion : ::testing::Test {
    FakeApi fake;
    ApiToFake api{fake};
    bool daemon = true;

    Completion() {
        fake.answer("GET /v1/vms", {{"vms",
                                     {{{"name", "web1"}},
                                      {{"name", "web 2"}},
                                      {{"name", "$(touch x)"}},
                                      {{"name", "größe"}},
                                      {{"name", "bad\nname"}}}}});
        fake.answer("GET /v1/vms/web1/snapshots",
                    {{"snapshots", {{{"name", "nightly"}}, {{"name", "noon"}}}}});
        fake.answer("GET /v1/vms/web%202/snapshots", {{"snapshots", {{{"name", "first"}}}}});
        fake.answer("GET /v1/peers", {{"peers", {{{"name", "dr"}}}}});
        fake.answer("GET /v1/replicas", {{"replicas", {{{"name", "db1"}}}}});
        fake.answer("GET /v1/tasks?limit=50", {{"tasks", {{{"id", kTaskId}}}}});
    }
    std::vector<std::string> complete(std::string_view line) {
        return complete_line(all_commands(), kBreaks, line, [this]() -> Result<Api*> {
            if (!daemon) return fail(ErrorKind::unavailable, "no daemon");
            return &api;
        });
    }
};

TEST_F(Completion, knows_commands) {
    EXPECT_THAT(complete("understudy c"), ElementsAre("cluster", "completion"));
    EXPECT_THAT(complete("understudy vm s"),
                UnorderedElementsAre("start", "shutdown", "stop", "snapshot"));
    EXPECT_THAT(complete("understudy --format json vm snapshot r"),
                UnorderedElementsAre("remove", "rollback"));
    EXPECT_THAT(complete("understudy nosuch "), IsEmpty());
}

TEST_F(Completion, knows_options_and_their_values) {
    EXPECT_THAT(complete("understudy vm snapshot send web1 --d"), ElementsAre("--dry-run"));
    EXPECT_THAT(complete("understudy vm list --f"), Contains("--format"));
    EXPECT_THAT(complete("understudy --format "), ElementsAre("table", "json"));
    EXPECT_THAT(complete("understudy vm list --format=j"), ElementsAre("json"));
    EXPECT_THAT(complete("understudy vm snapshot send web1 --to "), ElementsAre("dr"));
    EXPECT_THAT(complete("understudy vm snapshot send web1 --base n"),
                ElementsAre("nightly", "noon"));
}

TEST_F(Completion, knows_names_from_the_daemon) {
    EXPECT_THAT(complete("understudy vm info w"), ElementsAre("web1", "web\\ 2"));
    EXPECT_THAT(complete("understudy vm snapshot info web1 n"), ElementsAre("nightly", "noon"));
    EXPECT_THAT(complete("understudy vm snapshot info web1@ni"), ElementsAre("nightly"));
    EXPECT_THAT(complete("understudy vm snapshot info 'web 2' "), ElementsAre("first"));
    EXPECT_THAT(complete("understudy vm snapshot remove web1 noon n"),
                ElementsAre("nightly", "noon"));
    EXPECT_THAT(complete("understudy replica promote "), ElementsAre("db1"));
    EXPECT_THAT(complete("understudy peer map "), ElementsAre("dr"));
    EXPECT_THAT(complete("understudy peer map dr "), ElementsAre("network", "pool"));
    EXPECT_THAT(complete("understudy task watch 7"), ElementsAre("7f3a21b0"));
}

TEST_F(Completion, quotes_names_so_that_the_shell_reads_them_back) {
    EXPECT_THAT(complete("understudy vm info $"), ElementsAre("\\$\\(touch\\ x\\)"));
    EXPECT_THAT(complete("understudy vm info "), Contains("\\$\\(touch\\ x\\)"));
    EXPECT_THAT(complete("understudy vm info gr"), ElementsAre("größe"));
    EXPECT_THAT(complete("understudy vm info 'web "), ElementsAre("web 2"));
    EXPECT_THAT(complete("understudy vm info \"$"), ElementsAre("\\$(touch x)"));
    for (const auto& candidate : complete("understudy vm info "))
        EXPECT_EQ(candidate.find('\n'), std::string::npos);
}

TEST_F(Completion, without_a_daemon_offers_words_only) {
    daemon = false;
    EXPECT_THAT(complete("understudy vm info "), IsEmpty());
    EXPECT_THAT(complete("understudy vm l"), ElementsAre("list"));
}

TEST_F(Completion, asks_with_little_patience) {
    complete("understudy vm info w");
    EXPECT_LE(fake.calls.back().timeout, std::chrono::seconds(2));
}

TEST(ShellWords, are_split_as_a_shell_does_without_running_anything) {
    const auto split = split_shell_words(R"(a  b\ c 'd "e' "f \$g \h" $(x) i\)");
    EXPECT_THAT(split.words, ElementsAre("a", "b c", "d \"e", "f $g \\h", "$(x)", "i\\"));
    EXPECT_EQ(split_shell_words("a ").words.size(), 2U);
    EXPECT_EQ(split_shell_words("a 'b c").open_quote, '\'');
    EXPECT_EQ(split_shell_words("a b\\ c").raw_last, "b\\ c");
}

// The script in a real bash, with a program that stands for understudy.
struct Bash : ::testing::Test {
    std::filesystem::path dir = [] {
        char name[] = "/tmp/understudy-completion-XXXXXX";
        return std::filesystem::path(::mkdtemp(name));
    }();
    ~Bash() override { std::filesystem::remove_all(dir); }

    void write(const std::string& name, std::string_view text) const {
        std::ofstream(dir / name) << text;
        std::filesystem::permissions(dir / name, std::filesystem::perms::owner_all);
    }
    // Output of `bash script` and its exit code.
    std::pair<std::string, int> bash(const std::string& options) const {
        const std::string command = "cd " + dir.string() + " && bash " + options + " 2>&1";
        FILE* pipe = ::popen(command.c_str(), "r");
        std::string text;
        std::array<char, 512> buffer{};
        while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) text += buffer.data();
        return {text, ::pclose(pipe)};
    }
};

TEST_F(Bash, accepts_the_script) {
    write("understudy.bash", bash_completion_script());
    const auto [text, code] = bash("-n understudy.bash");
    EXPECT_EQ(code, 0) << text;
    Program program;
    EXPECT_EQ(program.run({"completion", "bash"}).out, bash_completion_script());
}

TEST_F(Bash, completes_with_what_understudy_says_and_expands_nothing) {
    write("understudy.bash", bash_completion_script());
    write("understudy",
          "#!/bin/sh\n[ \"$1\" = __complete ] || exit 1\nprintf '%s\\n' \"$3\" >line\n"
          "printf 'web1\\nweb\\\\ 2\\n$(touch pwned)\\n*\\n'\n");
    write("test.bash", R"(source ./understudy.bash
        COMP_LINE='understudy vm info w and more' COMP_POINT=20 COMP_WORDS=(understudy vm info w)
        COMP_CWORD=3
        _understudy ./understudy w info
        printf '[%s]' "${COMPREPLY[@]}"
        complete -p understudy >/dev/null && echo registered)");
    const auto [text, code] = bash("test.bash");
    EXPECT_EQ(code, 0);
    EXPECT_EQ(text, "[web1][web\\ 2][$(touch pwned)][*]registered\n");
    EXPECT_FALSE(std::filesystem::exists(dir / "pwned"));
    std::ifstream line(dir / "line");
    std::string given;
    std::getline(line, given);
    EXPECT_EQ(given, "understudy vm info w");
}

}  // namespace
}  // namespace understudy::cli
