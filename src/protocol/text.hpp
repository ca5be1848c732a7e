#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>

// How the texts of an error travel: they are bounded, and on arrival control characters, which
// could act on a terminal, are replaced.
namespace understudy::protocol {

// At most `limit` bytes, not cut inside a UTF-8 character.
std::string_view cut_text(std::string_view text, std::size_t limit);
// Control characters other than line breaks become spaces.
std::string printable(std::string_view text);
// Makes an Error of the parts that a peer reported.
Error reported_error(std::string_view kind, std::string_view text, std::string_view kept,
                     std::string_view advice);

}  // namespace understudy::protocol
