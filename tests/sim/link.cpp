#include "link.hpp"

#include "wire_link.hpp"
#include "world.hpp"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

std::unexpected<Error> no_line() {
    return fail(ErrorKind::unavailable, "the line is cut");
}

class StageLink final : public wire_link::WireLink {
public:
    StageLink(World& world, Cluster& from, Cluster& to)
        : WireLink(from.id()), world_(world), from_(from), to_(to) {}

protected:
    Result<> bring(std::string_view name, const Call& call, const Late& late) override {
        const auto serve = [&call](Daemon& daemon) {
            wire_link::There there{daemon.site, daemon.receiving};
            return call(there);
        };
        return fated(from_, fmt::format("link.{}", name), [&]() -> Result<> {
            auto& chance = world_.chance();
            if (!world_.connects(from_, to_)) return no_line();
            if (late && chance.one_in(world_.weather.message_late))
                world_.comes_later(to_, [late](Daemon& daemon) {
                    wire_link::There there{daemon.site, daemon.receiving};
                    late(there);
                });
            const bool lost = chance.one_in(world_.weather.message_lost);
            if (lost && chance.one_in(2)) {
                world_.say(from_, fmt::format("its request '{}' is lost", name));
                return no_line();
            }
            if (chance.one_in(world_.weather.message_repeated)) {
                world_.say(from_, fmt::format("its request '{}' arrives twice", name));
                if (auto first = to_.serve(serve); !first)
                    world_.say(to_, fmt::format("answers the first: {}", first.error().text()));
            }
            auto answer = to_.serve(serve);
            if (!lost) return answer;
            world_.say(to_, fmt::format("its reply to '{}' is lost", name));
            return no_line();
        });
    }
    model::Capabilities capabilities_there() override { return to_.capabilities(); }
    std::unique_ptr<ports::ChunkChannel> channel_to(
        std::shared_ptr<mover::Receiver> receiver) override {
        return std::make_unique<StageChannel>(world_, from_, to_, std::move(receiver));
    }
    void found_unreadable(const Error& error) override {
        world_.broken("promise 5: a message cannot be read: " + error.text());
    }

private:
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
