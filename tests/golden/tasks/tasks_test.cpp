// Catalogs, pools and VMs as daemons of commit c5b03b3 left them when they died in the middle of a
// task: today's daemons take them over, and every task ends as it would have ended then.
// README.md tells how the files were made. With UNDERSTUDY_GOLDEN_WRITE=1 in the environment
// cases.txt and ends.txt are written instead of compared; only the program of that commit may.
#include "archive.hpp"
#include "ending.hpp"
#include "stage.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace understudy::golden {
namespace {

const std::string kFolder = GOLDEN_DIR;

// One line of cases.txt.
struct Case {
    std::string name;       // "SCENE.NUMBER"
    std::string step;       // where the daemon died: "KIND.STEP" or "KIND.PART.STEP"
    std::string goes_on;    // the end, by its name in ends.txt
    std::string cancelled;  // when an operator cancels all tasks first, and then retries them
    std::string where;

    std::string scene() const { return name.substr(0, name.find('.')); }
};

std::vector<Case> read_cases() {
    std::ifstream file(kFolder + "/cases.txt");
    std::vector<Case> all;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        Case one;
        words >> one.name >> one.step >> one.goes_on >> one.cancelled >> std::ws;
        std::getline(words, one.where);
        if (!one.name.empty() && one.name[0] != '#') all.push_back(std::move(one));
    }
    return all;
}

std::map<std::string, std::string> read_ends() {
    std::ifstream file(kFolder + "/ends.txt");
    std::map<std::string, std::string> ends;
    std::string* end = nullptr;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("== "))
            end = &ends[line.substr(3)];
        else if (end != nullptr && !line.empty())
            *end += line + "\n";
    }
    return ends;
}

const Archive& archive() {
    static const Archive opened(kFolder + "/cases.tar.zst");
    return opened;
}

enum class Operator { lets_it_go_on, cancels };

using TasksOfHosts = std::map<std::string, std::set<TaskId>>;  // by the host's name

TasksOfHosts ended_tasks(Stage& stage) {
    TasksOfHosts ended;
    for (auto& host : stage.hosts()) {
        auto& of_host = ended[host->name()];
        for (const auto& task : must(host->catalog().tasks({std::nullopt, false, 1000})))
            if (task.ended_already()) of_host.insert(task.id);
    }
    return ended;
}

// Those that were cut off, and did not succeed.
void retry(Stage& stage, const TasksOfHosts& but) {
    for (auto& host : stage.hosts())
        for (const auto& task : must(host->catalog().tasks({std::nullopt, false, 1000})))
            if (task.ended_already() && task.state != model::TaskState::succeeded &&
                !but.at(host->name()).contains(task.id))
                must(host->catalog().retry_task(task.id, stage.clock().now()));
}

// The lines that are in one of the two only.
std::string difference(const std::string& before, const std::string& after) {
    const auto lines_of = [](const std::string& text) {
        std::multiset<std::string> lines;
        std::istringstream words(text);
        for (std::string line; std::getline(words, line);) lines.insert(line);
        return lines;
    };
    const auto then = lines_of(before);
    const auto now = lines_of(after);
    std::vector<std::string> gone;
    std::vector<std::string> come;
    std::ranges::set_difference(then, now, std::back_inserter(gone));
    std::ranges::set_difference(now, then, std::back_inserter(come));
    std::string text;
    for (const auto& line : gone) text += "- " + line + "\n";
    for (const auto& line : come) text += "+ " + line + "\n";
    return text;
}

std::string played(const Case& one, const Root& root, Operator what) {
    root.clear();
    archive().unpack(one.name, root.path());
    Stage stage(root.path(), 7);
    const auto ended = ended_tasks(stage);
    stage.load();
    if (what == Operator::cancels)
        for (auto& host : stage.hosts())
            for (const auto& id : unfinished_tasks(*host))
                must(host->catalog().request_cancel(id, stage.clock().now()));
    stage.run_to_the_end();
    EXPECT_LE(most_running(stage), 1);
    auto end = describe_end(stage, ended);
    if (what == Operator::lets_it_go_on) return end;
    retry(stage, ended);
    stage.run_to_the_end();
    EXPECT_LE(most_running(stage), 1);
    const auto retried = difference(end, describe_end(stage, ended));
    return retried.empty() ? end : end + "when that is retried:\n" + retried;
}

// One that ends in an exception keeps nobody from seeing the others.
std::string end_of(const Case& one, const Root& root, Operator what) {
    try {
        return played(one, root, what);
    } catch (const std::exception& problem) {
        return std::string("an exception: ") + problem.what();
    }
}

std::vector<std::string> scenes() {
    std::vector<std::string> names;
    for (const auto& one : read_cases())
        if (names.empty() || names.back() != one.scene()) names.push_back(one.scene());
    return names;
}

bool is_to_write() {
    return std::getenv("UNDERSTUDY_GOLDEN_WRITE") != nullptr;
}

class TakenOver : public testing::TestWithParam<std::string> {
protected:
    TakenOver() { spdlog::set_level(spdlog::level::off); }
};

TEST_P(TakenOver, ends_as_it_would_have) {
    if (is_to_write()) return;
    static const auto ends = read_ends();
    const Root root;
    for (const auto& one : read_cases()) {
        if (one.scene() != GetParam()) continue;
        const auto what =
            fmt::format("{}: the daemon died in {}, {}", one.name, one.step, one.where);
        EXPECT_EQ(end_of(one, root, Operator::lets_it_go_on), ends.at(one.goes_on)) << what;
        EXPECT_EQ(end_of(one, root, Operator::cancels), ends.at(one.cancelled))
            << what << "; then it was cancelled, and retried";
    }
}

INSTANTIATE_TEST_SUITE_P(Scenes, TakenOver, testing::ValuesIn(scenes()),
                         [](const auto& scene) { return scene.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TakenOver);

// Every kind of task of that commit, with all its steps; and the parts of those that have some.
const std::vector<std::string> kSteps{
    "snapshot_create.plan",
    "snapshot_create.adopt",
    "snapshot_create.prepare",
    "snapshot_create.moment",
    "snapshot_create.commit",
    "snapshot_create.publish",
    "snapshot_create.let_go",
    "snapshot_remove.unlist",
    "snapshot_remove.merge",
    "snapshot_rollback.hold",
    "snapshot_rollback.go_back",
    "snapshot_rollback.settle",
    "send.plan",
    "send.guard_autostart",
    "send.transfer",
    "send.record",
    "promote.check",
    "promote.own",
    "promote.define",
    "promote.start",
    "promote.see_it_boot",
    "release.let_go_of_peers",
    "release.merge_all",
    "release.forget",
    "replica_remove.unlist",
    "replica_remove.remove_data",
    "snapshot_export.plan",
    "snapshot_export.write",
    "snapshot_export.put_in_place",
    "snapshot_import.check",
    "snapshot_import.receive",
    "snapshot_import.publish",
    "snapshot_import.define",
    "snapshot_import.start",
    "replica_verify.hold",
    "replica_verify.compare",
    "replica_verify.conclude",
    "replica_repair.hold",
    "replica_repair.mend",
    "replica_repair.verify_again",
    "replica_drill.hold",
    "replica_drill.rehearse",
    "replica_drill.take_away",
    "replica_drill.record",
    "replica_tidy.remove",
    "move.check",
    "move.presend",
    "move.stop",
    "move.send_last",
    "move.give_away",
    "move.ask",
    "move.let_go",
    "move.see_it_run",
    "keep_branch.keep",
    "resolve.check",
    "resolve.keep_as_new_vm",
    "resolve.decide",
    "resolve.settle",
    "resolve.start_new_vm",
};

const std::vector<std::pair<std::string, std::string>> kParts{
    {"move.round1", "snapshot_create"},        {"move.round1-send", "send"},
    {"move.last", "snapshot_create"},          {"move.last-send", "send"},
    {"keep_branch.branch", "snapshot_create"}, {"resolve.branch", "snapshot_create"},
    {"resolve.new_vm", "snapshot_import"},
};

TEST(TakenOverCases, are_of_every_step_of_every_kind) {
    std::set<std::string> died_in;
    for (const auto& one : read_cases()) died_in.insert(one.step);
    for (const auto& step : kSteps) EXPECT_THAT(died_in, testing::Contains(step));
    for (const auto& [part, kind] : kParts)
        for (const auto& step : kSteps) {
            if (!step.starts_with(kind + ".")) continue;
            EXPECT_THAT(died_in, testing::Contains(part + step.substr(kind.size())));
        }
}

TEST(TakenOverCases, are_all_in_the_archive) {
    std::vector<std::string> named;
    for (const auto& one : read_cases()) named.push_back(one.name);
    EXPECT_THAT(named, testing::UnorderedElementsAreArray(archive().cases()));
}

// Ends that are alike have one name.
class Ends {
public:
    std::string name_of(const std::string& scene, const std::string& text) {
        if (const auto known = names_.find(text); known != names_.end()) return known->second;
        const auto name =
            fmt::format("{}.{}", scene, static_cast<char>('a' + counts_[scene] % 26)) +
            std::string(counts_[scene] / 26, '+');
        ++counts_[scene];
        texts_ += fmt::format("== {}\n{}\n", name, text);
        return names_[text] = name;
    }
    const std::string& texts() const { return texts_; }

private:
    std::map<std::string, std::string> names_;
    std::map<std::string, std::size_t> counts_;
    std::string texts_;
};

TEST(TakenOverCases, are_written_when_that_is_asked_for) {
    if (!is_to_write()) return;
    spdlog::set_level(spdlog::level::off);
    const Root root;
    Ends ends;
    std::string lines =
        "# CASE  where the daemon died  its end  its end when cancelled and retried  where in the "
        "step\n";
    for (const auto& one : read_cases()) {
        SCOPED_TRACE(one.name);
        const auto goes_on = ends.name_of(one.scene(), end_of(one, root, Operator::lets_it_go_on));
        const auto cancelled = ends.name_of(one.scene(), end_of(one, root, Operator::cancels));
        lines += fmt::format("{} {} {} {} {}\n", one.name, one.step, goes_on, cancelled, one.where);
    }
    std::ofstream(kFolder + "/cases.txt") << lines;
    std::ofstream(kFolder + "/ends.txt") << ends.texts();
}

}  // namespace
}  // namespace understudy::golden
