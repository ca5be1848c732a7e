#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace understudy::cli {

// Text from elsewhere made safe for a terminal: control characters, characters that reorder a line
// and bytes that are not UTF-8 become visible escapes (\n, \x1b, \u202e).
std::string escape(std::string_view text);
// The same, but line breaks and tabs stay.
std::string escape_lines(std::string_view text);

bool is_utf8(std::string_view text);  // RFC 3629

// Columns that an escaped text takes on a terminal (wide characters two, combining ones none).
std::size_t display_width(std::string_view text);

// The beginning of an escaped text, at most `width` columns wide, ending in "…" when cut.
std::string shortened(std::string_view text, std::size_t width);

// Columns aligned by display width, two spaces between, no trailing blanks. Cells are escaped.
class Table {
public:
    enum class Align { left, right };
    void column(std::string_view head, Align align = Align::left);
    void row(std::vector<std::string> cells);  // as many as columns
    std::string text(std::string_view indent = "") const;

private:
    std::vector<std::pair<std::string, Align>> heads_;
    std::vector<std::vector<std::string>> rows_;
};

// "Name:   web1" lines, values aligned and escaped.
class Facts {
public:
    void add(std::string_view label, std::string_view value);
    std::string text() const;

private:
    std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace understudy::cli
