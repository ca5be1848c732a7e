#pragma once

#include <string>
#include <string_view>

namespace understudy::base {

// A name as one word of a shell command line, for advice that an operator pastes. Names come from
// guests' owners and from peers, so the shell must not interpret them. Plain names stay as they
// are.
std::string shell_word(std::string_view name);

}  // namespace understudy::base
