#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using model::TaskState;

constexpr Duration kLease{1000};

class CatalogTasks : public CatalogTest {
protected:
    model::Task add(std::optional<VmId> vm, std::int64_t created_ms) {
        auto task = some_task(vm, created_ms);
        must(catalog().add_task(task));
        return task;
    }
    std::optional<TaskId> claim_all_but(const std::vector<std::string>& kinds, bool reading,
                                        std::int64_t now_ms) {
        const auto task = must(catalog().claim_task("n", at(now_ms), kLease, {kinds, reading}));
        return task ? std::optional(task->id) : std::nullopt;
    }
    std::optional<TaskId> claim(const std::string& node, std::int64_t now_ms) {
        const auto task = must(catalog().claim_task(node, at(now_ms), kLease, {}));
        return task ? std::optional(task->id) : std::nullopt;
    }
    void end(const TaskId& id, const std::string& node, TaskState state, std::int64_t now_ms) {
        auto outcome = must(catalog().task(id));
        outcome.state = state;
        outcome.ended = at(now_ms);
        must(catalog().release_task(outcome, node));
    }
    std::vector<TaskId> listed(const ports::TaskFilter& filter) {
        std::vector<TaskId> ids;
        for (const auto& task : must(catalog().tasks(filter))) ids.push_back(task.id);
        return ids;
    }
};
EVERY_CATALOG(CatalogTasks);

TEST_P(CatalogTasks, come_back_whole) {
    auto task = some_task(VmId::random(), 0);
    task.state = TaskState::failed;
    task.result = R"({"x":1})";
    task.attempts = 3;
    task.error_kind = "no_space";
    task.error = "pool 'vms' is full";
    task.cancel_requested = true;
    task.started = at(1);
    task.ended = at(2);
    task.lease_node = "node1";
    task.lease_until = at(3);
    must(catalog().add_task(task));
    EXPECT_EQ(json(must(catalog().task(task.id))), json(task));
    EXPECT_EQ(kind_of(catalog().task(TaskId::random())), "not_found");
    EXPECT_EQ(kind_of(catalog().add_task(task)), "conflict");
}

TEST_P(CatalogTasks, are_listed_newest_first_filtered_and_limited) {
    const auto vm = VmId::random();
    const auto a = add(vm, 0);
    const auto b = add(std::nullopt, 5);
    const auto c = add(vm, 5);
    must(catalog().request_cancel(a.id, at(6)));
    EXPECT_EQ(listed({}), (std::vector{c.id, b.id, a.id}));
    EXPECT_EQ(listed({std::nullopt, false, 2}), (std::vector{c.id, b.id}));
    EXPECT_EQ(listed({vm}), (std::vector{c.id, a.id}));
    EXPECT_EQ(listed({std::nullopt, true}), (std::vector{c.id, b.id}));
    EXPECT_EQ(listed({vm, true}), (std::vector{c.id}));
}

TEST_P(CatalogTasks, what_a_rule_depends_on_is_told_completely) {
    const auto vm = VmId::random();
    constexpr std::size_t kMany = 250;  // more than a page
    std::vector<TaskId> all;
    for (std::size_t i = 0; i < kMany; ++i) all.push_back(add(vm, static_cast<int>(i)).id);
    add(VmId::random(), 7);
    EXPECT_EQ(must(catalog().active_tasks(vm)).size(), kMany);
    EXPECT_EQ(must(catalog().active_tasks(vm)).front().id, all.back());
    EXPECT_EQ(must(catalog().active_tasks(std::nullopt)).size(), kMany + 1);
    const auto ended = *claim("n", 1000);
    end(ended, "n", TaskState::succeeded, 1001);
    const auto failed = *claim("n", 1002);
    end(failed, "n", TaskState::failed, 1003);
    EXPECT_EQ(must(catalog().active_tasks(vm)).size(), kMany - 2);
    EXPECT_EQ(must(catalog().unfinished_tasks(vm)).size(), kMany - 1);
    const auto kind = must(catalog().task(ended)).kind;
    EXPECT_EQ(must(catalog().tasks_of_kind(vm, kind)).size(), kMany);
    EXPECT_TRUE(must(catalog().tasks_of_kind(vm, "another")).empty());
}

TEST_P(CatalogTasks, an_argument_is_told_once_for_each_value) {
    const auto vm = VmId::random();
    const auto asked = [&](const std::string& kind, const std::string& arguments) {
        auto task = some_task(vm, 0);
        task.kind = kind;
        task.arguments = arguments;
        must(catalog().add_task(task));
    };
    asked("send", R"({"peer":"b"})");
    asked("send", R"({"peer":"a"})");
    asked("move", R"({"peer":"b"})");
    asked("verify", R"({"peer":"c"})");
    asked("send", "no json");
    using testing::ElementsAre;
    EXPECT_THAT(must(catalog().task_arguments(vm, {"send", "move"}, "peer")),
                ElementsAre("a", "b"));
    EXPECT_THAT(must(catalog().task_arguments(vm, {"verify"}, "peer")), ElementsAre("c"));
    EXPECT_THAT(must(catalog().task_arguments(VmId::random(), {"send"}, "peer")), ElementsAre());
}

TEST_P(CatalogTasks, a_claim_takes_the_oldest_that_is_due) {
    const auto later = add(std::nullopt, 50);
    const auto second = add(std::nullopt, 10);
    const auto third = add(std::nullopt, 10);
    EXPECT_EQ(claim("n", 9), std::nullopt);
    const auto task = must(catalog().claim_task("n", at(20), kLease, {}));
    ASSERT_TRUE(task);
    EXPECT_EQ(task->id, second.id);
    EXPECT_EQ(task->state, TaskState::running);
    EXPECT_EQ(task->attempts, 1);
    EXPECT_EQ(task->lease_node, "n");
    EXPECT_EQ(task->lease_until, at(20) + kLease);
    EXPECT_EQ(task->started, at(20));
    EXPECT_EQ(json(must(catalog().task(second.id))), json(*task));
    EXPECT_EQ(claim("n", 20), third.id);
    EXPECT_EQ(claim("n", 20), std::nullopt);
    EXPECT_EQ(claim("n", 50), later.id);
}

TEST_P(CatalogTasks, a_claim_leaves_the_excepted_kinds_to_others) {
    auto send = some_task(std::nullopt, 0);
    send.kind = "send";
    must(catalog().add_task(send));
    EXPECT_EQ(claim_all_but({"drill", "send"}, false, 10), std::nullopt);
    auto other = some_task(std::nullopt, 1);
    other.kind = "resend";  // has the name of the other one in it
    must(catalog().add_task(other));
    EXPECT_EQ(claim_all_but({"send", "drill"}, false, 10), other.id);
    EXPECT_EQ(claim("n", 10), send.id);
}

TEST_P(CatalogTasks, one_at_a_time_runs_per_vm_and_those_without_a_vm_do_not_wait) {
    const auto vm = VmId::random();
    const auto first = add(vm, 0);
    const auto second = add(vm, 1);
    const auto other = add(VmId::random(), 2);
    const auto free_one = add(std::nullopt, 3);
    const auto free_two = add(std::nullopt, 4);
    EXPECT_EQ(claim("a", 10), first.id);
    EXPECT_EQ(claim("b", 10), other.id);
    EXPECT_EQ(claim("b", 10), free_one.id);
    EXPECT_EQ(claim("b", 10), free_two.id);
    EXPECT_EQ(claim("b", 10), std::nullopt);
    end(first.id, "a", TaskState::succeeded, 11);
    EXPECT_EQ(claim("b", 11), second.id);
}

TEST_P(CatalogTasks, one_that_only_reads_neither_waits_for_the_vms_others_nor_is_waited_for) {
    const auto vm = VmId::random();
    const auto reader = [&](std::int64_t created_ms) {
        auto task = some_task(vm, created_ms);
        task.reads_only = true;
        must(catalog().add_task(task));
        return task.id;
    };
    const auto first = reader(0);
    EXPECT_EQ(claim("n1", 100), first);
    const auto change = add(vm, 1).id;
    EXPECT_EQ(claim("n2", 100), change);
    const auto second = reader(2);
    EXPECT_EQ(claim("n3", 100), second);
    const auto waiting = add(vm, 3).id;
    EXPECT_EQ(claim("n4", 100), std::nullopt);
    // The change's lease lapsed: another one runs, and the readers with valid ones go on.
    must(catalog().renew_lease(first, "n1", at(10'000)));
    must(catalog().renew_lease(second, "n3", at(10'000)));
    EXPECT_EQ(claim("n4", 2000), change);
    end(change, "n4", TaskState::succeeded, 2001);
    EXPECT_EQ(claim("n5", 2002), waiting);
    EXPECT_EQ(must(catalog().task(first)).lease_node, "n1");
    EXPECT_EQ(must(catalog().task(second)).lease_node, "n3");
    EXPECT_TRUE(must(catalog().task(first)).reads_only);
}

TEST_P(CatalogTasks, who_leaves_a_kind_to_others_leaves_what_only_reads_too) {
    auto reader = some_task(VmId::random(), 0);
    reader.reads_only = true;
    must(catalog().add_task(reader));
    EXPECT_EQ(claim_all_but({}, true, 100), std::nullopt);
    EXPECT_EQ(claim("n", 100), reader.id);
}

TEST_P(CatalogTasks, the_database_refuses_a_second_running_task_of_a_vm) {
    const auto vm = VmId::random();
    add(vm, 0);
    ASSERT_TRUE(claim("a", 1));
    auto intruder = some_task(vm, 0);
    intruder.state = TaskState::running;
    EXPECT_EQ(kind_of(catalog().add_task(intruder)), "conflict");
    EXPECT_EQ(listed({}).size(), 1U);
}

TEST_P(CatalogTasks, a_lapsed_lease_is_taken_over_and_its_holder_finds_out) {
    const auto task = add(VmId::random(), 0);
    EXPECT_EQ(claim("a", 0), task.id);
    EXPECT_EQ(claim("b", 999), std::nullopt);
    EXPECT_EQ(claim("b", 1000), task.id);
    const auto taken = must(catalog().task(task.id));
    EXPECT_EQ(taken.attempts, 2);
    EXPECT_EQ(taken.started, at(0));
    EXPECT_EQ(kind_of(catalog().save_step(task.id, "a", "late", "{}")), "conflict");
    EXPECT_EQ(kind_of(catalog().save_progress(task.id, "a", {})), "conflict");
    EXPECT_EQ(kind_of(catalog().renew_lease(task.id, "a", at(9000))), "conflict");
    auto outcome = taken;
    outcome.state = TaskState::failed;
    EXPECT_EQ(kind_of(catalog().release_task(outcome, "a")), "conflict");
    EXPECT_EQ(json(must(catalog().task(task.id))), json(taken)) << "the late holder changed it";
    must(catalog().save_step(task.id, "b", "next", "{}"));
}

TEST_P(CatalogTasks, an_older_task_of_the_vm_may_run_once_the_lease_lapsed) {
    const auto vm = VmId::random();
    const auto interrupted = add(vm, 5);
    EXPECT_EQ(claim("a", 5), interrupted.id);
    const auto older = add(vm, 0);
    EXPECT_EQ(claim("b", 100), std::nullopt);
    EXPECT_EQ(claim("b", 1005), older.id);
    EXPECT_EQ(claim("c", 1006), std::nullopt) << "two tasks would run for one VM";
    EXPECT_EQ(kind_of(catalog().save_step(interrupted.id, "a", "late", "{}")), "conflict");
    end(older.id, "b", TaskState::succeeded, 1007);
    EXPECT_EQ(claim("c", 1007), interrupted.id);
}

TEST_P(CatalogTasks, a_renewed_lease_is_not_taken_over) {
    const auto task = add(std::nullopt, 0);
    EXPECT_EQ(claim("a", 0), task.id);
    must(catalog().renew_lease(task.id, "a", at(5000)));
    EXPECT_EQ(claim("b", 4999), std::nullopt);
    EXPECT_EQ(claim("b", 5000), task.id);
    EXPECT_EQ(kind_of(catalog().renew_lease(TaskId::random(), "a", at(1))), "not_found");
}

TEST_P(CatalogTasks, step_memo_and_progress_are_kept) {
    const auto task = add(std::nullopt, 0);
    ASSERT_TRUE(claim("a", 0));
    const model::Progress progress{10, 20, 30, 40, "vdb: 50 %"};
    must(catalog().save_step(task.id, "a", "publish", R"({"id":"x"})"));
    must(catalog().save_progress(task.id, "a", progress));
    const auto found = must(catalog().task(task.id));
    EXPECT_EQ(found.step, "publish");
    EXPECT_EQ(found.memo, R"({"id":"x"})");
    EXPECT_EQ(found.progress, progress);
}

TEST_P(CatalogTasks, a_release_to_the_queue_waits_until_not_before) {
    const auto task = add(VmId::random(), 0);
    ASSERT_TRUE(claim("a", 0));
    auto outcome = must(catalog().task(task.id));
    outcome.state = TaskState::queued;
    outcome.not_before = at(500);
    outcome.error_kind = "unavailable";
    outcome.error = "dr does not answer";
    must(catalog().release_task(outcome, "a"));
    const auto found = must(catalog().task(task.id));
    EXPECT_EQ(found.state, TaskState::queued);
    EXPECT_EQ(found.error, "dr does not answer");
    EXPECT_EQ(found.lease_node, "");
    EXPECT_EQ(found.lease_until, std::nullopt);
    EXPECT_EQ(found.ended, std::nullopt);
    EXPECT_EQ(claim("a", 499), std::nullopt);
    EXPECT_EQ(claim("b", 500), task.id);
}

TEST_P(CatalogTasks, a_release_ends_the_task_with_its_outcome) {
    const auto task = add(VmId::random(), 0);
    ASSERT_TRUE(claim("a", 0));
    auto outcome = must(catalog().task(task.id));
    outcome.state = TaskState::succeeded;
    outcome.step = "";
    outcome.result = R"({"bytes":5})";
    outcome.progress = {5, 5, 3, 1, ""};
    outcome.ended = at(9);
    must(catalog().release_task(outcome, "a"));
    outcome.lease_node = "";
    outcome.lease_until.reset();
    EXPECT_EQ(json(must(catalog().task(task.id))), json(outcome));
    EXPECT_EQ(claim("a", 5000), std::nullopt);
    EXPECT_EQ(kind_of(catalog().release_task(outcome, "a")), "conflict");
    outcome.state = TaskState::running;
    EXPECT_EQ(kind_of(catalog().release_task(outcome, "a")), "invalid");
    outcome.state = TaskState::failed;
    outcome.id = TaskId::random();
    EXPECT_EQ(kind_of(catalog().release_task(outcome, "a")), "not_found");
}

TEST_P(CatalogTasks, cancelling_ends_a_queued_one_and_asks_a_running_one) {
    const auto queued = add(std::nullopt, 10);
    const auto running = add(std::nullopt, 0);
    EXPECT_EQ(claim("a", 5), running.id);
    must(catalog().request_cancel(queued.id, at(6)));
    must(catalog().request_cancel(running.id, at(6)));
    EXPECT_EQ(must(catalog().task(queued.id)).state, TaskState::cancelled);
    EXPECT_EQ(must(catalog().task(queued.id)).ended, at(6));
    EXPECT_EQ(must(catalog().task(running.id)).state, TaskState::running);
    EXPECT_TRUE(must(catalog().task(running.id)).cancel_requested);
    EXPECT_EQ(claim("a", 20), std::nullopt) << "a cancelled task was claimed";
    must(catalog().request_cancel(queued.id, at(7)));
    end(running.id, "a", TaskState::succeeded, 8);
    EXPECT_EQ(kind_of(catalog().request_cancel(running.id, at(9))), "conflict");
    EXPECT_EQ(kind_of(catalog().request_cancel(TaskId::random(), at(9))), "not_found");
}

TEST_P(CatalogTasks, cancelling_one_that_waits_for_its_next_attempt_makes_it_due_for_clean_up) {
    const auto task = add(std::nullopt, 0);
    ASSERT_TRUE(claim("a", 0));
    auto outcome = must(catalog().task(task.id));
    outcome.state = TaskState::queued;
    outcome.not_before = at(5000);
    must(catalog().release_task(outcome, "a"));
    must(catalog().request_cancel(task.id, at(10)));
    EXPECT_EQ(must(catalog().task(task.id)).state, TaskState::queued);
    EXPECT_EQ(claim("b", 10), task.id);
    EXPECT_TRUE(must(catalog().task(task.id)).cancel_requested);
}

TEST_P(CatalogTasks, a_release_does_not_forget_a_request_to_cancel) {
    const auto task = add(std::nullopt, 0);
    ASSERT_TRUE(claim("a", 0));
    auto outcome = must(catalog().task(task.id));
    must(catalog().request_cancel(task.id, at(1)));
    outcome.state = TaskState::queued;
    must(catalog().release_task(outcome, "a"));
    EXPECT_TRUE(must(catalog().task(task.id)).cancel_requested);
}

TEST_P(CatalogTasks, a_retry_continues_where_the_task_stopped) {
    for (const auto state : {TaskState::failed, TaskState::cancelled}) {
        const auto task = add(std::nullopt, 0);
        EXPECT_EQ(claim("a", 0), task.id);
        must(catalog().save_step(task.id, "a", "transfer", R"({"id":"x"})"));
        must(catalog().request_cancel(task.id, at(1)));
        auto outcome = must(catalog().task(task.id));
        outcome.state = state;
        outcome.error_kind = "no_space";
        outcome.error = "full";
        outcome.ended = at(2);
        must(catalog().release_task(outcome, "a"));
        must(catalog().retry_task(task.id, at(50)));
        const auto found = must(catalog().task(task.id));
        EXPECT_EQ(found.state, TaskState::queued);
        EXPECT_EQ(found.step, "transfer");
        EXPECT_EQ(found.memo, R"({"id":"x"})");
        EXPECT_EQ(found.attempts, 1);
        EXPECT_EQ(found.error_kind + found.error, "");
        EXPECT_FALSE(found.cancel_requested);
        EXPECT_EQ(found.ended, std::nullopt);
        EXPECT_EQ(found.not_before, at(50));
        EXPECT_EQ(kind_of(catalog().retry_task(task.id, at(51))), "conflict");
        EXPECT_EQ(claim("b", 50), task.id);
        end(task.id, "b", TaskState::succeeded, 60);
        EXPECT_EQ(kind_of(catalog().retry_task(task.id, at(61))), "conflict");
    }
    EXPECT_EQ(kind_of(catalog().retry_task(TaskId::random(), at(1))), "not_found");
}

TEST_P(CatalogTasks, a_log_is_read_from_any_line_on) {
    const auto task = add(std::nullopt, 0);
    const auto other = add(std::nullopt, 0);
    must(catalog().append_log(other.id, at(0), "other"));
    for (int i = 1; i <= 5; ++i)
        must(catalog().append_log(task.id, at(i), "line " + std::to_string(i)));
    const auto lines = must(catalog().task_log(task.id, 0, 100));
    ASSERT_EQ(lines.size(), 5U);
    for (std::size_t i = 1; i < lines.size(); ++i)
        EXPECT_GT(lines[i].sequence, lines[i - 1].sequence);
    EXPECT_EQ(lines[2].text, "line 3");
    EXPECT_EQ(lines[2].time, at(3));
    const auto rest = must(catalog().task_log(task.id, lines[2].sequence, 1));
    ASSERT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0].text, "line 4");
    EXPECT_EQ(kind_of(catalog().append_log(TaskId::random(), at(0), "x")), "not_found");
}

TEST_P(CatalogTasks, a_log_line_is_cut_between_characters) {
    const auto task = add(std::nullopt, 0);
    std::string text;
    while (text.size() < 5000) text += "ü€";
    must(catalog().append_log(task.id, at(0), text));
    const auto line = must(catalog().task_log(task.id, 0, 1)).at(0).text;
    EXPECT_LE(line.size(), 4096U);
    EXPECT_GE(line.size(), 4090U);
    ASSERT_TRUE(line.ends_with(" …"));
    const auto kept = line.substr(0, line.size() - std::string(" …").size());
    EXPECT_TRUE(kept.ends_with("ü") || kept.ends_with("€"));
    EXPECT_TRUE(text.starts_with(kept));
}

}  // namespace
}  // namespace understudy::test
