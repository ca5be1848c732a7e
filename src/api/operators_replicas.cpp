#include "api/operators_calls.hpp"
#include "api/outlook_view.hpp"
#include "api/views.hpp"
#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/drills/boot_check.hpp"
#include "tasks/kinds.hpp"
#include "tasks/proof/verifying.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/records/replica_records.hpp"

#include <fmt/format.h>

namespace understudy::api {
namespace {

using nlohmann::json;

struct Chosen {
    model::Vm vm;
    model::Snapshot snapshot;
};

Result<Chosen> chosen(const Asked& asked, const std::string& snapshot_word) {
    auto id = find_replica(asked.site(), asked.path[1]);
    if (!id) return std::unexpected(std::move(id.error()));
    auto vm = asked.site().catalog.find_vm(*id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm)
        return fail(Error(ErrorKind::not_found,
                          fmt::format("there is no replica of '{}' here", asked.path[1]))
                        .advising("`understudy replica list` shows the replicas."));
    auto next = engine::promoted((*vm)->ownership, asked.site().cluster.id);
    if (!next) return std::unexpected(std::move(next.error()));
    auto snapshot = find_point(asked.site(), **vm, snapshot_word);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    return Chosen{std::move(**vm), std::move(*snapshot)};
}

Result<Reply> preview(const Asked& asked) {
    auto choice = chosen(asked, asked.query("snapshot"));
    if (!choice) return std::unexpected(std::move(choice.error()));
    return reply_with("promotion", promotion_view(asked.site(), choice->vm, choice->snapshot));
}

// How what is promoted is watched afterwards; nothing of it when it is not.
Result<> add_boot_wishes(const Asked& asked, tasks::PromoteArguments& arguments) {
    auto check = flag_field(asked.body, "check", false);
    if (!check) return std::unexpected(std::move(check.error()));
    auto wait = text_field(asked.body, "wait");
    if (!wait) return std::unexpected(std::move(wait.error()));
    auto limit = number_field(asked.body, "limit_ms", 0);
    if (!limit) return std::unexpected(std::move(limit.error()));
    if (!*check) return {};
    if (!arguments.start)
        return fail(ErrorKind::invalid, "what is not started cannot be seen to boot");
    auto parsed = tasks::parse_boot_check(*wait);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    if (parsed->kind == tasks::BootCheck::Kind::console)
        return fail(Error(ErrorKind::invalid, "nobody listens to the console of a VM in use")
                        .advising("Wait for its agent or a port; a drill listens to a console."));
    if (*limit > tasks::kLongestBoot)
        return fail(ErrorKind::invalid, "a guest gets at most 24 h to boot");
    arguments.check = true;
    arguments.wait = *wait;
    arguments.limit_ms = *limit;
    return {};
}

Result<Reply> promote(const Asked& asked) {
    auto word = text_field(asked.body, "snapshot");
    if (!word) return std::unexpected(std::move(word.error()));
    auto start = flag_field(asked.body, "start", true);
    if (!start) return std::unexpected(std::move(start.error()));
    auto force = flag_field(asked.body, "owner_may_answer", false);
    if (!force) return std::unexpected(std::move(force.error()));
    auto accept = texts_field(asked.body, "accept");
    if (!accept) return std::unexpected(std::move(accept.error()));
    tasks::PromoteArguments arguments{
        .start = *start, .accept = *accept, .owner_may_answer = *force};
    UNDERSTUDY_TRY(add_boot_wishes(asked, arguments));
    auto choice = chosen(asked, *word);
    if (!choice) return std::unexpected(std::move(choice.error()));
    arguments.vm = choice->vm.id;
    arguments.snapshot = choice->snapshot.id;
    return queue(asked, tasks::kPromote, choice->vm.id,
                 fmt::format("promote {}@{}", choice->vm.name, choice->snapshot.name), arguments);
}

Result<Reply> list(const Asked& asked) {
    auto seen = replicas_at_a_glance(asked.site());
    if (!seen) return std::unexpected(std::move(seen.error()));
    return Reply{200, std::move(*seen)};
}

Result<Reply> info(const Asked& asked) {
    auto id = find_replica(asked.site(), asked.path[1]);
    if (!id) return std::unexpected(std::move(id.error()));
    auto details = replica_details(asked.site(), *id);
    if (!details) return std::unexpected(std::move(details.error()));
    return Reply{200, std::move(*details)};
}

Result<Reply> verify(const Asked& asked) {
    auto& site = asked.site();
    auto word = text_field(asked.body, "snapshot");
    if (!word) return std::unexpected(std::move(word.error()));
    auto repair = flag_field(asked.body, "repair", false);
    if (!repair) return std::unexpected(std::move(repair.error()));
    auto rate = number_field(asked.body, "rate_bytes", 0);
    if (!rate) return std::unexpected(std::move(rate.error()));
    auto vm = kept_replica(site, asked.path[1],
                           "A replica is compared with the cluster that owns its VM.");
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto snapshot = find_point(site, *vm, *word);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    return queue(asked, tasks::new_verification(site, *vm, *snapshot, *repair, *rate));
}

Result<Reply> remove(const Asked& asked) {
    auto vm = kept_replica(asked.site(), asked.path[1],
                           "Take Understudy out of a VM with `understudy vm release`.");
    if (!vm) return std::unexpected(std::move(vm.error()));
    return queue(asked, tasks::kReplicaRemove, vm->id, "remove replica " + vm->name,
                 tasks::ReplicaRemoveArguments{vm->id});
}

}  // namespace

Answer answer_replicas(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "replicas") return std::nullopt;
    if (asked.is("GET", 1)) return list(asked);
    if (asked.is("GET", 2)) return info(asked);
    if (asked.is("DELETE", 2)) return remove(asked);
    if (asked.is("POST", 3) && asked.path[2] == "verify") return verify(asked);
    if (asked.path.size() < 3 || asked.path[2] != "promote") return std::nullopt;
    if (asked.is("GET", 3)) return preview(asked);
    if (asked.is("POST", 3)) return promote(asked);
    return std::nullopt;
}

}  // namespace understudy::api
