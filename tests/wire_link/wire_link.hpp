#pragma once

#include "ports/peer_link.hpp"
#include "tasks/replicas/receiving.hpp"

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace understudy::wire_link {

// A daemon that answers its peers.
struct There {
    tasks::Site& site;
    tasks::Receiving& receiving;
};

// How one cluster talks to another one in the same process: each call does there what the peers'
// API does, and what is said goes through the wire's own encoding. Whether and how often a call
// arrives is up to the class that derives from this one.
class WireLink : public ports::PeerLink {
public:
    explicit WireLink(const ClusterId& from) : from_(from) {}

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) final;
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>& ours) final;
    Result<ports::PeerVm> look_up(const VmId& vm) final;
    Result<ports::PeerVm> look_up_state(const VmId& vm) final;
    Result<model::TransferOffer> offer(const model::TransferRequest& request) final;
    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId& id,
                                                              std::uint64_t attempt) final;
    Result<std::vector<model::ReadinessIssue>> commit(const TransferId& id, std::uint64_t attempt,
                                                      const model::Totals& totals) final;
    Result<> abandon(const TransferId& id) final;
    Result<model::Ownership> hand_over(const ports::Handover& handover) final;
    Result<model::Ownership> take_back(const VmId& vm, const model::Ownership& offered) final;
    Result<model::DigestAnswer> digests(const model::DigestQuestion& asked) final;
    Result<model::RangeAnswer> read_range(const model::RangeQuestion& asked) final;
    Result<std::vector<model::VolumeBase>> contents(const VmId& vm,
                                                    const std::vector<VolumeId>& volumes) final;

protected:
    using Call = std::function<Result<>(There&)>;
    using Late = std::function<void(There&)>;

    // Makes the call there, once or more often; the last one is the answer. An error, of the call
    // or of the line, is what the caller gets instead. `late`: the same request, by itself, for
    // when it comes (again) long after it was sent; null: that is not tried with this call.
    virtual Result<> bring(std::string_view name, const Call& call, const Late& late) = 0;
    virtual model::Capabilities capabilities_there() = 0;
    virtual std::unique_ptr<ports::ChunkChannel> channel_to(
        std::shared_ptr<mover::Receiver> receiver) = 0;
    // What one side said cannot be read by the other; the call fails with this error.
    virtual void found_unreadable(const Error&) {}

private:
    template <class Ask>
    auto ask(std::string_view name, Ask question, const Late& late = nullptr)
        -> decltype(question(std::declval<There&>()));
    template <class Value, class Encode, class Decode>
    Result<Value> carried(const Value& said, Encode encode, Decode decode);
    template <class Value, class Encode, class Decode>
    Result<Value> carried(Result<Value> said, Encode encode, Decode decode);

    const ClusterId from_;
};

}  // namespace understudy::wire_link
