#include "wire_link.hpp"

#include "protocol/messages.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/take_over.hpp"
#include "tasks/proof/proving.hpp"

#include <optional>

namespace understudy::wire_link {
namespace {

template <class Value>
Result<Value> as_result(Result<Value> value) {
    return value;
}
Result<std::string> as_result(std::string text) {
    return text;
}

}  // namespace

template <class Ask>
auto WireLink::ask(std::string_view name, Ask question, const Late& late)
    -> decltype(question(std::declval<There&>())) {
    std::optional<decltype(question(std::declval<There&>()))> answer;
    const auto call = [&](There& there) -> Result<> {
        answer.emplace(question(there));
        if (!*answer) return std::unexpected((*answer).error());
        return {};
    };
    UNDERSTUDY_TRY(bring(name, call, late));
    return std::move(*answer);
}

// As the wire's own words bring it to the other side, which has to be able to read it.
template <class Value, class Encode, class Decode>
Result<Value> WireLink::carried(const Value& said, Encode encode, Decode decode) {
    auto body = UNDERSTUDY_VALUE(as_result(encode(said)));
    auto read = decode(body);
    if (!read) found_unreadable(read.error());
    return read;
}

template <class Value, class Encode, class Decode>
Result<Value> WireLink::carried(Result<Value> said, Encode encode, Decode decode) {
    if (!said)
        return fail(protocol::decode_error_reply(protocol::encode_error_reply(said.error()), 0));
    return carried(*said, encode, decode);
}

Result<model::Capabilities> WireLink::exchange_capabilities(const model::Capabilities& ours) {
    const auto read = [&](const model::Capabilities& said) {
        return carried(said, protocol::encode_capabilities, protocol::decode_capabilities);
    };
    return ask("capabilities", [&](There& there) -> Result<model::Capabilities> {
        auto heard = read(ours);
        if (!heard) return heard;
        UNDERSTUDY_TRY(there.site.catalog.touch_peer(from_, there.site.clock.now(), *heard));
        return read(capabilities_there());
    });
}

Result<std::vector<ports::OwnershipNote>> WireLink::exchange_ownership(
    const std::vector<ports::OwnershipNote>& ours) {
    const auto read = [&](Result<std::vector<ports::OwnershipNote>> said) {
        return carried(std::move(said), protocol::encode_ownership, protocol::decode_ownership);
    };
    return ask(
        "ownership",
        [&](There& there) -> Result<std::vector<ports::OwnershipNote>> {
            auto heard = read(ours);
            if (!heard) return heard;
            UNDERSTUDY_TRY(tasks::apply_peer_ownership(there.site, from_, *heard));
            return read(tasks::ownership_notes_for(there.site, from_));
        },
        [from = from_, ours](There& there) {
            (void)tasks::apply_peer_ownership(there.site, from, ours);
        });
}

Result<ports::PeerVm> WireLink::look_up(const VmId& vm) {
    return ask("look_up", [&](There& there) {
        return carried(there.receiving.look_up(from_, vm), protocol::encode_peer_vm,
                       protocol::decode_peer_vm);
    });
}

Result<ports::PeerVm> WireLink::look_up_state(const VmId& vm) {
    return ask("look_up_state", [&](There& there) {
        return carried(there.receiving.look_up_state(from_, vm), protocol::encode_peer_vm,
                       protocol::decode_peer_vm);
    });
}

Result<model::TransferOffer> WireLink::offer(const model::TransferRequest& request) {
    return ask("offer", [&](There& there) -> Result<model::TransferOffer> {
        auto heard = UNDERSTUDY_VALUE(
            carried(request, protocol::encode_offer_request, protocol::decode_offer_request));
        return carried(there.receiving.offer(from_, heard), protocol::encode_offer_reply,
                       protocol::decode_offer_reply);
    });
}

Result<std::unique_ptr<ports::ChunkChannel>> WireLink::open_channel(const TransferId& id,
                                                                    std::uint64_t attempt) {
    auto receiver = UNDERSTUDY_VALUE(ask(
        "open_channel", [&](There& there) { return there.receiving.join(from_, id, attempt); }));
    return channel_to(std::move(receiver));
}

Result<std::vector<model::ReadinessIssue>> WireLink::commit(const TransferId& id,
                                                            std::uint64_t attempt,
                                                            const model::Totals& totals) {
    return ask("commit", [&](There& there) -> Result<std::vector<model::ReadinessIssue>> {
        auto heard = UNDERSTUDY_VALUE(carried(protocol::CommitRequest{attempt, totals},
                                              protocol::encode_commit_request,
                                              protocol::decode_commit_request));
        return carried(there.receiving.commit(from_, id, heard.attempt, heard.totals),
                       protocol::encode_commit_reply, protocol::decode_commit_reply);
    });
}

Result<> WireLink::abandon(const TransferId& id) {
    return ask("abandon", [&](There& there) { return there.receiving.abandon(from_, id); });
}

Result<model::Ownership> WireLink::hand_over(const ports::Handover& handover) {
    return ask(
        "hand_over",
        [&](There& there) -> Result<model::Ownership> {
            auto heard = UNDERSTUDY_VALUE(
                carried(handover, protocol::encode_handover, protocol::decode_handover));
            heard.vm = handover.vm;  // it stands in the path
            return carried(tasks::take_over(there.site, from_, heard), protocol::encode_record,
                           protocol::decode_record);
        },
        [from = from_, handover](There& there) {
            (void)tasks::take_over(there.site, from, handover);
        });
}

Result<model::Ownership> WireLink::take_back(const VmId& vm, const model::Ownership& offered) {
    return ask(
        "take_back",
        [&](There& there) -> Result<model::Ownership> {
            auto heard = UNDERSTUDY_VALUE(
                carried(offered, protocol::encode_record, protocol::decode_record));
            return carried(tasks::decline(there.site, from_, vm, heard), protocol::encode_record,
                           protocol::decode_record);
        },
        [from = from_, vm, offered](There& there) {
            (void)tasks::decline(there.site, from, vm, offered);
        });
}

Result<model::DigestAnswer> WireLink::digests(const model::DigestQuestion& asked) {
    return ask("digests", [&](There& there) -> Result<model::DigestAnswer> {
        auto heard = UNDERSTUDY_VALUE(
            carried(asked, protocol::encode_digest_question, protocol::decode_digest_question));
        return carried(tasks::answer_digests(there.site, from_, heard),
                       protocol::encode_digest_answer, protocol::decode_digest_answer);
    });
}

Result<model::RangeAnswer> WireLink::read_range(const model::RangeQuestion& asked) {
    return ask("read_range", [&](There& there) -> Result<model::RangeAnswer> {
        auto heard = UNDERSTUDY_VALUE(
            carried(asked, protocol::encode_range_question, protocol::decode_range_question));
        auto bytes = UNDERSTUDY_VALUE(tasks::answer_range(there.site, from_, heard));
        auto read =
            UNDERSTUDY_VALUE(carried(protocol::RangeReply{std::move(bytes), {}},
                                     protocol::encode_range_reply, protocol::decode_range_reply));
        return model::RangeAnswer{std::move(read.bytes), 0};
    });
}

Result<std::vector<model::VolumeBase>> WireLink::contents(const VmId& vm,
                                                          const std::vector<VolumeId>& volumes) {
    return ask("contents", [&](There& there) -> Result<std::vector<model::VolumeBase>> {
        auto heard = UNDERSTUDY_VALUE(carried(protocol::ContentsQuestion{vm, volumes},
                                              protocol::encode_contents_question,
                                              protocol::decode_contents_question));
        return carried(tasks::answer_contents(there.site, from_, heard.vm, heard.volumes),
                       protocol::encode_contents_reply, protocol::decode_contents_reply);
    });
}

}  // namespace understudy::wire_link
