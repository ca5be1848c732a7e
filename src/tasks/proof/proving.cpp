#include "tasks/proof/proving.hpp"

#include "protocol/limits.hpp"
#include "tasks/disks/digests.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/replicas/incoming_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

// Answers a peer's questions about disks here. First: is the VM owned here, the peer's replica, or
// unknown here? Then: may the peer ask for this snapshot or volume? Only then is the pool read.
// What the peer must not know is answered as not_found. Questions for digests are answered one at a
// time. Nothing is changed, so a crash leaves nothing.

namespace understudy::tasks {
namespace {

std::unexpected<Error> not_here() {
    return fail(ErrorKind::not_found,
                "this snapshot is not there any more, or was not sent from there to here");
}

// A volume that neither this VM nor any other is known to have: of a catalog that lost its rows, or
// brought here by hand.
Result<> check_orphaned(Site& site, const VmId& vm, const VolumeId& volume) {
    return check_volumes_are_its_own(site, vm, {{"", volume, "", {}}});
}

bool has_volume(const model::Snapshot& snapshot, const VolumeId& volume) {
    return std::ranges::any_of(snapshot.disks,
                               [&](const auto& disk) { return disk.volume == volume; });
}

// For a VM that is owned here: the peer was sent this snapshot, or took it itself.
Result<> check_was_sent(Site& site, const ClusterId& to, const model::DigestQuestion& asked) {
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.find_snapshot(asked.snapshot));
    if (!snapshot || snapshot->vm != asked.vm || !has_volume(*snapshot, asked.volume))
        return not_here();
    if (snapshot->origin == to) return {};
    auto sent = site.catalog.was_sent(to, asked.snapshot);
    if (!sent) return error_of(sent);
    return *sent ? Result<>{} : not_here();
}

enum class Standing { owner_here, replica_here, unknown_here };

Result<Standing> standing_of(Site& site, const ClusterId& from, const VmId& id) {
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!vm) return Standing::unknown_here;
    auto shared = UNDERSTUDY_VALUE(shared_with(site, *vm, from));
    if (!shared) return not_here();
    if (vm->ownership.owner == from) return Standing::replica_here;
    if (vm->ownership.owner == site.cluster.id) return Standing::owner_here;
    return not_here();
}

Result<> check_question(Site& site, const ClusterId& from, const model::DigestQuestion& asked) {
    auto standing = UNDERSTUDY_VALUE(standing_of(site, from, asked.vm));
    if (standing == Standing::owner_here) return check_was_sent(site, from, asked);
    return check_orphaned(site, asked.vm, asked.volume);
}

// A disk that was given up or is gone is no failure of the call that asks for it.
Result<ports::StoragePool*> pool_with(Site& site, const VolumeId& volume) {
    auto pool = find_volume(site, volume);
    if (!pool) return pool;
    if (*pool == nullptr) return not_here();
    return pool;
}

}  // namespace

Result<model::DigestAnswer> answer_digests(Site& site, const ClusterId& from,
                                           const model::DigestQuestion& asked) {
    UNDERSTUDY_TRY(check_question(site, from, asked));
    auto pool = UNDERSTUDY_VALUE(pool_with(site, asked.volume));
    // Peers take turns: comparing is the least urgent of all that goes on here.
    const std::lock_guard turn(*site.digesting);
    auto digests = UNDERSTUDY_VALUE(open_digests(*pool, asked.volume, asked.snapshot));
    model::DigestAnswer answer;
    auto blocks = UNDERSTUDY_VALUE(digests->of(asked.ranges, asked.block, mover::kDigestsPerCall));
    answer.blocks = std::move(blocks);
    answer.failure = digests->failure();
    return answer;
}

Result<std::string> answer_range(Site& site, const ClusterId& from,
                                 const model::RangeQuestion& asked) {
    auto standing = UNDERSTUDY_VALUE(standing_of(site, from, asked.vm));
    if (standing != Standing::owner_here) return not_here();
    UNDERSTUDY_TRY(
        check_was_sent(site, from, {asked.vm, asked.snapshot, asked.volume, ByteSize(), {}}));
    auto pool = UNDERSTUDY_VALUE(pool_with(site, asked.volume));
    auto reader = UNDERSTUDY_VALUE(pool->open_snapshot(asked.volume, asked.snapshot));
    const auto size = reader->size().count();
    if (asked.offset.count() > size || asked.length.count() > size - asked.offset.count())
        return fail(ErrorKind::invalid, "the range reaches beyond the disk's end");
    std::string bytes(asked.length.count(), '\0');
    UNDERSTUDY_TRY(reader->read(asked.offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
}

namespace {

// The newest of the snapshots that a pool holds, by lineage. If the catalog lists none of them, the
// last one that the pool names.
std::optional<SnapshotId> newest_content(const std::vector<model::Snapshot>& listed,
                                         const std::vector<SnapshotId>& held) {
    if (held.empty()) return std::nullopt;
    const auto newest =
        std::ranges::find_if(listed.rbegin(), listed.rend(), [&](const model::Snapshot& snapshot) {
            return std::ranges::find(held, snapshot.id) != held.end();
        });
    return newest == listed.rend() ? held.back() : newest->id;
}

Result<std::optional<model::VolumeBase>> content_of(Site& site, const VmId& vm,
                                                    const VolumeId& volume) {
    auto orphaned = check_orphaned(site, vm, volume);
    if (!orphaned && orphaned.error().kind() == ErrorKind::refused) return std::nullopt;
    if (!orphaned) return error_of(orphaned);
    auto pool = UNDERSTUDY_VALUE(find_volume(site, volume));
    if (pool == nullptr) return std::nullopt;
    auto held = UNDERSTUDY_VALUE(pool->snapshots(volume));
    auto listed = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    const auto newest = newest_content(listed, held);
    if (!newest) return std::nullopt;
    return model::VolumeBase{volume, *newest};
}

}  // namespace

Result<std::vector<model::VolumeBase>> answer_contents(Site& site, const ClusterId& from,
                                                       const VmId& vm,
                                                       const std::vector<VolumeId>& volumes) {
    auto standing = UNDERSTUDY_VALUE(standing_of(site, from, vm));
    if (standing == Standing::owner_here) return not_here();
    std::vector<model::VolumeBase> contents;
    for (const auto& volume : volumes) {
        auto content = UNDERSTUDY_VALUE(content_of(site, vm, volume));
        if (content) contents.push_back(*content);
    }
    return contents;
}

}  // namespace understudy::tasks
