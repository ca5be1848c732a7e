#pragma once

#include <string>
#include <string_view>

namespace understudy::base {

// A name as one word of a shell command line, for advice that an operator pastes: names come from
// guests' owners and from peers, and must not act there. Plain names stay as they are.
std::string shell_word(std::string_view name);

}  // namespace understudy::base
