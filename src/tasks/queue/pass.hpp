#pragma once

#include "tasks/queue/work.hpp"

#include <functional>
#include <string>

namespace understudy::tasks {

// Counts the bytes of one run over all disks of a task, for its progress. Borrows the work.
class Pass {
public:
    Pass(Work& work, std::uint64_t total_bytes);

    // To be called with what was handled since; its error ends the run (cancelled). Valid for as
    // long as the pass. `touched` is called now and then, so that whoever waits sees life.
    std::function<Result<>(ByteSize)> counting(std::string disk);
    std::uint64_t done_bytes() const { return done_; }
    std::function<Result<>(std::uint64_t done)> touched;  // may be empty

private:
    Result<> count(ByteSize more, const std::string& disk);

    Work& work_;
    std::uint64_t total_;
    std::uint64_t done_ = 0;
    Duration began_;
    Duration touched_at_;
};

}  // namespace understudy::tasks
