#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

TEST(Version, needs_no_daemon) {
    Program program;
    EXPECT_EQ(program.run({"version"}).out, "understudy 0.1.0\n");
    EXPECT_EQ(program.run({"version", "--format=json"}).json(), json({{"version", "0.1.0"}}));
    EXPECT_THAT(program.api.targets, IsEmpty());
}

// A list of commands is read from its left edge, by people and by scripts: a summary that takes a
// second line puts words there that are no command.
TEST(Help, lists_each_command_with_its_summary_on_one_line) {
    for (const auto* noun : {"cluster", "peer", "vm", "replica", "task", "event"}) {
        Program program;
        std::istringstream lines(program.run({noun, "--help"}).out);
        std::string line;
        while (std::getline(lines, line) && line != "Commands:") {
        }
        size_t commands = 0;
        for (std::string above; std::getline(lines, line) && !line.empty(); above = line) {
            const bool begins = line.starts_with("  " + std::string(noun) + " ");
            const bool below_long_usage = above.ends_with(']');
            EXPECT_TRUE(begins || below_long_usage) << line;
            if (begins) ++commands;
        }
        EXPECT_GT(commands, 0U) << noun;
    }
}

}  // namespace
}  // namespace understudy::cli
