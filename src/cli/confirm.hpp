#pragma once

#include "cli/context.hpp"

#include <string_view>

namespace understudy::cli {

// What a command that destroys something must get before it does so.

// Before any call: invalid when there is neither -y nor a terminal to ask on.
Result<> may_ask(const Context& context, std::string_view command);

// Says what will be lost and wants "y"; with -y it does neither. cancelled: nothing was done.
Result<> confirm(const Context& context, std::string_view loss, std::string_view question);

// Wants the very name typed; not called with -y.
Result<> confirm_by_name(const Context& context, std::string_view name);
// The same for another word: "To go on, type WHAT (WORD): ".
Result<> confirm_by_typing(const Context& context, std::string_view what, std::string_view word);

}  // namespace understudy::cli
