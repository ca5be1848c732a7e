#pragma once

#include "cli/session/context.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace understudy::cli {

// What a command that destroys something must get before it does so.

// Before any call: invalid when there is neither -y nor a terminal to ask on.
Result<> check_can_ask(const Context& context, std::string_view command);

// Says what will be lost and wants "y"; with -y it does neither. cancelled: nothing was done.
Result<> confirm(const Context& context, std::string_view loss, std::string_view question);

// What to ask before something is destroyed.
struct Question {
    std::string_view command;   // "vm stop", for the error when nobody can be asked
    std::string path;           // a GET of it tells what would be lost
    std::string_view question;  // "Stop it?"
};
// The text of what will be lost, from that GET's answer.
using LossText = std::function<std::string(const nlohmann::json& answer)>;

// check_can_ask(), then the GET and confirm() with what `loss` makes of its answer. With -y it
// calls and asks nothing.
Result<> confirm_about(const Context& context, const Question& about, const LossText& loss);

// Wants the very name typed; not called with -y.
Result<> confirm_by_name(const Context& context, std::string_view name);
// The same for another word: "To go on, type WHAT (WORD): ".
Result<> confirm_by_typing(const Context& context, std::string_view what, std::string_view word);

}  // namespace understudy::cli
