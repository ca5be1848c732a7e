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

}  // namespace
}  // namespace understudy::cli
