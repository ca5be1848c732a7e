#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "tasks/drills/boot_check.hpp"
#include "tasks/drills/drilling.hpp"
#include "tasks/kinds.hpp"

#include <fmt/format.h>

// Calls that rehearse the start of a replica.

namespace understudy::api {
namespace {

constexpr std::size_t kMostName = 256;  // of a network

Result<tasks::DrillWishes> wishes_in(const nlohmann::json& body) {
    auto wait = UNDERSTUDY_VALUE(text_field(body, "wait"));
    auto check = UNDERSTUDY_VALUE(tasks::parse_boot_check(wait));
    auto limit = UNDERSTUDY_VALUE(number_field(body, "limit_ms", 0));
    if (limit > tasks::kLongestBoot)
        return fail(ErrorKind::invalid, "limit_ms must be at most 24 h");
    auto network = UNDERSTUDY_VALUE(text_field(body, "network"));
    if (network.size() > kMostName)
        return fail(ErrorKind::invalid, "the name of the network is too long");
    if (check.kind == tasks::BootCheck::Kind::tcp && network.empty())
        return fail(Error(ErrorKind::invalid, "without a network no port can answer")
                        .advising("Name an isolated one with --network."));
    return tasks::DrillWishes{std::move(wait), Duration(static_cast<Duration::rep>(limit)),
                              std::move(network)};
}

Result<Reply> drill(const Asked& asked) {
    auto& site = asked.site();
    auto word = UNDERSTUDY_VALUE(text_field(asked.body, "snapshot"));
    auto wishes = UNDERSTUDY_VALUE(wishes_in(asked.body));
    auto vm = UNDERSTUDY_VALUE(
        kept_replica(site, asked.path[1], "A drill tests the start of a replica only."));
    auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(vm.id));
    for (const auto& task : active)
        if (task.kind == tasks::kReplicaDrill)
            return fail(Error(ErrorKind::conflict, fmt::format("'{}' is under way", task.title))
                            .advising(fmt::format("`understudy task watch {}` shows it.",
                                                  task.id.text().substr(0, 8))));
    auto snapshot = UNDERSTUDY_VALUE(find_point(site, vm, word));
    return queue(asked, tasks::new_drill(site, vm, snapshot, wishes));
}

}  // namespace

Answer answer_drills(const Asked& asked) {
    if (asked.path.size() != 3 || asked.request.method != "POST") return std::nullopt;
    if (asked.path[0] == "replicas" && asked.path[2] == "drill") return drill(asked);
    return std::nullopt;
}

}  // namespace understudy::api
