#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "tasks/boot_check.hpp"
#include "tasks/drilling.hpp"
#include "tasks/kinds.hpp"

#include <fmt/format.h>

// Calls that rehearse the start of a replica.

namespace understudy::api {
namespace {

constexpr std::size_t kMostName = 256;  // of a network

Result<tasks::DrillWishes> wishes_in(const nlohmann::json& body) {
    auto wait = text_field(body, "wait");
    if (!wait) return std::unexpected(std::move(wait.error()));
    auto check = tasks::parse_boot_check(*wait);
    if (!check) return std::unexpected(std::move(check.error()));
    auto limit = number_field(body, "limit_ms", 0);
    if (!limit) return std::unexpected(std::move(limit.error()));
    if (*limit > tasks::kLongestBoot)
        return fail(ErrorKind::invalid, "a guest gets at most 24 h to boot");
    auto network = text_field(body, "network");
    if (!network) return std::unexpected(std::move(network.error()));
    if (network->size() > kMostName)
        return fail(ErrorKind::invalid, "no network has so long a name");
    if (check->kind == tasks::BootCheck::Kind::tcp && network->empty())
        return fail(Error(ErrorKind::invalid, "without a network no port can answer")
                        .advising("Name an isolated one with --network."));
    return tasks::DrillWishes{std::move(*wait), Duration(static_cast<Duration::rep>(*limit)),
                              std::move(*network)};
}

Result<Reply> drill(const Asked& asked) {
    auto& site = asked.site();
    auto word = text_field(asked.body, "snapshot");
    if (!word) return std::unexpected(std::move(word.error()));
    auto wishes = wishes_in(asked.body);
    if (!wishes) return std::unexpected(std::move(wishes.error()));
    auto vm = kept_replica(site, asked.path[1], "What is rehearsed is the start of a replica.");
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto active = site.catalog.tasks({.vm = vm->id, .active_only = true, .limit = 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.kind == tasks::kReplicaDrill)
            return fail(Error(ErrorKind::conflict, fmt::format("'{}' is under way", task.title))
                            .advising(fmt::format("`understudy task watch {}` shows it.",
                                                  task.id.text().substr(0, 8))));
    auto snapshot = find_point(site, *vm, *word);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    return queue(asked, tasks::new_drill(site, *vm, *snapshot, *wishes));
}

}  // namespace

Answer answer_drills(const Asked& asked) {
    if (asked.path.size() != 3 || asked.request.method != "POST") return std::nullopt;
    if (asked.path[0] == "replicas" && asked.path[2] == "drill") return drill(asked);
    return std::nullopt;
}

}  // namespace understudy::api
