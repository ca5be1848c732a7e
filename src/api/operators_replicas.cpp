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

// Calls about replicas: list, details, preview of a promote, promote, verify, remove. Calls that
// change something check the request, so that the operator hears at once what is wrong with it, and
// queue a task, which does the work. Nothing is kept here.

namespace understudy::api {
namespace {

using nlohmann::json;

struct Chosen {
    model::Vm vm;
    model::Snapshot snapshot;
};

Result<Chosen> chosen(const Asked& asked, const std::string& snapshot_word) {
    auto id = UNDERSTUDY_VALUE(find_replica(asked.site(), asked.path[1]));
    auto vm = UNDERSTUDY_VALUE(asked.site().catalog.find_vm(id));
    if (!vm)
        return fail(Error(ErrorKind::not_found,
                          fmt::format("there is no replica of '{}' here", asked.path[1]))
                        .advising("`understudy replica list` shows the replicas."));
    UNDERSTUDY_TRY(engine::promoted(vm->ownership, asked.site().cluster.id));
    auto snapshot = UNDERSTUDY_VALUE(find_point(asked.site(), *vm, snapshot_word));
    return Chosen{std::move(*vm), std::move(snapshot)};
}

Result<Reply> preview(const Asked& asked) {
    auto choice = UNDERSTUDY_VALUE(chosen(asked, asked.query("snapshot")));
    return reply_with("promotion", promotion_view(asked.site(), choice.vm, choice.snapshot));
}

// Adds how the promoted VM is watched while it boots. If no check is asked for, nothing is added.
Result<> add_boot_wishes(const Asked& asked, tasks::PromoteArguments& arguments) {
    auto check = UNDERSTUDY_VALUE(flag_field(asked.body, "check", false));
    auto wait = UNDERSTUDY_VALUE(text_field(asked.body, "wait"));
    auto limit = UNDERSTUDY_VALUE(number_field(asked.body, "limit_ms", 0));
    if (!check) return {};
    if (!arguments.start) return fail(ErrorKind::invalid, "check needs 'start': true");
    auto parsed = UNDERSTUDY_VALUE(tasks::parse_boot_check(wait));
    if (parsed.kind == tasks::BootCheck::Kind::console)
        return fail(
            Error(ErrorKind::invalid, "the console of a promoted VM cannot be watched")
                .advising("Wait for its agent or a port. Only a drill can wait for a console."));
    if (limit > tasks::kLongestBoot)
        return fail(ErrorKind::invalid, "limit_ms must be at most 24 h");
    arguments.check = true;
    arguments.wait = wait;
    arguments.limit_ms = limit;
    return {};
}

Result<Reply> promote(const Asked& asked) {
    auto word = UNDERSTUDY_VALUE(text_field(asked.body, "snapshot"));
    auto start = UNDERSTUDY_VALUE(flag_field(asked.body, "start", true));
    auto force = UNDERSTUDY_VALUE(flag_field(asked.body, "owner_may_answer", false));
    auto accept = UNDERSTUDY_VALUE(texts_field(asked.body, "accept"));
    tasks::PromoteArguments arguments{.start = start, .accept = accept, .owner_may_answer = force};
    UNDERSTUDY_TRY(add_boot_wishes(asked, arguments));
    auto choice = UNDERSTUDY_VALUE(chosen(asked, word));
    arguments.vm = choice.vm.id;
    arguments.snapshot = choice.snapshot.id;
    return queue(asked, tasks::kPromote, choice.vm.id,
                 fmt::format("promote {}@{}", choice.vm.name, choice.snapshot.name), arguments);
}

Result<Reply> list(const Asked& asked) {
    auto seen = UNDERSTUDY_VALUE(replicas_at_a_glance(asked.site()));
    return Reply{200, std::move(seen)};
}

Result<Reply> info(const Asked& asked) {
    auto id = UNDERSTUDY_VALUE(find_replica(asked.site(), asked.path[1]));
    auto details = UNDERSTUDY_VALUE(replica_details(asked.site(), id));
    return Reply{200, std::move(details)};
}

Result<Reply> verify(const Asked& asked) {
    auto& site = asked.site();
    auto word = UNDERSTUDY_VALUE(text_field(asked.body, "snapshot"));
    auto repair = UNDERSTUDY_VALUE(flag_field(asked.body, "repair", false));
    auto rate = UNDERSTUDY_VALUE(number_field(asked.body, "rate_bytes", 0));
    auto vm = UNDERSTUDY_VALUE(kept_replica(
        site, asked.path[1], "A replica is compared with the cluster that owns its VM."));
    auto snapshot = UNDERSTUDY_VALUE(find_point(site, vm, word));
    return queue(asked, tasks::new_verification(site, vm, snapshot, repair, rate));
}

Result<Reply> remove(const Asked& asked) {
    auto vm = UNDERSTUDY_VALUE(
        kept_replica(asked.site(), asked.path[1],
                     "To end Understudy's management of a VM, use `understudy vm release`."));
    return queue(asked, tasks::kReplicaRemove, vm.id, "remove replica " + vm.name,
                 tasks::ReplicaRemoveArguments{vm.id});
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
