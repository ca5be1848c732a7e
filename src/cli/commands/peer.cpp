#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/context.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>

// The commands of `peer`, in the order of the help: invite and join, list and info, remove, map,
// limit; then their declarations.

namespace understudy::cli {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxToken = 8192;  // bytes; a token is a few hundred

Result<Exit> peer_invite(Context& context, const Arguments& arguments) {
    auto ttl = base::parse_duration(arguments.find("ttl").value_or("15m"));
    if (!ttl) return fail(std::move(ttl.error()).during("--ttl"));
    return context.call_and_print(
        request("POST", path_of({"v1", "invites"}), {{"ttl_ms", ttl->count()}}),
        [](const Context& c, const json& answer) {
            c.print_line(escape(text_at(answer, "token")));
            c.print_note(fmt::format(
                "\nThe token is valid once, until {}. On the other cluster run:\n"
                "    understudy peer join -        (and paste it)\n"
                "The other cluster must be able to reach this cluster at {}.",
                escape(text_at(answer, "expires")), escape(text_at(answer, "address"))));
        });
}

Result<std::string> token_from(std::istream& in) {
    std::string token;
    char c = 0;
    while (token.size() <= kMaxToken && in.get(c)) {
        if (c == '\n' && !token.empty()) break;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') token += c;
    }
    if (token.empty()) return fail(ErrorKind::invalid, "there is no token on standard input");
    if (token.size() > kMaxToken)
        return fail(ErrorKind::invalid, "standard input is too long to be a token");
    return token;
}

Result<Exit> peer_join(Context& context, const Arguments& arguments) {
    std::string token = arguments.text("TOKEN");
    if (token == "-") {
        if (context.world().can_ask()) context.print_note("Paste the token and press Enter:");
        auto read = UNDERSTUDY_VALUE(token_from(context.world().in));
        token = read;
    }
    return context.call_and_print(
        request("POST", path_of({"v1", "peers"}), {{"token", token}}),
        [](const Context& c, const json& answer) {
            const json& peer = at(answer, "peer");
            c.print_line(fmt::format("Paired with {} at {}.", escape(text_at(peer, "name")),
                                     escape(text_at(peer, "address"))));
        });
}

Result<Exit> peer_list(Context& context, const Arguments&) {
    return context.call_and_print(
        request("GET", path_of({"v1", "peers"})), [](const Context& c, const json& answer) {
            Table table;
            for (const char* head : {"NAME", "ADDRESS", "REACHABLE", "LAST CONTACT", "LIMIT"})
                table.column(head);
            for (const json& peer : list_at(answer, "peers"))
                table.row(
                    {text_at(peer, "name"), text_at(peer, "address"), yes_no_at(peer, "reachable"),
                     age_at(peer, "last_contact", c.world().now()), rate_at(peer, "rate_limit")});
            if (list_at(answer, "peers").empty())
                c.print_note("No peers. `understudy peer invite` begins a pairing.");
            else
                c.world().out << table.text() << std::flush;
        });
}

std::string map_lines(const json& peer, const char* kind, std::string_view label) {
    const json& map = at(peer, kind);
    std::string lines;
    if (!map.is_object()) return lines;
    for (const auto& [there, here] : map.items())
        lines += fmt::format("  {} {} on the peer is {} here\n", label, escape(there),
                             here.is_string() ? escape(here.get<std::string>()) : "unknown");
    return lines;
}

std::string all_map_lines(const json& peer) {
    return map_lines(peer, "networks", "network") + map_lines(peer, "pools", "pool");
}

std::string list_or_none(const std::string& lines) {
    return lines.empty() ? std::string("  none\n") : lines;
}

void render_peer(const Context& context, const json& answer) {
    const json& peer = at(answer, "peer");
    const json& capabilities = at(peer, "capabilities");
    Facts facts;
    facts.add("Name", text_at(peer, "name"));
    facts.add("Cluster id", text_at(peer, "id"));
    facts.add("Address", text_at(peer, "address"));
    const bool known = at(answer, "reachable").is_boolean();
    facts.add("Reachable", known && !true_at(answer, "reachable")
                               ? "no: " + text_at(answer, "error")
                               : yes_no_at(answer, "reachable"));
    facts.add("Last contact", moment_at(peer, "last_contact", context.world().now()));
    facts.add("Certificate", text_at(peer, "fingerprint"));
    facts.add("Send limit", rate_at(peer, "rate_limit"));
    facts.add("understudyd", text_at(capabilities, "version"));
    facts.add("Networks there", joined_at(capabilities, "networks", kUnknown));
    auto& out = context.world().out;
    out << facts.text();
    Table pools;
    for (const char* head : {"POOL THERE", "DRIVER"}) pools.column(head);
    for (const char* head : {"SIZE", "FREE"}) pools.column(head, Table::Align::right);
    for (const json& pool : list_at(capabilities, "pools"))
        pools.row({text_at(pool, "name"), text_at(pool, "driver"), size_at(pool, "total"),
                   size_at(pool, "free")});
    if (!list_at(capabilities, "pools").empty()) out << "\n" << pools.text();
    out << "\nMaps for its replicas here:\n" << list_or_none(all_map_lines(peer)) << std::flush;
}

Result<Exit> peer_info(Context& context, const Arguments& arguments) {
    return context.call_and_print(request("GET", path_of({"v1", "peers", arguments.text("PEER")})),
                                  render_peer);
}

Result<Exit> peer_remove(Context& context, const Arguments& arguments) {
    const std::string name = arguments.text("PEER");
    std::string path = path_of({"v1", "peers", name});
    const Question about{.command = "peer remove", .path = path, .question = "Remove this peer?"};
    UNDERSTUDY_TRY(confirm_about(context, about, [&](const json& peer) {
        return fmt::format(
            "The pairing with {} ends. Nothing is sent to it or received from it any more, and its "
            "mappings are removed. To pair again, you need a new invitation.{}",
            escape(text_at(at(peer, "peer"), "name")),
            arguments.has("force")
                ? " With --force unfinished transfers from it are removed too, and bases for it "
                  "are no longer held: the next send may have to be a full one."
                : "");
    }));
    if (arguments.has("force")) path += "?force=1";
    auto answer = UNDERSTUDY_VALUE(context.call(request("DELETE", path)));
    if (context.json())
        context.print_json(answer);
    else
        context.print_line(fmt::format("Removed peer {}.", escape(name)));
    return Exit::done;
}

// Which of the two maps holds THERE, when the command line does not say.
Result<std::string> map_holding(const Context& context, const std::string& peer,
                                const std::string& there) {
    auto answer = UNDERSTUDY_VALUE(context.get(path_of({"v1", "peers", peer})));
    const bool network = at(at(answer, "peer"), "networks").contains(there);
    const bool pool = at(at(answer, "peer"), "pools").contains(there);
    if (network != pool) return std::string(network ? "network" : "pool");
    return fail(
        ErrorKind::invalid,
        network ? fmt::format("'{}' is mapped as a network and as a pool. Say which one, as in "
                              "`peer map {} network --remove {}`",
                              there, peer, there)
                : fmt::format("neither a network nor a pool '{}' is mapped for {}", there, peer));
}

Result<json> map_changes(const Context& context, const Arguments& arguments) {
    std::string kind = arguments.text("KIND");
    json changes = json::object();
    if (!kind.empty() && kind != "network" && kind != "pool")
        return fail(ErrorKind::invalid,
                    fmt::format("'{}' cannot be mapped: it is network or pool", kind));
    for (const auto& mapping : arguments.all("THERE=HERE")) {
        const auto equals = mapping.find('=');
        if (equals == 0 || equals == std::string::npos || equals + 1 == mapping.size())
            return fail(
                ErrorKind::invalid,
                fmt::format("'{}' is no mapping: it is THERE=HERE, as in lan=br0", mapping));
        changes[kind + "s"][mapping.substr(0, equals)] = mapping.substr(equals + 1);
    }
    for (const auto& there : arguments.all("remove")) {
        std::string from = kind;
        if (from.empty()) {
            auto found = UNDERSTUDY_VALUE(map_holding(context, arguments.text("PEER"), there));
            from = found;
        }
        changes[from + "s"][there] = nullptr;
    }
    if (!kind.empty() && changes.empty())
        return fail(ErrorKind::invalid,
                    fmt::format("what to map is missing: `peer map PEER {} THERE=HERE`", kind));
    return changes;
}

Result<Exit> peer_map(Context& context, const Arguments& arguments) {
    auto changes = UNDERSTUDY_VALUE(map_changes(context, arguments));
    const std::string peer = arguments.text("PEER");
    const auto call = changes.empty()
                          ? request("GET", path_of({"v1", "peers", peer}))
                          : request("PUT", path_of({"v1", "peers", peer, "map"}), changes);
    return context.call_and_print(call, [](const Context& c, const json& answer) {
        c.world().out << list_or_none(all_map_lines(at(answer, "peer"))) << std::flush;
    });
}

Result<Exit> peer_limit(Context& context, const Arguments& arguments) {
    const std::string word = arguments.text("RATE");
    std::uint64_t rate = 0;
    if (word != "none" && word != "none/s") {
        auto parsed = rate_from(word);
        if (!parsed) return fail(std::move(parsed.error()).during("the limit"));
        rate = *parsed;
        if (rate == 0)
            return fail(ErrorKind::invalid,
                        "a limit of 0 would send nothing; use none for no limit");
    }
    return context.call_and_print(
        request("PUT", path_of({"v1", "peers", arguments.text("PEER"), "limit"}),
                {{"rate_bytes", rate}}),
        [](const Context& c, const json& answer) {
            const json& peer = at(answer, "peer");
            c.print_line(fmt::format("Limit of sends to {}: {}.", escape(text_at(peer, "name")),
                                     rate_at(peer, "rate_limit")));
        });
}

constexpr PositionalSpec kPeer{
    .name = "PEER", .help = "the peer's name or id", .names = Names::peer};

}  // namespace

std::vector<CommandSpec> peer_commands() {
    return {
        {"peer invite",
         "Print a token that pairs one other cluster with this one",
         "The token contains a secret that is valid for one pairing. Keep it secret, like a "
         "password.",
         "understudy peer invite --ttl 1h",
         {},
         {{"--ttl", "TIME", "how long the token is valid (15m, 2h); 15m if not given"}},
         peer_invite},
        {"peer join",
         "Pair with the cluster that printed the token",
         "With - the token is read from standard input. Then neither the process list nor the "
         "shell's history shows it.",
         "understudy peer join -",
         {{"TOKEN", "what `peer invite` printed there, or -"}},
         {},
         peer_join},
        {"peer list",
         "List the clusters that this one is paired with",
         "",
         "understudy peer list",
         {},
         {},
         peer_list},
        {"peer info",
         "Ask whether a peer answers, and show what it can do",
         "The peer is asked now. What it can do is as of the last contact.",
         "understudy peer info dr",
         {kPeer},
         {},
         peer_info},
        {"peer remove",
         "End the pairing with a peer (asks first)",
         "Refused while replicas of the peer are here, while VMs of this cluster are sent to it, "
         "or while a transfer is not finished. Replicas and snapshots stay in any case.",
         "understudy peer remove dr",
         {kPeer},
         {{"--force", "",
           "end the pairing also in these cases; unfinished transfers from the peer are removed"}},
         peer_remove},
        {"peer map",
         "Say which network or pool here is used instead of a peer's",
         "The mappings are for replicas from that peer. Without THERE=HERE, the command shows the "
         "present mappings.",
         "understudy peer map home network lan=br0\nunderstudy peer map home pool ssd=vms\n"
         "understudy peer map home network --remove lan",
         {kPeer,
          {.name = "KIND",
           .help = "network or pool",
           .required = false,
           .names = Names::words,
           .words = "network pool"},
          {.name = "THERE=HERE",
           .help = "its name on the peer, and its name here",
           .required = false,
           .repeats = true}},
         {{.flags = "--remove", .value = "THERE", .help = "forget this mapping", .repeats = true}},
         peer_map},
        {"peer limit",
         "Limit the bandwidth of sends to a peer",
         "The limit is in bytes per second, for all sends to the peer together. It also applies to "
         "running sends, at once.",
         "understudy peer limit dr 50MiB\nunderstudy peer limit dr none",
         {kPeer, {"RATE", "such as 50MiB (per second), or none"}},
         {},
         peer_limit},
    };
}

}  // namespace understudy::cli
