#pragma once

#include "model/task.hpp"
#include "tasks/queue/site.hpp"
#include "tasks/queue/task_memo.hpp"
#include "tasks/records/record.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tasks {

// One record of a task while it is worked at.
class HeldRecord {
public:
    virtual ~HeldRecord() = default;
    virtual nlohmann::json write_changes() const = 0;  // an empty object when nothing is in it
};

template <Fielded T>
class HeldRecordOf final : public HeldRecord {
public:
    explicit HeldRecordOf(T record) : value(std::move(record)) {}
    nlohmann::json write_changes() const override { return tasks::write_changes(value); }

    T value;
};

// How the records of a kind are read: see records_of.
struct RecordTypes {
    using Read = Result<std::unique_ptr<HeldRecord>> (*)(const nlohmann::json&);
    Read arguments = nullptr;
    Read memo = nullptr;
    Read result = nullptr;
};

template <Fielded T>
Result<std::unique_ptr<HeldRecord>> hold_record(const nlohmann::json& stored) {
    auto record = UNDERSTUDY_VALUE(read_record<T>(stored));
    return std::make_unique<HeldRecordOf<T>>(std::move(record));
}

template <Fielded Arguments, Fielded Memo = Nothing, Fielded Outcome = Nothing>
constexpr RecordTypes records_of() {
    return {hold_record<Arguments>, hold_record<Memo>, hold_record<Outcome>};
}

class Work;

// A step may be cut off anywhere and is then run again: it is idempotent.
struct Step {
    std::string_view name;  // in the catalog. A renamed step gives its old name in `formerly`.
    Result<> (*run)(Work&);
    // Past the point of no return: the runner does not cancel it (a step that looks for a cancel
    // itself may end), and it is repeated until it succeeds, as long as the error may go away
    // (unavailable, conflict, no_space).
    bool must_go_on = false;
    std::string_view formerly = {};
};

// One kind of task: its records, its steps in order, and what undoes half-done work when the task
// ends for good without success (cancelled or failed). `on_failure` is idempotent and may be null;
// unless it calls begin_again(), `task retry` goes on at the step that failed.
struct Kind {
    std::string_view name;
    RecordTypes records;
    std::vector<Step> steps;
    Result<> (*on_failure)(Work&) = nullptr;
    bool clean_on_failed = true;  // false: a failed task keeps its work for `task retry`
    // true: the clean-up is repeated without a limit, as long as what stops it may pass.
    bool cleans_until_done = false;
};

// Where in a kind's steps a task is: the first when `name` is empty. unsupported: this version has
// no such step.
Result<std::size_t> index_of_step(const Kind& kind, std::string_view name);

// One attempt at one task, or at a part of it (parts.hpp), as its steps see it. Arguments never
// change; the memo is what finished steps leave for later ones, durable once a step has returned.
// One thread.
class Work {
public:
    Work(Site& site, model::Task& task, std::function<bool()> stopping);
    // A part of a task, named in its memo already. It must not outlive `whole`.
    Work(Work& whole, std::string part);
    ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    // Reads the records: before anything else. unsupported, corrupt: as read_record; then nothing
    // of the row is changed.
    Result<> open(const RecordTypes& types);

    Site& site() { return attempt_->site; }
    const model::Task& task() const { return attempt_->task; }
    // The kind's own types, as its `records` names them.
    template <class T>
    const T& arguments() const {
        return held<T>(arguments_.get());
    }
    template <class T>
    T& memo() {
        return held<T>(memo_.get());
    }
    template <class T>
    T& result() {
        return held<T>(result_.get());
    }

    // A line of the task's log; a log that cannot be written never fails the work.
    void log(const std::string& text);
    // Kept at most twice a second.
    void progress(const model::Progress& progress);
    // True when the operator cancelled, or this daemon is stopping (see stopping()).
    bool interrupted();
    bool stopping() const { return attempt_->stopping(); }
    // cancelled when interrupted; to be called where a step can end cleanly.
    Result<> checkpoint();
    // The memo becomes durable in the middle of a step.
    Result<> save_memo();
    // The earlier attempts achieved something: attempts without progress are counted from here.
    void moved_on();
    // From now on only a stop interrupts. A cancel must end neither the clean-up that it causes nor
    // work that must be completed.
    void ignore_cancel();
    // For a Kind's on_failure: what the steps made is undone, `task retry` begins with the first.
    void begin_again();

    // For the runner and parts.hpp:
    std::string& step();  // to run next, or running
    const std::string& part() const { return part_; }
    TaskMemo& row() { return attempt_->row; }  // the whole task's
    void store_memo();                         // into row(), and that into the task
    nlohmann::json written_result() const;

private:
    // What an attempt at a task and its parts have in common.
    struct Attempt {
        Site& site;
        model::Task& task;
        std::function<bool()> stopping;
        TaskMemo row;
        const HeldRecord* memo = nullptr;  // the whole task's own
        Duration last_cancel_look{-1000};
        bool cancelled = false;
        bool ignores_cancel = false;
    };

    template <class T>
    static T& held(HeldRecord* record) {
        auto* typed = dynamic_cast<HeldRecordOf<T>*>(record);
        UNDERSTUDY_INVARIANT(typed != nullptr, "a record of another kind of task");
        return typed->value;
    }
    Result<> hold(const RecordTypes& types, const nlohmann::json& arguments,
                  const nlohmann::json& memo, const nlohmann::json& result);

    std::shared_ptr<Attempt> attempt_;
    std::string part_;  // its name among the parts of the task; empty: the task itself
    Duration last_progress_{-1000};
    RecordTypes types_;
    std::unique_ptr<HeldRecord> arguments_;
    std::unique_ptr<HeldRecord> memo_;
    std::unique_ptr<HeldRecord> result_;
};

// What becomes of a conflict in a step that need not go on.
enum class OnConflict { hand_up, plan_again };

// Runs the kind's steps from where the work is, each between the two points of its name
// (point.hpp).
Result<> run_steps(Work& work, const Kind& kind, OnConflict on_conflict);

}  // namespace understudy::tasks
