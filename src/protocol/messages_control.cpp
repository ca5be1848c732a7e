#include "protocol/json_fields.hpp"
#include "protocol/messages.hpp"
#include "protocol/text.hpp"

// JSON bodies of pairing, capabilities, ownership, look-ups, handovers and errors; one pair of
// functions for each. Decoding takes the fields first and then checks them; the first one that is
// wrong gives `invalid` with its name. An error from a peer gets printable, bounded texts. Pure.

namespace understudy::protocol {

using detail::decoded;
using detail::dump;
using detail::field;
using detail::id_field;
using detail::Malformed;
using nlohmann::json;

std::string encode_pair_request(const PairRequest& v) {
    return dump({{"secret", v.secret},
                 {"cluster", v.cluster},
                 {"address", v.address},
                 {"certificate_pem", v.certificate_pem}});
}

Result<PairRequest> decode_pair_request(std::string_view body) {
    return decoded(body, "the request to pair", [](const json& j) {
        PairRequest v{.secret = field<std::string>(j, "secret"),
                      .cluster = field<model::Cluster>(j, "cluster"),
                      .address = field<std::string>(j, "address"),
                      .certificate_pem = field<std::string>(j, "certificate_pem")};
        if (v.secret.empty()) throw Malformed("secret: missing");
        detail::check_text("secret", v.secret, kMaxSecret);
        detail::check_cluster(v.cluster);
        detail::check_name("address", v.address);
        detail::check_text("certificate_pem", v.certificate_pem, kMaxCertificatePem);
        return v;
    });
}

std::string encode_pair_reply(const PairReply& v) {
    return dump({{"cluster", v.cluster}, {"capabilities", v.capabilities}});
}

Result<PairReply> decode_pair_reply(std::string_view body) {
    return decoded(body, "the reply to pairing", [](const json& j) {
        PairReply v{.cluster = field<model::Cluster>(j, "cluster"),
                    .capabilities = field<model::Capabilities>(j, "capabilities")};
        detail::check_cluster(v.cluster);
        detail::check_capabilities(v.capabilities);
        return v;
    });
}

std::string encode_capabilities(const model::Capabilities& v) {
    return dump(v);
}

Result<model::Capabilities> decode_capabilities(std::string_view body) {
    return decoded(body, "the peer's capabilities", [](const json& j) {
        auto v = j.get<model::Capabilities>();
        detail::check_capabilities(v);
        return v;
    });
}

std::string encode_ownership(const std::vector<ports::OwnershipNote>& notes) {
    auto list = json::array();
    for (const auto& note : notes) {
        json entry{{"vm", note.vm.text()}, {"ownership", note.ownership}};
        for (const auto& holder : note.holders) entry["holders"].push_back(holder.text());
        list.push_back(std::move(entry));
    }
    return dump({{"vms", std::move(list)}});
}

Result<std::vector<ports::OwnershipNote>> decode_ownership(std::string_view body) {
    return decoded(body, "the exchange of ownership", [](const json& j) {
        std::vector<ports::OwnershipNote> notes;
        for (const auto& entry : detail::list_field<json>(j, "vms"))
            notes.push_back(detail::inside("vms", [&] {
                ports::OwnershipNote note{.vm = id_field<VmId>(entry, "vm"),
                                          .ownership = field<model::Ownership>(entry, "ownership")};
                detail::check_ownership(note.ownership);
                note.holders = detail::holders_field(entry);
                return note;
            }));
        return notes;
    });
}

std::string encode_peer_vm(const ports::PeerVm& v) {
    auto snapshots = json::array();
    for (const auto& id : v.snapshots) snapshots.push_back(id.text());
    json j{{"known", v.known}, {"snapshots", std::move(snapshots)}};
    if (v.known) j["ownership"] = v.ownership;
    if (!v.state.empty()) j["state"] = v.state;
    if (!v.trouble.empty()) j["trouble"] = cut_text(v.trouble, kMaxErrorText);
    return dump(j);
}

Result<ports::PeerVm> decode_peer_vm(std::string_view body) {
    return decoded(body, "what the peer holds of the VM", [](const json& j) {
        ports::PeerVm v;
        v.known = field<bool>(j, "known");
        if (v.known) {
            v.ownership = field<model::Ownership>(j, "ownership");
            detail::check_ownership(v.ownership);
        }
        for (const auto& text : detail::list_field<std::string>(j, "snapshots")) {
            auto id = SnapshotId::parse(text);
            if (!id) throw Malformed("snapshots: " + id.error().what());
            v.snapshots.push_back(*id);
        }
        if (j.contains("state")) v.state = field<std::string>(j, "state");
        if (j.contains("trouble")) v.trouble = field<std::string>(j, "trouble");
        detail::check_text("state", v.state, kMaxName);
        detail::check_text("trouble", v.trouble, kMaxErrorText);
        return v;
    });
}

std::string encode_handover(const ports::Handover& v) {
    return dump({{"ownership", v.ownership},
                 {"snapshot", v.snapshot.text()},
                 {"start", v.start},
                 {"autostart", v.autostart},
                 {"accept", v.accept}});
}

Result<ports::Handover> decode_handover(std::string_view body) {
    return decoded(body, "the handover", [](const json& j) {
        ports::Handover v;
        v.ownership = field<model::Ownership>(j, "ownership");
        detail::check_ownership(v.ownership);
        v.snapshot = id_field<SnapshotId>(j, "snapshot");
        v.start = field<bool>(j, "start");
        v.autostart = field<bool>(j, "autostart");
        v.accept = detail::list_field<std::string>(j, "accept");
        for (const auto& key : v.accept) detail::check_text("accept", key, kMaxName);
        return v;
    });
}

std::string encode_record(const model::Ownership& v) {
    return dump({{"ownership", v}});
}

Result<model::Ownership> decode_record(std::string_view body) {
    return decoded(body, "the record of who owns the VM", [](const json& j) {
        auto v = field<model::Ownership>(j, "ownership");
        detail::check_ownership(v);
        return v;
    });
}

std::string encode_error_reply(const Error& error) {
    return dump({{"error",
                  {{"kind", base::to_string(error.kind())},
                   {"text", cut_text(error.step_text(), kMaxErrorText)},
                   {"kept", cut_text(error.kept(), kMaxErrorText)},
                   {"advice", cut_text(error.advice(), kMaxErrorText)}}}});
}

Error decode_error_reply(std::string_view body, int http_status) {
    auto error = decoded(body, "the error", [](const json& j) {
        const auto inner = field<json>(j, "error");
        const auto part = [&](const char* name) {
            return inner.contains(name) ? field<std::string>(inner, name) : std::string();
        };
        return reported_error(field<std::string>(inner, "kind"), part("text"), part("kept"),
                              part("advice"));
    });
    if (error.has_value()) return std::move(error.value());
    return Error(http_status >= 500 ? ErrorKind::unavailable : ErrorKind::invalid,
                 fmt::format("the peer answered HTTP {} without saying why", http_status))
        .advising("Check that the address is that of an understudyd (peers' port, 7373).");
}

}  // namespace understudy::protocol
