#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/shell_word.hpp"
#include "base/units.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace understudy::base {
namespace {

TEST(Error, tells_outer_step_first_then_what_was_kept_then_the_advice) {
    auto error = Error(ErrorKind::no_space, "no space left")
                     .keeping("41.2 GiB received")
                     .advising("Retry the task.")
                     .during("publish vda")
                     .during("send web1");
    EXPECT_EQ(error.text(),
              "send web1: publish vda: no space left. Kept: 41.2 GiB received. Retry the task.");
}

TEST(Error, keeps_the_advice_that_was_given_closest_to_the_fault) {
    auto error = Error(ErrorKind::invalid, "x").advising("Inner.").advising("Outer.");
    EXPECT_EQ(error.advice(), "Inner.");
}

TEST(Error, may_be_told_more_in_place) {
    auto error = Error(ErrorKind::invalid, "x");
    error = std::move(error).during("a step").keeping("all").advising("Retry.");
    EXPECT_EQ(error.text(), "a step: x. Kept: all. Retry.");
}

TEST(Error, kinds_survive_their_words) {
    for (int i = 0; i <= static_cast<int>(ErrorKind::internal); ++i)
        EXPECT_EQ(error_kind_from(to_string(static_cast<ErrorKind>(i))), static_cast<ErrorKind>(i));
    EXPECT_EQ(error_kind_from("from a newer version"), ErrorKind::internal);
}

TEST(Error, a_full_disk_is_no_space_and_a_dead_link_is_unavailable) {
    EXPECT_EQ(errno_error(ENOSPC, "write").kind(), ErrorKind::no_space);
    EXPECT_EQ(errno_error(ECONNRESET, "read").kind(), ErrorKind::unavailable);
    EXPECT_EQ(errno_error(ENOENT, "open").kind(), ErrorKind::not_found);
}

TEST(ShellWord, leaves_plain_names_and_disarms_all_others) {
    EXPECT_EQ(shell_word("web-1.lan@nightly"), "web-1.lan@nightly");
    EXPECT_EQ(shell_word("Müller"), "Müller");
    EXPECT_EQ(shell_word(""), "''");
    EXPECT_EQ(shell_word("a b"), "'a b'");
    EXPECT_EQ(shell_word("$(rm -rf /) 'x"), R"('$(rm -rf /) '\''x')");
    EXPECT_EQ(shell_word("~root"), "'~root'");
}

TEST(Ids, text_and_bytes_agree_both_ways) {
    const auto id = VmId::random();
    const auto again = VmId::parse(id.text());
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(*again, id);
    EXPECT_NE(VmId::random(), id);
}

TEST(Ids, refuses_what_is_not_a_uuid) {
    for (const auto* text :
         {"", "x", "123e4567-e89b-12d3-a456-42661417400", "123e4567-e89b-12d3-a456-4266141740000",
          "123e4567_e89b-12d3-a456-426614174000", "g23e4567-e89b-12d3-a456-426614174000"})
        EXPECT_FALSE(VmId::parse(text).has_value()) << text;
}

TEST(Sizes, are_read_as_they_are_written_by_people) {
    EXPECT_EQ(parse_size("50MiB").value(), MiB(50));
    EXPECT_EQ(parse_size("1G").value(), GiB(1));
    EXPECT_EQ(parse_size("4096").value(), KiB(4));
    EXPECT_EQ(format_size(MiB(1536)), "1.5 GiB");
    for (const auto* text : {"", "G", "-1", "1X", "99999999999T", "1 G"})
        EXPECT_FALSE(parse_size(text).has_value()) << text;
}

TEST(Times, survive_their_text_to_the_millisecond) {
    const TimePoint time(std::chrono::milliseconds(1795426012123));
    EXPECT_EQ(parse_time(format_time(time)).value(), time);
    for (const auto* text : {"", "2026-13-01T00:00:00.000Z", "2026-11-23T09:26:52.123",
                             "2026-11-23T25:00:00.000Z", "2026-11-23T09:26:52.123Zx"})
        EXPECT_FALSE(parse_time(text).has_value()) << text;
}

TEST(Durations, are_read_and_shown_with_units) {
    EXPECT_EQ(parse_duration("15m").value(), std::chrono::minutes(15));
    EXPECT_EQ(format_duration(std::chrono::seconds(252)), "4 m 12 s");
    EXPECT_FALSE(parse_duration("15").has_value());
}

}  // namespace
}  // namespace understudy::base
