#include "cli/session/wait.hpp"

#include "cli/fake_api.hpp"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kSend = "POST /v1/vms/web1/snapshots/nightly/send";
const std::vector<std::string> kSendWords{"vm", "snapshot", "send", "web1@nightly"};

TEST(LongPoll, hands_each_mark_back_until_the_task_ended) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    program.api.answer("GET " + kTaskPath,
                       {{"task", task_json("running")}, {"progress_mark", "a b"}});
    program.api.answer("GET " + kTaskPath + "?wait_ms=30000&progress=a%20b",
                       {{"task", task_json("running")}, {"progress_mark", "2"}});
    program.api.answer("GET " + kTaskPath + "?wait_ms=30000&progress=2",
                       {{"task", task_json("succeeded")}, {"progress_mark", "3"}});
    EXPECT_EQ(program.run(kSendWords).code, 0);
    EXPECT_THAT(
        program.api.asked(),
        ElementsAre(kSend, "GET " + kTaskPath, "GET " + kTaskPath + "?wait_ms=30000&progress=a%20b",
                    "GET " + kTaskPath + "?wait_ms=30000&progress=2"));
    EXPECT_GT(program.api.calls.back().timeout, kLongPoll);
}

TEST(LongPoll, does_not_spin_when_answers_come_at_once) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    program.api.answer("GET " + kTaskPath,
                       {{"task", task_json("running")}, {"progress_mark", "x"}});
    const auto poll = "GET " + kTaskPath + "?wait_ms=30000&progress=x";
    for (int i = 0; i < 5; ++i)
        program.api.answer(poll, {{"task", task_json("running")}, {"progress_mark", "x"}});
    program.api.answer(poll, {{"task", task_json("succeeded")}, {"progress_mark", "y"}});
    EXPECT_EQ(program.run(kSendWords).code, 0);
    ASSERT_EQ(program.pauses.size(), 6U);
    EXPECT_EQ(program.pauses.front(), kShortestPoll);
}

TEST(LongPoll, rides_over_a_restart_of_the_daemon) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    for (int i = 0; i < 5; ++i)
        program.api.fails("GET " + kTaskPath, Error(ErrorKind::unavailable, "connection refused"));
    program.api.answer("GET " + kTaskPath,
                       {{"task", task_json("succeeded")}, {"progress_mark", "y"}});
    const auto ran = program.run(kSendWords);
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.err, HasSubstr("does not answer (connection refused); waiting"));
    EXPECT_EQ(ran.err.find("waiting"), ran.err.rfind("waiting"));
}

TEST(LongPoll, gives_up_on_a_daemon_that_stays_away_and_says_how_to_come_back) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    program.api.fails("GET " + kTaskPath, Error(ErrorKind::unavailable, "connection refused"));
    const auto ran = program.run(kSendWords);
    EXPECT_EQ(ran.code, 4);
    EXPECT_THAT(ran.err, HasSubstr("understudy task watch 7f3a21b0"));
    EXPECT_EQ(program.pauses.size(), 60U);
}

TEST(Waiting, shows_a_bar_on_a_terminal_and_lines_elsewhere) {
    for (const bool terminal : {true, false}) {
        Program program;
        program.terminal = terminal;
        program.api.at_call = [&] { program.steady += std::chrono::seconds(11); };
        auto running = task_json("running", "send web1@nightly to dr");
        running["progress"] = {{"done_bytes", 1 << 30},
                               {"total_bytes", 1ULL << 32},
                               {"wire_bytes", 1 << 29},
                               {"rate_bytes", 1 << 20}};
        program.api.answer(kSend, {{"task", task_json("queued", "send web1@nightly to dr")}});
        program.api.answer("GET " + kTaskPath, {{"task", running}, {"progress_mark", "1"}});
        auto done = running;
        done["state"] = "succeeded";
        program.api.answer("GET " + kTaskPath + "?wait_ms=30000&progress=1",
                           {{"task", done}, {"progress_mark", "2"}});
        const auto ran = program.run(kSendWords);
        EXPECT_EQ(ran.code, 0);
        EXPECT_THAT(ran.err,
                    HasSubstr(terminal ? "[#####...............]  25 %" : "25 % (1.0 GiB"));
        EXPECT_EQ(ran.err.find('\r') != std::string::npos, terminal);
        EXPECT_THAT(ran.out, HasSubstr("Done: send web1@nightly to dr"));
    }
}

TEST(Waiting, json_without_a_terminal_keeps_stderr_for_errors) {
    Program program;
    script_task(program.api, kSend, json::object());
    auto words = kSendWords;
    words.insert(words.end(), {"--format", "json"});
    const auto ran = program.run(words);
    EXPECT_EQ(ran.err, "");
    EXPECT_EQ(ran.json(),
              json({{"task", program.api.script["GET " + kTaskPath].front()->at("task")},
                    {"progress_mark", "9"}}));
}

TEST(TaskFailure, exits_by_the_kind_of_its_error) {
    for (const auto& [kind, code] : std::map<std::string, int>{{"refused", 3},
                                                               {"unavailable", 4},
                                                               {"no_space", 1},
                                                               {"corrupt", 1},
                                                               {"conflict", 1},
                                                               {"unsupported", 1},
                                                               {"internal", 1},
                                                               {"", 1}}) {
        Program program;
        auto failed = task_json("failed");
        failed["error_kind"] = kind;
        failed["error"] =
            "send web1@nightly to dr: publish vda: no space left. Kept: 41.2 GiB. Make room";
        program.api.answer(kSend, {{"task", task_json("queued")}});
        program.api.answer("GET " + kTaskPath, {{"task", failed}, {"progress_mark", ""}});
        const auto ran = program.run(kSendWords);
        EXPECT_EQ(ran.code, code) << kind;
        EXPECT_EQ(ran.out, "");
        EXPECT_THAT(ran.err, HasSubstr("error: send web1@nightly to dr: publish vda: no space "
                                       "left.\n       Kept: 41.2 GiB. Make room\n"));
        EXPECT_THAT(ran.err, HasSubstr("understudy task log 7f3a21b0"));
    }
}

TEST(TaskFailure, in_json_gives_the_task_and_the_error) {
    Program program;
    auto failed = task_json("failed");
    failed["error_kind"] = "refused";
    failed["error"] = "no";
    program.api.answer(kSend, {{"task", task_json("queued")}});
    program.api.answer("GET " + kTaskPath, {{"task", failed}, {"progress_mark", ""}});
    const auto ran = program.run({"--format=json", "vm", "snapshot", "send", "web1@nightly"});
    EXPECT_EQ(ran.code, 3);
    EXPECT_EQ(ran.json().at("task").at("state"), "failed");
    EXPECT_EQ(ran.error().at("kind"), "refused");
    EXPECT_EQ(ran.error().at("text"), "no");
}

TEST(TaskFailure, a_cancelled_task_is_no_success) {
    Program program;
    program.api.answer("GET " + kTaskPath,
                       {{"task", task_json("cancelled")}, {"progress_mark", ""}});
    program.api.answer("GET /v1/tasks/7f3a",
                       {{"task", task_json("running")}, {"progress_mark", ""}});
    const auto ran = program.run({"task", "watch", "7f3a"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("was cancelled"));
}

TEST(NoWait, prints_only_the_id) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    auto words = kSendWords;
    words.push_back("--no-wait");
    const auto ran = program.run(words);
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.out, kTaskId + "\n");
    EXPECT_EQ(ran.err, "");
    EXPECT_THAT(program.api.asked(), ElementsAre(kSend));
}

TEST(NoWait, in_json_prints_the_answer) {
    Program program;
    program.api.answer(kSend, {{"task", task_json("queued")}});
    const auto ran =
        program.run({"vm", "snapshot", "send", "web1@nightly", "--no-wait", "--format", "json"});
    EXPECT_EQ(ran.json(), json({{"task", task_json("queued")}}));
}

// Runs the program in a child whose stderr is a pipe, and sends it `number` while it waits in a
// call that would not return. Returns what it wrote and its wait status.
std::pair<std::string, int> interrupt_while_waiting(const std::vector<std::string>& words,
                                                    int number) {
    int err[2];
    int ready[2];
    EXPECT_EQ(::pipe(err), 0);
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(err[1], STDERR_FILENO);
        Program program;
        program.api.answer(kSend, {{"task", task_json("queued")}});
        program.api.at_call = [&] {
            if (program.api.calls.empty()) return;  // the send itself
            EXPECT_EQ(::write(ready[1], "x", 1), 1);
            for (;;) ::pause();
        };
        program.run(words);
        ::_exit(99);
    }
    ::close(err[1]);
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::kill(child, number);
    std::string text;
    char buffer[512];
    for (ssize_t got = 0; (got = ::read(err[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(got));
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(err[0]);
    ::close(ready[0]);
    return {text, status};
}

TEST(CtrlC, says_that_the_task_goes_on_and_exits_with_1) {
    for (const int number : {SIGINT, SIGTERM}) {
        const auto [text, status] = interrupt_while_waiting(kSendWords, number);
        ASSERT_TRUE(WIFEXITED(status));
        EXPECT_EQ(WEXITSTATUS(status), 1);
        EXPECT_THAT(text, HasSubstr("task 7f3a21b0 continues"));
        EXPECT_THAT(text, HasSubstr("understudy task watch 7f3a21b0"));
    }
}

TEST(CtrlC, in_json_is_one_json_document) {
    auto words = kSendWords;
    words.insert(words.end(), {"--format", "json"});
    const auto [text, status] = interrupt_while_waiting(words, SIGINT);
    EXPECT_EQ(WEXITSTATUS(status), 1);
    EXPECT_EQ(json::parse(text).at("task"), kTaskId);
}

TEST(CtrlC, has_its_usual_meaning_again_after_waiting) {
    Program program;
    script_task(program.api, kSend, json::object());
    program.run(kSendWords);
    struct sigaction now{};
    ::sigaction(SIGINT, nullptr, &now);
    EXPECT_EQ(now.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace understudy::cli
