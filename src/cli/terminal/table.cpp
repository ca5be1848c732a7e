#include "cli/terminal/table.hpp"

#include <fmt/format.h>
#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <cstdint>

// Text that is safe on a terminal, from bytes up: UTF-8 decoded, what is escaped, how wide it is;
// then tables and lists of facts made of it.

namespace understudy::cli {
namespace {

struct CodePoint {
    char32_t value = 0;
    std::size_t bytes = 1;
    bool valid = false;  // else `bytes` is 1 and the byte stands for itself
};

// One code point of UTF-8 (RFC 3629): no overlong forms, no surrogates.
CodePoint decode(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return {first, 1, true};
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) return {first, 1, false};
    char32_t value = first & (0xFFU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80) return {first, 1, false};
        value = value << 6 | (byte(i) & 0x3FU);
    }
    const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    if (overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return {first, 1, false};
    return {value, length, true};
}

// Characters that change how the rest of a line is read: Unicode's bidirectional controls,
// line and paragraph separators (UAX #9, section 2; UTR #36, section 2.5).
bool reorders(char32_t c) {
    return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

bool is_control(char32_t c) {
    return c < 0x20 || (c >= 0x7F && c <= 0x9F);
}

// Debian's libc-bin always brings C.UTF-8, whatever locale the operator has.
int columns_of(char32_t c) {
    static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (c < 0x7F || utf8 == nullptr) return 1;
    const locale_t before = uselocale(utf8);
    const int width = wcwidth(static_cast<wchar_t>(c));
    uselocale(before);
    return width < 0 ? 1 : width;
}

void append_escaped(std::string& into, const CodePoint& point) {
    if (!point.valid || (point.value < 0x80 && point.value != '\n' && point.value != '\t'))
        into += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(point.value));
    else if (point.value == '\n')
        into += "\\n";
    else if (point.value == '\t')
        into += "\\t";
    else
        into += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(point.value));
}

std::string escape_except(std::string_view text, std::string_view kept) {
    std::string safe;
    safe.reserve(text.size());
    while (!text.empty()) {
        const CodePoint point = decode(text);
        const bool keep = point.valid && point.value < 0x80 &&
                          kept.find(static_cast<char>(point.value)) != std::string_view::npos;
        if (keep || (point.valid && !is_control(point.value) && !reorders(point.value)))
            safe += text.substr(0, point.bytes);
        else
            append_escaped(safe, point);
        text.remove_prefix(point.bytes);
    }
    return safe;
}

}  // namespace

std::string escape(std::string_view text) {
    return escape_except(text, "");
}

std::string escape_lines(std::string_view text) {
    return escape_except(text, "\n\t");
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const CodePoint point = decode(text);
        if (!point.valid) return false;
        text.remove_prefix(point.bytes);
    }
    return true;
}

std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    while (!text.empty()) {
        const CodePoint point = decode(text);
        width += point.valid ? static_cast<std::size_t>(columns_of(point.value)) : 1;
        text.remove_prefix(point.bytes);
    }
    return width;
}

std::string shortened(std::string_view text, std::size_t width) {
    if (display_width(text) <= width) return std::string(text);
    if (width == 0) return "";
    std::string cut;
    std::size_t used = 0;
    while (!text.empty()) {
        const CodePoint point = decode(text);
        const auto columns =
            point.valid ? static_cast<std::size_t>(columns_of(point.value)) : std::size_t{1};
        if (used + columns > width - 1) break;
        used += columns;
        cut += text.substr(0, point.bytes);
        text.remove_prefix(point.bytes);
    }
    return cut + "…";
}

void Table::column(std::string_view head, Align align) {
    heads_.emplace_back(head, align);
}

void Table::row(std::vector<std::string> cells) {
    for (auto& cell : cells) cell = escape(cell);
    cells.resize(heads_.size());
    rows_.push_back(std::move(cells));
}

std::string Table::text(std::string_view indent) const {
    std::vector<std::size_t> widths;
    std::vector<std::string> head_row;
    for (const auto& [head, align] : heads_) {
        widths.push_back(display_width(head));
        head_row.push_back(head);
    }
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], display_width(row[i]));

    std::string text;
    const auto add_line = [&](const std::vector<std::string>& cells) {
        std::string line(indent);
        for (std::size_t i = 0; i < cells.size(); ++i) {
            if (i > 0) line += "  ";
            const std::string blanks(widths[i] - display_width(cells[i]), ' ');
            line += heads_[i].second == Align::right ? blanks + cells[i] : cells[i] + blanks;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    };
    add_line(head_row);
    for (const auto& row : rows_) add_line(row);
    return text;
}

void Facts::add(std::string_view label, std::string_view value) {
    facts_.emplace_back(std::string(label) + ":", escape(value));
}

std::string Facts::text() const {
    std::size_t width = 0;
    for (const auto& [label, value] : facts_) width = std::max(width, display_width(label));
    std::string text;
    for (const auto& [label, value] : facts_)
        text += label + std::string(width + 2 - display_width(label), ' ') + value + "\n";
    return text;
}

}  // namespace understudy::cli
