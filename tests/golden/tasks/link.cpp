#include "link.hpp"

#include "mover/memory_channel.hpp"
#include "stage.hpp"
#include "wire_link.hpp"

// Calls between two daemons in one process. Each arrives once, or not at all while the line is cut
// or nobody is there.

namespace understudy::golden {
namespace {

constexpr Duration kOneCall{1};

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

class Link final : public wire_link::WireLink {
public:
    Link(Stage& stage, Host& from, Host& to)
        : WireLink(from.identity().id), stage_(stage), to_(to) {}

protected:
    Result<> bring(std::string_view, const Call& call, const Late&) override {
        if (!stage_.connected || to_.daemon() == nullptr)
            return fail(ErrorKind::unavailable, "nobody answers");
        stage_.clock().pass(kOneCall);
        wire_link::There there{to_.daemon()->site, to_.daemon()->receiving};
        return call(there);
    }
    model::Capabilities capabilities_there() override { return to_.capabilities(); }
    std::unique_ptr<ports::ChunkChannel> channel_to(
        std::shared_ptr<mover::Receiver> receiver) override {
        return std::make_unique<Channel>(stage_, to_, std::move(receiver));
    }

private:
    Stage& stage_;
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
