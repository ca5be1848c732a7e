#pragma once

#include "model/task.hpp"
#include "tasks/site.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tasks {

struct Step;

// One attempt at one task, as its steps see it. Arguments never change; the memo is what finished
// steps leave for later ones, durable once a step has returned. One thread.
class Work {
public:
    Work(Site& site, model::Task& task, std::function<bool()> stopping);
    // A part of another one, which it must not outlive: see parts.hpp.
    Work(Work& whole, std::string part);
    ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    Site& site() { return site_; }
    const model::Task& task() const { return task_; }
    const nlohmann::json& arguments() const { return *arguments_; }
    nlohmann::json& memo() { return *memo_; }
    nlohmann::json& result() { return *result_; }

    // A line of the task's log; a log that cannot be written never fails the work.
    void log(const std::string& text);
    // Kept at most twice a second.
    void progress(const model::Progress& progress);
    // True when the operator cancelled, or this daemon is stopping (see stopping()).
    bool interrupted();
    bool stopping() const { return stopping_(); }
    // cancelled when interrupted; to be called where a step can end cleanly.
    Result<> checkpoint();
    // The memo becomes durable in the middle of a step.
    Result<> save_memo();
    // The earlier attempts achieved something: attempts in vain are counted from here.
    void moved_on();
    // From now on only a stop interrupts: a cancel must not end the clean-up that it leads to, nor
    // what has to be completed.
    void ignore_cancel();
    // For a Kind's on_failure: what the steps made is undone, `task retry` begins with the first.
    void begin_again();

private:
    friend class Part;
    friend Result<> run_step(Work& work, const Step& step);

    Site& site_;
    model::Task& task_;
    Work* whole_ = nullptr;
    std::string part_;  // its name among the parts of whole_
    std::function<bool()> stopping_;
    std::unique_ptr<nlohmann::json> arguments_;
    std::unique_ptr<nlohmann::json> memo_;
    std::unique_ptr<nlohmann::json> result_;
    Duration last_progress_{-1000};
    Duration last_cancel_look_{-1000};
    std::string part_step_;  // of a part: the step to run next, or running
    bool cancelled_ = false;
    bool ignores_cancel_ = false;
};

// A step may be cut off anywhere and is then run again: it is idempotent.
struct Step {
    std::string_view name;
    Result<> (*run)(Work&);
    // Past the point of no return: not cancelled, and tried until it succeeds while what stops it
    // may pass (unavailable, conflict, no_space).
    bool must_go_on = false;
};

// Runs it between the two points of its name; see point.hpp.
Result<> run_step(Work& work, const Step& step);

// One kind of task: its steps in order, and what undoes half-done work when the task ends for good
// without success (cancelled or failed). `on_failure` is idempotent and may be null; unless it
// calls begin_again(), `task retry` goes on at the step that failed.
struct Kind {
    std::string_view name;
    std::vector<Step> steps;
    Result<> (*on_failure)(Work&) = nullptr;
    bool clean_on_failed = true;     // false: a failed task keeps its work for `task retry`
    bool cleans_until_done = false;  // however long what stops the clean-up lasts
};

}  // namespace understudy::tasks
