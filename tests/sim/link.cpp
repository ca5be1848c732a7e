#include "link.hpp"

#include "protocol/features.hpp"
#include "protocol/messages.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/take_over.hpp"
#include "tasks/proof/proving.hpp"
#include "world.hpp"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

std::unexpected<Error> no_line() {
    return fail(ErrorKind::unavailable, "the line is cut");
}

template <class Value>
Result<Value> as_result(Result<Value> value) {
    return value;
}
Result<std::string> as_result(std::string text) {
    return text;
}

class StageLink final : public ports::PeerLink {
public:
    StageLink(World& world, Cluster& from, Cluster& to) : world_(world), from_(from), to_(to) {}

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) override {
        const auto read = [&](const model::Capabilities& said) {
            return carried(said, protocol::encode_capabilities, protocol::decode_capabilities);
        };
        return ask("capabilities", [&](Daemon& there) -> Result<model::Capabilities> {
            auto heard = read(ours);
            if (!heard) return heard;
            UNDERSTUDY_TRY(there.catalog.touch_peer(from_.id(), to_.clock().now(), *heard));
            return read(to_.capabilities());
        });
    }
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>& ours) override {
        const auto read = [&](Result<std::vector<ports::OwnershipNote>> said) {
            return carried(std::move(said), protocol::encode_ownership, protocol::decode_ownership);
        };
        return ask(
            "ownership",
            [&](Daemon& there) -> Result<std::vector<ports::OwnershipNote>> {
                auto heard = read(ours);
                if (!heard) return heard;
                UNDERSTUDY_TRY(tasks::apply_peer_ownership(there.site, from_.id(), *heard));
                return read(tasks::ownership_notes_for(there.site, from_.id()));
            },
            [from = from_.id(), ours](Daemon& there) {
                (void)tasks::apply_peer_ownership(there.site, from, ours);
            });
    }
    Result<ports::PeerVm> look_up(const VmId& vm) override {
        return ask("look_up", [&](Daemon& there) {
            return carried(there.receiving.look_up(from_.id(), vm), protocol::encode_peer_vm,
                           protocol::decode_peer_vm);
        });
    }
    Result<ports::PeerVm> look_up_state(const VmId& vm) override {
        return ask("look_up_state", [&](Daemon& there) {
            return carried(there.receiving.look_up_state(from_.id(), vm), protocol::encode_peer_vm,
                           protocol::decode_peer_vm);
        });
    }
    Result<model::TransferOffer> offer(const model::TransferRequest& request) override {
        return ask("offer", [&](Daemon& there) -> Result<model::TransferOffer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(request, protocol::encode_offer_request, protocol::decode_offer_request));
            return carried(there.receiving.offer(from_.id(), heard), protocol::encode_offer_reply,
                           protocol::decode_offer_reply);
        });
    }
    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId& id,
                                                              std::uint64_t attempt) override {
        auto receiver = UNDERSTUDY_VALUE(ask("open_channel", [&](Daemon& there) {
            return there.receiving.join(from_.id(), id, attempt);
        }));
        return std::make_unique<StageChannel>(world_, from_, to_, std::move(receiver));
    }
    Result<std::vector<model::ReadinessIssue>> commit(const TransferId& id, std::uint64_t attempt,
                                                      const model::Totals& totals) override {
        return ask("commit", [&](Daemon& there) -> Result<std::vector<model::ReadinessIssue>> {
            auto heard = UNDERSTUDY_VALUE(carried(protocol::CommitRequest{attempt, totals},
                                                  protocol::encode_commit_request,
                                                  protocol::decode_commit_request));
            return carried(there.receiving.commit(from_.id(), id, heard.attempt, heard.totals),
                           protocol::encode_commit_reply, protocol::decode_commit_reply);
        });
    }
    Result<model::Ownership> hand_over(const ports::Handover& handover) override {
        return ask(
            "hand_over",
            [&](Daemon& there) -> Result<model::Ownership> {
                auto heard = UNDERSTUDY_VALUE(
                    carried(handover, protocol::encode_handover, protocol::decode_handover));
                heard.vm = handover.vm;  // it stands in the path
                return carried(tasks::take_over(there.site, from_.id(), heard),
                               protocol::encode_record, protocol::decode_record);
            },
            [from = from_.id(), handover](Daemon& there) {
                (void)tasks::take_over(there.site, from, handover);
            });
    }
    Result<model::Ownership> take_back(const VmId& vm, const model::Ownership& offered) override {
        return ask(
            "take_back",
            [&](Daemon& there) -> Result<model::Ownership> {
                auto heard = UNDERSTUDY_VALUE(
                    carried(offered, protocol::encode_record, protocol::decode_record));
                return carried(tasks::decline(there.site, from_.id(), vm, heard),
                               protocol::encode_record, protocol::decode_record);
            },
            [from = from_.id(), vm, offered](Daemon& there) {
                (void)tasks::decline(there.site, from, vm, offered);
            });
    }
    Result<> abandon(const TransferId& id) override {
        return ask("abandon",
                   [&](Daemon& there) { return there.receiving.abandon(from_.id(), id); });
    }

    Result<model::DigestAnswer> digests(const model::DigestQuestion& asked) override {
        return ask("digests", [&](Daemon& there) -> Result<model::DigestAnswer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(asked, protocol::encode_digest_question, protocol::decode_digest_question));
            return carried(tasks::answer_digests(there.site, from_.id(), heard),
                           protocol::encode_digest_answer, protocol::decode_digest_answer);
        });
    }
    Result<model::RangeAnswer> read_range(const model::RangeQuestion& asked) override {
        return ask("read_range", [&](Daemon& there) -> Result<model::RangeAnswer> {
            auto heard = UNDERSTUDY_VALUE(
                carried(asked, protocol::encode_range_question, protocol::decode_range_question));
            auto bytes = UNDERSTUDY_VALUE(tasks::answer_range(there.site, from_.id(), heard));
            auto read = UNDERSTUDY_VALUE(carried(protocol::RangeReply{std::move(bytes), {}},
                                                 protocol::encode_range_reply,
                                                 protocol::decode_range_reply));
            return model::RangeAnswer{std::move(read.bytes), 0};
        });
    }
    Result<std::vector<model::VolumeBase>> contents(const VmId& vm,
                                                    const std::vector<VolumeId>& volumes) override {
        return ask("contents", [&](Daemon& there) -> Result<std::vector<model::VolumeBase>> {
            auto heard = UNDERSTUDY_VALUE(carried(protocol::ContentsQuestion{vm, volumes},
                                                  protocol::encode_contents_question,
                                                  protocol::decode_contents_question));
            return carried(tasks::answer_contents(there.site, from_.id(), heard.vm, heard.volumes),
                           protocol::encode_contents_reply, protocol::decode_contents_reply);
        });
    }

private:
    // As the wire's own words bring it to the other side, which has to be able to read it.
    template <class Value, class Encode, class Decode>
    Result<Value> carried(Result<Value> said, Encode encode, Decode decode) {
        if (!said) {
            const auto body = protocol::encode_error_reply(said.error());
            return fail(protocol::decode_error_reply(body, 0));
        }
        return carried(*said, encode, decode);
    }
    template <class Value, class Encode, class Decode>
    Result<Value> carried(const Value& said, Encode encode, Decode decode) {
        auto body = UNDERSTUDY_VALUE(as_result(encode(said)));
        auto read = decode(body);
        if (!read) world_.broken("promise 5: a message cannot be read: " + read.error().text());
        return read;
    }

    // `late`: the same request, by itself, when it comes (again) long after it was sent.
    template <class Call>
    auto ask(std::string_view name, Call call, const std::function<void(Daemon&)>& late = nullptr)
        -> decltype(call(std::declval<Daemon&>())) {
        return fated(from_, fmt::format("link.{}", name), [&]() -> decltype(to_.serve(call)) {
            auto& chance = world_.chance();
            if (!world_.connects(from_, to_)) return no_line();
            if (late && chance.one_in(world_.weather.message_late)) world_.comes_later(to_, late);
            const bool lost = chance.one_in(world_.weather.message_lost);
            if (lost && chance.one_in(2)) {
                world_.say(from_, fmt::format("its request '{}' is lost", name));
                return no_line();
            }
            if (chance.one_in(world_.weather.message_repeated)) {
                world_.say(from_, fmt::format("its request '{}' arrives twice", name));
                if (auto first = to_.serve(call); !first)
                    world_.say(to_, fmt::format("answers the first: {}", first.error().text()));
            }
            auto answer = to_.serve(call);
            if (!lost) return answer;
            world_.say(to_, fmt::format("its reply to '{}' is lost", name));
            return no_line();
        });
    }

    World& world_;
    Cluster& from_;
    Cluster& to_;
};

class StageLinks final : public ports::PeerLinks {
public:
    StageLinks(World& world, Cluster& from) : world_(world), from_(from) {}
    Result<std::shared_ptr<ports::PeerLink>> to(const ClusterId& peer) override {
        auto* there = world_.find(peer);
        if (there == nullptr) return fail(ErrorKind::not_found, "no such peer");
        return std::make_shared<StageLink>(world_, from_, *there);
    }

private:
    World& world_;
    Cluster& from_;
};

// Polls without any sign of life after which a source gives its target up, as the pump does.
constexpr unsigned kPatientPolls = 300;

}  // namespace

std::unique_ptr<ports::PeerLinks> make_links(World& world, Cluster& from) {
    return std::make_unique<StageLinks>(world, from);
}

StageChannel::StageChannel(World& world, Cluster& from, Cluster& to,
                           std::shared_ptr<mover::Receiver> receiver)
    : world_(world), from_(from), to_(to), receiver_(std::move(receiver)) {
    mover::MemoryChannel::Options options;
    options.fate = [this](std::uint64_t& bit) { return fate(bit); };
    options.in_flight = world.chance().below(6);
    options.now = [this] { return world_.clock().monotonic(); };
    memory_ = std::make_unique<mover::MemoryChannel>(*receiver_, std::move(options));
    world_.channel_opened(*this);
}

StageChannel::~StageChannel() {
    world_.channel_closed(*this);
}

void StageChannel::hang_up() {
    memory_.reset();
    receiver_.reset();
}

mover::FrameFate StageChannel::fate(std::uint64_t& bit) {
    auto& chance = world_.chance();
    bit = chance.next();
    const auto& weather = world_.weather;
    if (chance.one_in(weather.frame_lost)) {
        world_.say(from_, "the line of its channel is cut");
        return mover::FrameFate::cuts_channel;
    }
    if (chance.one_in(weather.frame_damaged)) {
        world_.say(from_, "a bit of its frame flips");
        return mover::FrameFate::is_damaged;
    }
    if (chance.one_in(weather.frame_repeated)) {
        world_.say(from_, "its frame arrives twice");
        return mover::FrameFate::is_repeated;
    }
    return mover::FrameFate::arrives;
}

template <class Call>
auto StageChannel::carry(std::string_view name, Call call)
    -> decltype(call(std::declval<mover::MemoryChannel&>())) {
    UNDERSTUDY_TRY(from_.before(name));
    if (!world_.connects(from_, to_)) hang_up();
    if (!memory_) return no_line();
    return to_.serve([&](Daemon&) { return call(*memory_); });
}

Result<> StageChannel::send(const model::Chunk& chunk) {
    idle_polls_ = 0;
    return carry("channel.send", [&](mover::MemoryChannel& line) { return line.send(chunk); });
}

Result<> StageChannel::request_flush() {
    return carry("channel.flush", [&](mover::MemoryChannel& line) { return line.request_flush(); });
}

Result<std::optional<model::Ack>> StageChannel::poll_ack() {
    return carry("channel.poll",
                 [&](mover::MemoryChannel& line) -> Result<std::optional<model::Ack>> {
                     auto ack = line.poll_ack();
                     if (!ack || *ack) {
                         idle_polls_ = 0;
                         return ack;
                     }
                     if (line.deliver()) return ack;
                     if (++idle_polls_ > kPatientPolls) {
                         world_.broken("promise 5: a channel stands still with nothing on its way");
                         return no_line();
                     }
                     return ack;
                 });
}

}  // namespace understudy::sim
