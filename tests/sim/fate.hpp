#pragma once

#include "base/error.hpp"

#include <string_view>
#include <utility>

namespace understudy::sim {

// Thrown through the stack of a daemon whose process ends in the middle of a call: nothing of it
// runs any more but destructors, and its catalog and pools stay as they are.
struct Killed {
    const void* who;
};

// Asked before and after every call that a daemon makes of its world. An error is the call's
// outcome: before it nothing was done, after it the reply is lost. Both may throw Killed.
class Fate {
public:
    virtual ~Fate() = default;
    virtual Result<> before(std::string_view call) = 0;
    virtual Result<> after(std::string_view call) = 0;
};

template <class Call>
auto fated(Fate& fate, std::string_view name, Call call) -> decltype(call()) {
    if (auto begun = fate.before(name); !begun) return error_of(begun);
    auto answer = call();
    if (!answer) return answer;
    if (auto told = fate.after(name); !told) return error_of(told);
    return answer;
}

}  // namespace understudy::sim
