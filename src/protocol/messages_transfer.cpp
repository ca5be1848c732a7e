#include "protocol/json_fields.hpp"
#include "protocol/messages.hpp"
#include "protocol/packing.hpp"

#include <set>

// JSON bodies of a send: the offer of a snapshot, its answer, the commit and its answer. An offer
// has the VM's definition and UEFI variables packed (packing.hpp). Decoding checks that the request
// fits together: disks and volumes named once, the snapshot of that VM, a resync without a base.
// Pure.

namespace understudy::protocol {
namespace {

using detail::check_id;
using detail::check_name;
using detail::decoded;
using detail::dump;
using detail::field;
using detail::id_field;
using detail::Malformed;
using nlohmann::json;

template <class T>
T value_or_throw(Result<T> result) {
    if (!result) throw Malformed(result.error().what());
    return std::move(*result);
}

void check_disks(const std::vector<model::SnapshotDisk>& disks) {
    if (disks.size() > kMaxDisks)
        throw Malformed(fmt::format("snapshot.disks: {}, at most {}", disks.size(), kMaxDisks));
    std::set<std::string> targets;
    std::set<VolumeId> volumes;
    for (const auto& disk : disks) {
        check_name("snapshot.disks.target", disk.target);
        check_name("snapshot.disks.pool", disk.pool);
        check_id("snapshot.disks.volume", disk.volume);
        if (disk.size.count() == 0 || disk.size > kMaxDisk)
            throw Malformed(fmt::format("snapshot.disks.size: {} bytes", disk.size.count()));
        if (!targets.insert(disk.target).second)
            throw Malformed("snapshot.disks.target: the same twice");
        if (!volumes.insert(disk.volume).second)
            throw Malformed("snapshot.disks.volume: the same twice");
    }
}

void check_resync(const model::TransferRequest& v) {
    if (v.resync.empty()) return;
    if (v.base) throw Malformed("resync: with a base");
    if (v.resync.size() > v.snapshot.disks.size()) throw Malformed("resync: more than disks");
    std::set<VolumeId> volumes;
    for (const auto& base : v.resync) {
        check_id("resync.volume", base.volume);
        check_id("resync.snapshot", base.snapshot);
        if (base.snapshot == v.snapshot.id)
            throw Malformed("resync.snapshot: the one that is sent");
        if (!volumes.insert(base.volume).second) throw Malformed("resync.volume: the same twice");
    }
}

void check_request(const model::TransferRequest& v) {
    check_name("vm_name", v.vm_name);
    detail::check_ownership(v.ownership);
    check_id("snapshot.id", v.snapshot.id);
    check_name("snapshot.name", v.snapshot.name);
    check_id("snapshot.origin", v.snapshot.origin);
    if (v.snapshot.vm != v.vm) throw Malformed("snapshot.vm: not the VM of the request");
    check_disks(v.snapshot.disks);
    if (v.base && v.base->is_nil()) throw Malformed("base: nil");
    if (v.base == v.snapshot.id) throw Malformed("base: the snapshot itself");
    check_resync(v);
}

model::Definition read_definition(const json& j) {
    return detail::inside("definition", [&] {
        const auto found = j.find("definition");
        if (found == j.end()) throw Malformed("missing");
        return model::Definition{
            .domain_xml = value_or_throw(unpack(field<std::string>(*found, "domain_xml_zstd"),
                                                kMaxDomainXml, "domain_xml_zstd")),
            .nvram = value_or_throw(
                unpack(field<std::string>(*found, "nvram_zstd"), kMaxNvram, "nvram_zstd"))};
    });
}

}  // namespace

Result<std::string> encode_offer_request(const model::TransferRequest& v) {
    auto xml = pack(v.definition.domain_xml, kMaxDomainXml, "the VM's definition");
    if (!xml) return error_of(xml);
    auto nvram = pack(v.definition.nvram, kMaxNvram, "the VM's UEFI variables");
    if (!nvram) return error_of(nvram);
    json j = v;
    j["definition"] = {{"domain_xml_zstd", *std::move(xml)}, {"nvram_zstd", *std::move(nvram)}};
    return dump(j);
}

Result<model::TransferRequest> decode_offer_request(std::string_view body) {
    return decoded(body, "the offer of a snapshot", [](const json& j) {
        id_field<VmId>(j, "vm");
        field<model::Ownership>(j, "ownership");
        field<model::Snapshot>(j, "snapshot");
        auto v = j.get<model::TransferRequest>();
        check_request(v);
        v.holders = detail::holders_field(j);
        v.definition = read_definition(j);
        return v;
    });
}

std::string encode_offer_reply(const model::TransferOffer& v) {
    return dump(v);
}

Result<model::TransferOffer> decode_offer_reply(std::string_view body) {
    return decoded(body, "the answer to the offer", [](const json& j) {
        auto v = j.get<model::TransferOffer>();
        if (!v.complete) check_id("id", v.id);  // then there is no transfer any more
        if (v.durable.disk > kMaxDisks) throw Malformed("durable.disk: beyond any disk");
        if (v.durable.offset.count() > kMaxDisk.count())
            throw Malformed("durable.offset: beyond any disk");
        detail::check_readiness(v.readiness);
        return v;
    });
}

std::string encode_commit_request(const CommitRequest& v) {
    return dump({{"attempt", v.attempt}, {"totals", v.totals}});
}

Result<CommitRequest> decode_commit_request(std::string_view body) {
    return decoded(body, "the commit", [](const json& j) {
        const auto totals = field<json>(j, "totals");
        for (const auto* name : {"chunks", "bytes", "digest_high", "digest_low"})
            field<std::uint64_t>(totals, name);
        return CommitRequest{.attempt = field<std::uint64_t>(j, "attempt"),
                             .totals = totals.get<model::Totals>()};
    });
}

std::string encode_commit_reply(const std::vector<model::ReadinessIssue>& readiness) {
    return dump({{"readiness", readiness}});
}

Result<std::vector<model::ReadinessIssue>> decode_commit_reply(std::string_view body) {
    return decoded(body, "the answer to the commit", [](const json& j) {
        auto readiness = detail::list_field<model::ReadinessIssue>(j, "readiness");
        detail::check_readiness(readiness);
        return readiness;
    });
}

}  // namespace understudy::protocol
