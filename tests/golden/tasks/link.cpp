#include "link.hpp"

#include "mover/memory_channel.hpp"
#include "protocol/messages.hpp"
#include "stage.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/take_over.hpp"
#include "tasks/proof/proving.hpp"

// Calls between two daemons in one process. What is said goes through the wire's own encoding, as
// it does between two of them.

namespace understudy::golden {
namespace {

constexpr Duration kOneCall{1};

template <class Value>
Result<Value> as_result(Result<Value> value) {
    return value;
}
Result<std::string> as_result(std::string text) {
    return text;
}

template <class Value, class Encode, class Decode>
Result<Value> carried(const Value& said, Encode encode, Decode decode) {
    auto body = UNDERSTUDY_VALUE(as_result(encode(said)));
    return decode(body);
}

template <class Value, class Encode, class Decode>
Result<Value> carried(Result<Value> said, Encode encode, Decode decode) {
    if (!said)
        return fail(protocol::decode_error_reply(protocol::encode_error_reply(said.error()), 0));
    return carried(*said, encode, decode);
}

// Keeps the receiver while chunks are on their way.
class Channel final : public ports::ChunkChannel {
public:
    Channel(Stage& stage, Host& to, std::shared_ptr<mover::Receiver> receiver)
        : stage_(stage), to_(to), receiver_(std::move(receiver)) {
        mover::MemoryChannel::Options options;
        options.now = [&stage] { return stage.clock().monotonic(); };
        memory_ = std::make_unique<mover::MemoryChannel>(*receiver_, std::move(options));
    }

    Result<> send(const model::Chunk& chunk) override {
        return carry([&](mover::MemoryChannel& line) { return line.send(chunk); });
    }
    Result<std::optional<model::Ack>> poll_ack() override {
        return carry([](mover::MemoryChannel& line) -> Result<std::optional<model::Ack>> {
            auto ack = line.poll_ack();
            if (ack && !*ack) line.deliver();
            return ack;
        });
    }
    Result<> request_flush() override {
        return carry([](mover::MemoryChannel& line) { return line.request_flush(); });
    }
    ports::LinkStats stats() override { return {}; }
    std::uint64_t wire_bytes() override { return memory_->wire_bytes(); }

private:
    template <class Call>
    auto carry(Call call) -> decltype(call(std::declval<mover::MemoryChannel&>())) {
        if (!stage_.connected || to_.daemon() == nullptr)
            return fail(ErrorKind::unavailable, "the line is cut");
        stage_.clock().pass(kOneCall);
        return call(*memory_);
    }

    Stage& stage_;
    Host& to_;
    std::shared_ptr<mover::Receiver> receiver_;
    std::unique_ptr<mover::MemoryChannel> memory_;
};

class Link final : public ports::PeerLink {
public:
    Link(Stage& stage, Host& from, Host& to) : stage_(stage), from_(from), to_(to) {}

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) override {
        const auto read = [](const model::Capabilities& said) {
            return carried(said, protocol::encode_capabilities, protocol::decode_capabilities);
        };
        return ask([&](Daemon& there) -> Result<model::Capabilities> {
            auto heard = read(ours);
            if (!heard) return heard;
            UNDERSTUDY_TRY(there.site.catalog.touch_peer(me(), stage_.clock().now(), *heard));
            return read(to_.capabilities());
        });
    }
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>& ours) override {
        return ask([&](Daemon& there) -> Result<std::vector<ports::OwnershipNote>> {
            auto heard = carried(ours, protocol::encode_ownership, protocol::decode_ownership);
            if (!heard) return heard;
            UNDERSTUDY_TRY(tasks::apply_peer_ownership(there.site, me(), *heard));
            return carried(tasks::ownership_notes_for(there.site, me()), protocol::encode_ownership,
                           protocol::decode_ownership);
        });
    }
    Result<ports::PeerVm> look_up(const VmId& vm) override {
        return ask([&](Daemon& there) {
            return carried(there.receiving.look_up(me(), vm), protocol::encode_peer_vm,
                           protocol::decode_peer_vm);
        });
    }
    Result<ports::PeerVm> look_up_state(const VmId& vm) override {
        return ask([&](Daemon& there) {
            return carried(there.receiving.look_up_state(me(), vm), protocol::encode_peer_vm,
                           protocol::decode_peer_vm);
        });
    }
    Result<model::TransferOffer> offer(const model::TransferRequest& request) override {
        return ask([&](Daemon& there) -> Result<model::TransferOffer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(request, protocol::encode_offer_request, protocol::decode_offer_request));
            return carried(there.receiving.offer(me(), heard), protocol::encode_offer_reply,
                           protocol::decode_offer_reply);
        });
    }
    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId& id,
                                                              std::uint64_t attempt) override {
        auto receiver = UNDERSTUDY_VALUE(
            ask([&](Daemon& there) { return there.receiving.join(me(), id, attempt); }));
        return std::make_unique<Channel>(stage_, to_, std::move(receiver));
    }
    Result<std::vector<model::ReadinessIssue>> commit(const TransferId& id, std::uint64_t attempt,
                                                      const model::Totals& totals) override {
        return ask([&](Daemon& there) -> Result<std::vector<model::ReadinessIssue>> {
            auto heard = UNDERSTUDY_VALUE(carried(protocol::CommitRequest{attempt, totals},
                                                  protocol::encode_commit_request,
                                                  protocol::decode_commit_request));
            return carried(there.receiving.commit(me(), id, heard.attempt, heard.totals),
                           protocol::encode_commit_reply, protocol::decode_commit_reply);
        });
    }
    Result<model::Ownership> hand_over(const ports::Handover& handover) override {
        return ask([&](Daemon& there) -> Result<model::Ownership> {
            auto heard = UNDERSTUDY_VALUE(
                carried(handover, protocol::encode_handover, protocol::decode_handover));
            heard.vm = handover.vm;  // it stands in the path
            return carried(tasks::take_over(there.site, me(), heard), protocol::encode_record,
                           protocol::decode_record);
        });
    }
    Result<model::Ownership> take_back(const VmId& vm, const model::Ownership& offered) override {
        return ask([&](Daemon& there) -> Result<model::Ownership> {
            auto heard = UNDERSTUDY_VALUE(
                carried(offered, protocol::encode_record, protocol::decode_record));
            return carried(tasks::decline(there.site, me(), vm, heard), protocol::encode_record,
                           protocol::decode_record);
        });
    }
    Result<> abandon(const TransferId& id) override {
        return ask([&](Daemon& there) { return there.receiving.abandon(me(), id); });
    }
    Result<model::DigestAnswer> digests(const model::DigestQuestion& asked) override {
        return ask([&](Daemon& there) -> Result<model::DigestAnswer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(asked, protocol::encode_digest_question, protocol::decode_digest_question));
            return carried(tasks::answer_digests(there.site, me(), heard),
                           protocol::encode_digest_answer, protocol::decode_digest_answer);
        });
    }
    Result<model::RangeAnswer> read_range(const model::RangeQuestion& asked) override {
        return ask([&](Daemon& there) -> Result<model::RangeAnswer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(asked, protocol::encode_range_question, protocol::decode_range_question));
            auto bytes = UNDERSTUDY_VALUE(tasks::answer_range(there.site, me(), heard));
            auto read = UNDERSTUDY_VALUE(carried(protocol::RangeReply{std::move(bytes), {}},
                                                 protocol::encode_range_reply,
                                                 protocol::decode_range_reply));
            return model::RangeAnswer{std::move(read.bytes), 0};
        });
    }
    Result<std::vector<model::VolumeBase>> contents(const VmId& vm,
                                                    const std::vector<VolumeId>& volumes) override {
        return ask([&](Daemon& there) -> Result<std::vector<model::VolumeBase>> {
            auto heard = UNDERSTUDY_VALUE(carried(protocol::ContentsQuestion{vm, volumes},
                                                  protocol::encode_contents_question,
                                                  protocol::decode_contents_question));
            return carried(tasks::answer_contents(there.site, me(), heard.vm, heard.volumes),
                           protocol::encode_contents_reply, protocol::decode_contents_reply);
        });
    }

private:
    const ClusterId& me() const { return from_.identity().id; }

    template <class Call>
    auto ask(Call call) -> decltype(call(std::declval<Daemon&>())) {
        if (!stage_.connected || to_.daemon() == nullptr)
            return fail(ErrorKind::unavailable, "nobody answers");
        stage_.clock().pass(kOneCall);
        return call(*to_.daemon());
    }

    Stage& stage_;
    Host& from_;
    Host& to_;
};

class Links final : public ports::PeerLinks {
public:
    Links(Stage& stage, Host& from) : stage_(stage), from_(from) {}
    Result<std::shared_ptr<ports::PeerLink>> to(const ClusterId& peer) override {
        auto* there = stage_.find(peer);
        if (there == nullptr) return fail(ErrorKind::not_found, "no such peer");
        return std::make_shared<Link>(stage_, from_, *there);
    }

private:
    Stage& stage_;
    Host& from_;
};

}  // namespace

std::unique_ptr<ports::PeerLinks> make_links(Stage& stage, Host& from) {
    return std::make_unique<Links>(stage, from);
}

}  // namespace understudy::golden
