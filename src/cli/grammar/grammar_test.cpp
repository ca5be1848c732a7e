#include "cli/grammar/help.hpp"
#include "cli/grammar/parse.hpp"
#include "cli/grammar/walk.hpp"

#include <gmock/gmock.h>

// The grammar of a small program of its own: nothing in this wing knows understudy's commands.

namespace understudy::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Grammar& foxes() {
    static const Grammar grammar{
        .summary = "Foxes jump.",
        .notes = "\nThat is all.\n",
        .commands = {{.path = "fox jump",
                      .summary = "Make a fox jump",
                      .details = "",
                      .example = "understudy fox jump red",
                      .positionals = {{"FOX", "which one"}},
                      .options = {{"--over", "DOG", "what it jumps over"}},
                      .run = nullptr},
                     {.path = "rest",
                      .summary = "Do nothing",
                      .details = "",
                      .example = "understudy rest",
                      .positionals = {},
                      .options = {},
                      .run = nullptr}},
        .groups = {{"fox", "what a fox does"}},
        .global_options = {{"-f,--forest", "NAME", "where"}},
    };
    return grammar;
}

TEST(Walk, finds_the_command_whatever_options_stand_between) {
    const auto walked = walk(foxes(), {"-f", "fox", "fox", "--forest=x", "jump", "red"});
    EXPECT_EQ(walked.path, "fox jump");
    EXPECT_EQ(walked.command, &foxes().commands.front());
    EXPECT_EQ(walked.next, 5U);
    EXPECT_FALSE(walked.unknown);
}

TEST(Walk, stops_at_the_first_word_that_names_nothing) {
    EXPECT_EQ(walk(foxes(), {"fox", "jmp"}).path, "fox");
    EXPECT_EQ(walk(foxes(), {"fox", "jmp"}).unknown, "jmp");
    EXPECT_EQ(walk(foxes(), {"fox"}).command, nullptr);
    EXPECT_EQ(walk(foxes(), {}).path, "");
}

TEST(Nearest, offers_only_what_is_near) {
    EXPECT_EQ(nearest("lsit", {"list", "info"}), "list");
    EXPECT_EQ(nearest("snap", {"snapshot", "stop"}), "snapshot");
    EXPECT_EQ(nearest("xyzzy", {"list", "info"}), std::nullopt);
    EXPECT_EQ(nearest("", {"list"}), std::nullopt);
}

TEST(Grammar, knows_what_comes_after_a_group) {
    EXPECT_THAT(foxes().children_of(""), ElementsAre("fox", "rest"));
    EXPECT_THAT(foxes().children_of("fox"), ElementsAre("jump"));
    EXPECT_EQ(foxes().find_command("fox"), nullptr);
    EXPECT_EQ(foxes().find_group("rest"), nullptr);
}

TEST(Parse, reads_arguments_and_global_options_by_the_grammar_that_it_is_given) {
    const auto parsed = parse(foxes(), {"fox", "jump", "--over", "rex", "red", "-f", "black"});
    ASSERT_TRUE(parsed) << parsed.error().text();
    EXPECT_EQ(parsed->command, &foxes().commands.front());
    EXPECT_EQ(parsed->arguments.text("FOX"), "red");
    EXPECT_EQ(parsed->arguments.text("over"), "rex");
    EXPECT_EQ(parsed->globals.text("forest"), "black");
    EXPECT_THAT(parse(foxes(), {"fox", "jump", "red", "--ovre", "x"}).error().text(),
                HasSubstr("did you mean --over?"));
    EXPECT_THAT(parse(foxes(), {"fox", "jmp"}).error().text(),
                HasSubstr("did you mean 'fox jump'?"));
}

TEST(HelpText, is_made_of_the_grammar_alone) {
    EXPECT_EQ(help_text(foxes(), ""),
              "Foxes jump.\n\nUsage: understudy [OPTIONS] COMMAND …\n"
              "\nCommands:\n  fox   what a fox does\n  rest  Do nothing\n"
              "\nOptions, before or after the command:\n  -f, --forest NAME  where\n"
              "\nThat is all.\n");
    EXPECT_THAT(help_text(foxes(), "fox"), HasSubstr("  fox jump FOX  Make a fox jump\n"));
    EXPECT_EQ(usage_line(foxes().commands.front()), "understudy fox jump FOX [OPTIONS]");
}

}  // namespace
}  // namespace understudy::cli
