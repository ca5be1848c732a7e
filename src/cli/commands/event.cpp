#include "cli/commands/all_commands.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `event list`: the newest events, those to come (--follow, by long poll), or the check of their
// hashes.

namespace understudy::cli {

using nlohmann::json;

namespace {

std::string line_of(const json& event) {
    return fmt::format("{}  {}  {}: {}", escape(text_at(event, "time")),
                       escape(text_at(event, "kind")), escape(text_at(event, "actor")),
                       escape(text_at(event, "text")));
}

void print_events(const Context& context, const json& answer) {
    for (const json& event : list_at(answer, "events")) {
        if (context.json())
            context.print_json(event);
        else
            context.print_line(line_of(event));
    }
}

std::string events_path(const std::string& after, const std::string& limit) {
    std::string path = path_of({"v1", "events"});
    path += query_of('?', "limit", limit);
    if (!after.empty()) path += query_of('&', "after", after);
    return path;
}

// Until Ctrl-C, or until the daemon does not answer any more.
Result<Exit> follow_events(const Context& context, std::string limit) {
    std::string after;
    while (true) {
        auto path = events_path(after, limit);
        if (!after.empty())
            path += query_of('&', "wait_ms", std::to_string(Duration(kLongPoll).count()));
        auto call = request("GET", path);
        call.timeout = kLongPoll + kCallTimeout;
        auto answer = UNDERSTUDY_VALUE(context.call(call));
        print_events(context, answer);
        const auto& events = list_at(answer, "events");
        if (!events.empty())
            after = number_at(events.back(), "sequence");
        else if (after.empty())
            after = "0";
        limit = "1000";
    }
}

Result<Exit> event_list(Context& context, const Arguments& arguments) {
    const auto limit = arguments.find("limit").value_or("100");
    if (arguments.has("verify"))
        return context.call_and_print(
            request("GET", path_of({"v1", "events", "verify"})),
            [](const Context& c, const json& answer) {
                c.print_line(fmt::format("All {} events are as they were recorded.",
                                         number_at(answer, "verified")));
            });
    if (arguments.has("follow")) return follow_events(context, limit);
    return context.call_and_print(request("GET", events_path("", limit)),
                                  [](const Context& c, const json& answer) {
                                      if (list_at(answer, "events").empty())
                                          c.print_note("No events yet.");
                                      print_events(c, answer);
                                  });
}

}  // namespace

std::vector<CommandSpec> event_commands() {
    return {
        {"event list",
         "Show what happened, who did it, and when",
         "The events are changes of role, what operators asked for, failures and recoveries. Of "
         "the "
         "events shown, the oldest is first. Each event has a hash over the event before it, so "
         "that no "
         "event can be removed unnoticed; --verify checks this.",
         "understudy event list --limit 20\nunderstudy event list --follow",
         {},
         {{"--follow", "", "continue to show new events"},
          {"--limit", "N", "how many of the newest events; 100 if not given"},
          {"--verify", "", "check that no event was changed or removed"}},
         event_list},
    };
}

}  // namespace understudy::cli
