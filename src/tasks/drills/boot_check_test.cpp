#include "tasks/drills/boot_check.hpp"

#include <gmock/gmock.h>

namespace understudy::tasks {
namespace {

using Kind = BootCheck::Kind;
using testing::HasSubstr;

TEST(BootCheckWords, say_what_is_waited_for) {
    EXPECT_EQ(parse_boot_check("")->kind, Kind::automatic);
    EXPECT_EQ(parse_boot_check("auto")->kind, Kind::automatic);
    EXPECT_EQ(parse_boot_check("agent")->kind, Kind::agent);
    EXPECT_EQ(parse_boot_check("none")->kind, Kind::none);
    EXPECT_EQ(parse_boot_check("console=a=b login:$")->pattern, "a=b login:$");
    const auto port = parse_boot_check("tcp=22");
    ASSERT_TRUE(port);
    EXPECT_EQ(port->address, "");
    EXPECT_EQ(port->port, 22);
    EXPECT_EQ(parse_boot_check("tcp=192.0.2.7:8080")->address, "192.0.2.7");
    EXPECT_EQ(parse_boot_check("tcp=[fe80::1]:22")->address, "fe80::1");
}

TEST(BootCheckWords, that_make_no_sense_are_refused_with_those_that_do) {
    for (const char* word : {"agnet", "agent=1", "none=", "console", "console=", "console=(", "tcp",
                             "tcp=", "tcp=0", "tcp=65536", "tcp=22x", "tcp=-1", "=", "tcp=a:"})
        EXPECT_EQ(parse_boot_check(word).error().kind(), ErrorKind::invalid) << word;
    EXPECT_FALSE(parse_boot_check("console=" + std::string(300, 'x')));
    EXPECT_THAT(parse_boot_check("x").error().advice(), HasSubstr("console=REGEX"));
}

TEST(BootCheckWords, automatic_takes_the_best_that_there_is) {
    const BootCheck any;
    EXPECT_EQ(definite(any, true, true, "login:").kind, Kind::agent);
    EXPECT_EQ(definite(any, false, true, "login:").pattern, "login:");
    EXPECT_EQ(definite(any, false, false, "login:").kind, Kind::none);
    EXPECT_EQ(definite(any, false, true, "").kind, Kind::none);
    const auto asked = *parse_boot_check("tcp=22");
    EXPECT_EQ(definite(asked, true, true, "login:"), asked);
}

}  // namespace
}  // namespace understudy::tasks
