#include "cli/commands/all_commands.hpp"
#include "cli/session/context.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `cluster init` and `cluster status`: the two functions, each with the text that it prints, then
// their declarations.

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<Exit> cluster_init(Context& context, const Arguments& arguments) {
    return context.call_and_print(
        request("POST", path_of({"v1", "cluster"}), {{"name", arguments.text("NAME")}}),
        [](const Context& c, const json& answer) {
            const json& cluster = at(answer, "cluster");
            c.print_line(fmt::format("This is cluster {} ({}).", escape(text_at(cluster, "name")),
                                     escape(text_at(cluster, "id"))));
            c.print_note(
                "Next: `understudy peer invite` here, and `understudy peer join TOKEN` on the "
                "other cluster.");
        });
}

std::string hypervisor_text(const json& hypervisor) {
    const std::string uri = text_at(hypervisor, "uri");
    if (true_at(hypervisor, "ok")) return uri + ", answers";
    const auto error = find_text(hypervisor, "error").value_or("");
    if (error.empty()) return uri + ", not asked yet";
    return fmt::format("{}, does not answer: {}", uri, error);
}

void render_status(const Context& context, const json& answer) {
    const json& cluster = at(answer, "cluster");
    Facts facts;
    if (cluster.is_object())
        facts.add("Cluster",
                  fmt::format("{} ({})", text_at(cluster, "name"), text_at(cluster, "id")));
    else
        facts.add("Cluster", "not set up yet: `understudy cluster init NAME`");
    facts.add("Node", text_at(answer, "node"));
    facts.add("understudyd", text_at(answer, "version"));
    facts.add("Hypervisor", hypervisor_text(at(answer, "hypervisor")));
    facts.add("Peers' port", text_at(answer, "listen_peers"));
    facts.add("API port", find_text(answer, "listen_api") == "" ? "off (no listen_api)"
                                                                : text_at(answer, "listen_api"));
    facts.add("VMs", number_at(answer, "vms"));
    facts.add("Replicas", number_at(answer, "replicas"));
    facts.add("Peers", number_at(answer, "peers"));
    facts.add("Running tasks", number_at(answer, "tasks_running"));
    auto& out = context.world().out;
    out << facts.text();
    const auto& pools = list_at(answer, "pools");
    if (pools.empty()) {
        if (cluster.is_object()) out << "\nNo storage pool: replicas cannot be received here.\n";
        out << std::flush;
        return;
    }
    Table table;
    table.column("POOL");
    table.column("DRIVER");
    table.column("SIZE", Table::Align::right);
    table.column("FREE", Table::Align::right);
    for (const json& pool : pools)
        table.row({text_at(pool, "name"), text_at(pool, "driver"), size_at(pool, "total"),
                   size_at(pool, "free")});
    out << "\n" << table.text() << std::flush;
}

Result<Exit> cluster_status(Context& context, const Arguments&) {
    return context.call_and_print(request("GET", path_of({"v1", "cluster"})), render_status);
}

}  // namespace

std::vector<CommandSpec> cluster_commands() {
    return {
        {.path = "cluster init",
         .summary = "Give this cluster its name, key and certificate",
         .details = "Run it once, before you pair the first peer. If you run it again with the "
                    "same name, nothing changes.",
         .example = "understudy cluster init home",
         .positionals = {{"NAME", "how peers and operators call this cluster"}},
         .options = {},
         .run = cluster_init},
        {.path = "cluster status",
         .summary = "Show this cluster: its name, pools, and numbers of VMs and replicas",
         .details = "",
         .example = "understudy cluster status\nunderstudy cluster status --format json",
         .positionals = {},
         .options = {},
         .run = cluster_status},
    };
}

}  // namespace understudy::cli
