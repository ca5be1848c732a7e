#include "link.hpp"

#include "protocol/features.hpp"
#include "tasks/ownership_news.hpp"
#include "tasks/proving.hpp"
#include "tasks/take_over.hpp"
#include "world.hpp"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

std::unexpected<Error> no_line() {
    return fail(ErrorKind::unavailable, "the line is cut");
}

class StageLink final : public ports::PeerLink {
public:
    StageLink(World& world, Cluster& from, Cluster& to) : world_(world), from_(from), to_(to) {}

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) override {
        return ask("capabilities", [&](Daemon& there) -> Result<model::Capabilities> {
            UNDERSTUDY_TRY(there.catalog.touch_peer(from_.id(), world_.clock().now(), ours));
            return to_.capabilities();
        });
    }
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>& ours) override {
        return ask("ownership", [&](Daemon& there) -> Result<std::vector<ports::OwnershipNote>> {
            UNDERSTUDY_TRY(tasks::hear_ownership(there.site, from_.id(), ours));
            return tasks::ownership_notes_for(there.site, from_.id());
        });
    }
    Result<ports::PeerVm> look_up(const VmId& vm) override {
        return ask("look_up",
                   [&](Daemon& there) { return there.receiving.look_up(from_.id(), vm); });
    }
    Result<ports::PeerVm> look_up_state(const VmId& vm) override {
        return ask("look_up_state",
                   [&](Daemon& there) { return there.receiving.look_up_state(from_.id(), vm); });
    }
    Result<model::TransferOffer> offer(const model::TransferRequest& request) override {
        return ask("offer",
                   [&](Daemon& there) { return there.receiving.offer(from_.id(), request); });
    }
    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId& id,
                                                              std::uint64_t attempt) override {
        auto receiver = ask("open_channel", [&](Daemon& there) {
            return there.receiving.join(from_.id(), id, attempt);
        });
        if (!receiver) return std::unexpected(std::move(receiver.error()));
        return std::make_unique<StageChannel>(world_, from_, to_, std::move(*receiver));
    }
    Result<std::vector<model::ReadinessIssue>> commit(const TransferId& id, std::uint64_t attempt,
                                                      const model::Totals& totals) override {
        return ask("commit", [&](Daemon& there) {
            return there.receiving.commit(from_.id(), id, attempt, totals);
        });
    }
    Result<model::Ownership> hand_over(const ports::Handover& handover) override {
        return ask("hand_over", [&](Daemon& there) {
            return tasks::take_over(there.site, from_.id(), handover);
        });
    }
    Result<model::Ownership> take_back(const VmId& vm, const model::Ownership& offered) override {
        return ask("take_back", [&](Daemon& there) {
            return tasks::decline(there.site, from_.id(), vm, offered);
        });
    }
    Result<> abandon(const TransferId& id) override {
        return ask("abandon",
                   [&](Daemon& there) { return there.receiving.abandon(from_.id(), id); });
    }

    Result<model::DigestAnswer> digests(const model::DigestQuestion& asked) override {
        return ask("digests", [&](Daemon& there) {
            return tasks::answer_digests(there.site, from_.id(), asked);
        });
    }
    Result<model::RangeAnswer> read_range(const model::RangeQuestion& asked) override {
        return ask("read_range", [&](Daemon& there) -> Result<model::RangeAnswer> {
            auto bytes = tasks::answer_range(there.site, from_.id(), asked);
            if (!bytes) return std::unexpected(std::move(bytes.error()));
            return model::RangeAnswer{std::move(*bytes), 0};
        });
    }
    Result<std::vector<model::VolumeBase>> contents(const VmId& vm,
                                                    const std::vector<VolumeId>& volumes) override {
        return ask("contents", [&](Daemon& there) {
            return tasks::answer_contents(there.site, from_.id(), vm, volumes);
        });
    }

private:
    template <class Call>
    auto ask(std::string_view name, Call call) -> decltype(call(std::declval<Daemon&>())) {
        return fated(from_, fmt::format("link.{}", name), [&]() -> decltype(to_.serve(call)) {
            auto& chance = world_.chance();
            if (!world_.connected) return no_line();
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
    if (!world_.connected) hang_up();
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
