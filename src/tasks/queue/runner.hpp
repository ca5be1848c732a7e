#pragma once

#include "tasks/queue/work.hpp"

#include <atomic>
#include <map>
#include <string>

namespace understudy::tasks {

// Runs tasks from the catalog, one per call; several threads may call run_one. A task that a dead
// daemon left running is taken up again when its lease lapses, at the step where it was.
class Runner {
public:
    Runner(Site& site, std::vector<Kind> kinds);

    // Puts the tasks that this node was running when it died back into the queue, instead of
    // waiting for the leases to lapse. Once, before the first run_one, and only while no other
    // process uses the node's name.
    Result<> recover();

    // Claims and runs one task to its end, its next pause or a stop. False: nothing to do. An error
    // comes from the catalog; the task's own errors are recorded in the task. Tasks in `except` are
    // left to others. So are drills, if as many run here as are allowed.
    Result<bool> run_one(ports::ClaimExcept except = {});

    // Running steps end at their next durable point, their tasks go back to the queue.
    void stop() { stopping_ = true; }
    bool stopping() const { return stopping_; }

private:
    void run(model::Task& task);
    Result<> check_parts(Work& work);
    void conclude(Work& work, model::Task& task, const Kind& kind, Result<> outcome);
    void handle_failure(Work& work, model::Task& task, const Kind& kind, Error error);
    void clean_up_and_end(Work& work, model::Task& task, const Kind& kind, std::uint64_t tries);
    void end(Work& work, model::Task& task);
    void put_back(Work& work, model::Task& task, Duration pause);
    void end_unread(Work& work, model::Task& task, Error error);
    void record_end_event(const model::Task& task);
    void release(const model::Task& task);
    // False: it did not finish, and may when it is tried again.
    bool clean_up(Work& work, model::Task& task, const Kind& kind);

    Site& site_;
    std::map<std::string, Kind, std::less<>> kinds_;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> drills_ = 0;  // drills that run here, and claims that may become one
};

// How long a claimed task belongs to its node without being renewed.
inline constexpr Duration kLease{30'000};

// The pause after `attempts` in a row that achieved nothing: 1 s doubling to 5 minutes.
Duration retry_pause(std::uint64_t attempts);
// After this many such attempts an unavailable peer or device fails the task; `task retry` goes on.
inline constexpr std::uint64_t kMaxAttempts = 10;

// A new queued task; adding it to the catalog is up to the caller. `arguments` are the kind's
// record, written.
model::Task new_task(Site& site, std::string_view kind, std::optional<VmId> vm, std::string title,
                     const nlohmann::json& arguments);
template <Fielded Arguments>
model::Task new_task(Site& site, std::string_view kind, std::optional<VmId> vm, std::string title,
                     const Arguments& arguments) {
    return new_task(site, kind, vm, std::move(title), write_record(arguments));
}

}  // namespace understudy::tasks
