#include "cli/terminal/table.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

TEST(Escape, shows_control_characters_instead_of_obeying_them) {
    EXPECT_EQ(escape("a\x1b[2Jb"), "a\\x1b[2Jb");
    EXPECT_EQ(escape("a\nb\tc\r"), "a\\nb\\tc\\x0d");
    EXPECT_EQ(escape("\x7f"), "\\x7f");
    EXPECT_EQ(escape("\xc2\x9b"), "\\u009b");      // CSI as one C1 character
    EXPECT_EQ(escape("\xe2\x80\xae"), "\\u202e");  // right-to-left override
    EXPECT_EQ(escape(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Escape, shows_bytes_that_are_not_utf8) {
    EXPECT_EQ(escape("a\xff\xfe"), "a\\xff\\xfe");
    EXPECT_EQ(escape("\xc0\xaf"), "\\xc0\\xaf");           // overlong "/"
    EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
    EXPECT_EQ(escape("\xe2\x82"), "\\xe2\\x82");           // cut off
    EXPECT_FALSE(is_utf8("a\xff"));
    EXPECT_TRUE(is_utf8("größer 東京 🚀"));
}

TEST(Escape, leaves_text_of_every_script_alone) {
    EXPECT_EQ(escape("größer 東京 🚀 e\u0301"), "größer 東京 🚀 e\u0301");
    EXPECT_EQ(escape_lines("a\n\tb\x1b"), "a\n\tb\\x1b");
}

TEST(DisplayWidth, counts_terminal_columns) {
    EXPECT_EQ(display_width("web1"), 4U);
    EXPECT_EQ(display_width("größe"), 5U);
    EXPECT_EQ(display_width("東京"), 4U);
    EXPECT_EQ(display_width("🚀"), 2U);
    EXPECT_EQ(display_width("e\u0301"), 1U);
}

TEST(Shortened, cuts_by_columns_and_never_inside_a_character) {
    EXPECT_EQ(shortened("web1", 4), "web1");
    EXPECT_EQ(shortened("web123", 4), "web…");
    EXPECT_EQ(shortened("東京都", 4), "東…");
    EXPECT_EQ(shortened("東京都", 5), "東京…");
    EXPECT_EQ(shortened("x", 0), "");
}

TEST(Table, aligns_wide_and_narrow_names) {
    Table table;
    table.column("NAME");
    table.column("SIZE", Table::Align::right);
    table.column("NOTE");
    table.row({"東京", "1 B", "x"});
    table.row({"web-server", "41.2 GiB", ""});
    table.row({"größe\n", "5", "y"});
    EXPECT_EQ(table.text(),
              "NAME            SIZE  NOTE\n"
              "東京             1 B  x\n"
              "web-server  41.2 GiB\n"
              "größe\\n            5  y\n");
}

TEST(Facts, aligns_values_and_escapes_them) {
    Facts facts;
    facts.add("Name", "a\x1b");
    facts.add("Last contact", "unknown");
    EXPECT_EQ(facts.text(), "Name:          a\\x1b\nLast contact:  unknown\n");
}

}  // namespace
}  // namespace understudy::cli
