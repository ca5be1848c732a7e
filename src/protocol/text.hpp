#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>

// How an error's texts travel: bounded, and on arrival without bytes that would act on a terminal.
namespace understudy::protocol {

// At most `limit` bytes, not cut inside a UTF-8 character.
std::string_view cut_text(std::string_view text, std::size_t limit);
// Control characters other than line breaks become spaces.
std::string printable(std::string_view text);
// An error as reported by a peer, from its parts.
Error reported_error(std::string_view kind, std::string_view text, std::string_view kept,
                     std::string_view advice);

}  // namespace understudy::protocol
