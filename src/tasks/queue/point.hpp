#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::tasks {

// Called before and after each step of a task, and each change that a peer's call makes durable. A
// test may let this daemon die there. It gets the VM, and "KIND.STEP.before" or "….after". A step
// of a task's part is "KIND.PART.STEP". After: the step has done its work, and nobody has recorded
// that it has.
using PointHook = std::function<void(const std::optional<VmId>& vm, const std::string& point)>;

// Runs the step between its two points.
template <class Step>
Result<> run_between_points(const PointHook& hook, const std::optional<VmId>& vm,
                            std::string_view name, Step step) {
    if (hook) hook(vm, fmt::format("{}.before", name));
    Result<> done = step();
    if (hook && done) hook(vm, fmt::format("{}.after", name));
    return done;
}

}  // namespace understudy::tasks
