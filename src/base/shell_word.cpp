#include "base/shell_word.hpp"

#include <algorithm>

namespace understudy::base {
namespace {

bool plain(char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || static_cast<unsigned char>(c) >= 0x80 ||
           std::string_view("_./+-%@:,").find(c) != std::string_view::npos;
}

}  // namespace

std::string shell_word(std::string_view name) {
    if (!name.empty() && std::ranges::all_of(name, plain)) return std::string(name);
    std::string word = "'";
    for (const char c : name) {
        if (c == '\'')
            word += "'\\''";
        else
            word += c;
    }
    return word + "'";
}

}  // namespace understudy::base
