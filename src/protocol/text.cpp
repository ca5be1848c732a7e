#include "protocol/text.hpp"

#include "protocol/limits.hpp"

#include <algorithm>

namespace understudy::protocol {

std::string_view cut_text(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return text;
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
    return text.substr(0, limit);
}

std::string printable(std::string_view text) {
    std::string clean(text);
    std::ranges::replace_if(
        clean,
        [](char c) {
            const auto byte = static_cast<unsigned char>(c);
            return (byte < 0x20 && c != '\n') || byte == 0x7F;
        },
        ' ');
    return clean;
}

Error reported_error(std::string_view kind, std::string_view text, std::string_view kept,
                     std::string_view advice) {
    const auto clean = [](std::string_view part) {
        return printable(cut_text(part, kMaxErrorText));
    };
    Error error(base::error_kind_from(kind), clean(text));
    return std::move(error).keeping(clean(kept)).advising(clean(advice));
}

}  // namespace understudy::protocol
