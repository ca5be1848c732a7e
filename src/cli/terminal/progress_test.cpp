#include "cli/terminal/progress.hpp"

#include "cli/terminal/table.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

namespace understudy::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kGiB = 1ULL << 30;
constexpr std::uint64_t kMiB = 1ULL << 20;

ProgressView sending(std::uint64_t done) {
    return {.title = "send web1@nightly to dr",
            .state = "running",
            .step = "move",
            .note = "",
            .done_bytes = done,
            .total_bytes = 4 * kGiB,
            .wire_bytes = done / 2,
            .rate_bytes = 256 * kMiB};
}

TEST(ProgressBar, shows_bytes_rate_ratio_and_eta) {
    EXPECT_EQ(
        progress_bar(sending(kGiB), 120),
        "send web1@nightly to dr  [#####...............]  25 %  1.0 GiB/4.0 GiB  256.0 MiB/s  "
        "ratio 2.0  ETA 12 s");
}

TEST(ProgressBar, is_narrower_than_the_terminal_whatever_its_width) {
    auto view = sending(kGiB);
    view.title = "send 東京東京東京東京東京東京東京東京@nightly to dr";
    for (int columns = 1; columns < 160; ++columns)
        EXPECT_LT(display_width(progress_bar(view, columns)),
                  static_cast<std::size_t>(std::max(columns, 20)))
            << columns;
}

TEST(ProgressBar, says_unknown_rather_than_guessing) {
    auto view = sending(kGiB);
    view.rate_bytes = 0;
    EXPECT_THAT(progress_bar(view, 120), HasSubstr("ETA unknown"));
    view.total_bytes = 0;
    EXPECT_THAT(progress_bar(view, 120), Not(HasSubstr("%")));
    EXPECT_THAT(progress_bar(view, 120), HasSubstr("1.0 GiB"));
}

TEST(ProgressBar, says_100_percent_only_when_all_is_done) {
    EXPECT_EQ(sending(4 * kGiB - 1).percent(), 99U);
    EXPECT_EQ(sending(4 * kGiB).percent(), 100U);
    EXPECT_EQ(sending(5 * kGiB).percent(), 100U);  // a disk that grew meanwhile
}

struct Shown : ::testing::Test {
    std::istringstream in;
    std::ostringstream out, err;
    Duration clock{0};
    Surroundings world{.in = in,
                       .out = out,
                       .err = err,
                       .columns = [] { return 140; },
                       .environment = {},
                       .now = {},
                       .steady_now = [this] { return clock; },
                       .pause = {}};

    std::size_t count(char c) const {
        const auto text = err.str();
        return static_cast<std::size_t>(std::count(text.begin(), text.end(), c));
    }
};

TEST_F(Shown, bar_is_redrawn_at_most_twice_a_second) {
    ProgressDisplay display(world, ProgressStyle::bar);
    for (; clock < std::chrono::seconds(10); clock += std::chrono::milliseconds(50))
        display.update(sending(kGiB));
    EXPECT_EQ(count('\r'), 20U);
    EXPECT_EQ(count('\n'), 0U);
}

TEST_F(Shown, bar_leaves_nothing_of_a_longer_one_behind) {
    ProgressDisplay display(world, ProgressStyle::bar);
    display.update(sending(kGiB));
    const auto first = err.str().size();
    clock += std::chrono::seconds(1);
    auto queued = sending(0);
    queued.total_bytes = queued.rate_bytes = 0;
    display.update(queued);
    EXPECT_EQ(err.str().size(), 2 * first);  // as many columns again, blanks at the end
    display.finish(queued);
    EXPECT_TRUE(err.str().ends_with("\r"));
}

TEST_F(Shown, lines_come_every_ten_seconds_or_ten_percent_and_at_the_end) {
    ProgressDisplay display(world, ProgressStyle::lines);
    display.update(sending(0));
    EXPECT_EQ(err.str(), "");
    clock += std::chrono::seconds(1);
    display.update(sending(kGiB / 4));  // 6 %
    EXPECT_EQ(count('\n'), 0U);
    display.update(sending(kGiB / 2));  // 12 %
    EXPECT_EQ(count('\n'), 1U);
    display.update(sending(kGiB / 2 + 1));
    EXPECT_EQ(count('\n'), 1U);
    clock += std::chrono::seconds(10);
    display.update(sending(kGiB / 2 + 2));
    EXPECT_EQ(count('\n'), 2U);
    auto done = sending(4 * kGiB);
    done.state = "succeeded";
    display.finish(done);
    EXPECT_THAT(err.str(), HasSubstr("12 % (512.0 MiB of 4.0 GiB), 256.0 MiB/s, ratio 2.0"));
    EXPECT_TRUE(err.str().ends_with("send web1@nightly to dr: succeeded\n"));
    EXPECT_EQ(count('\r'), 0U);
}

}  // namespace
}  // namespace understudy::cli
