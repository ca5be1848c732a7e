#pragma once

#include "base/error.hpp"
#include "model/vm.hpp"

namespace understudy::tasks {

// What the step `check` of a promote or a resolve decided, and its later steps carry out.
struct Decision {
    model::Ownership before;  // the record when it was decided
    model::Ownership next;    // what it becomes
};

// Read from the kind's memo. corrupt: `check` has not recorded it, and no later step can go on.
template <class Memo>
Result<Decision> decision_in(const Memo& memo) {
    if (memo.before && memo.next) return Decision{*memo.before, *memo.next};
    return fail(ErrorKind::corrupt, "the memo does not say what was decided");
}

}  // namespace understudy::tasks
