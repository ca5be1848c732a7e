#pragma once

#include "api/operators.hpp"
#include "base/must_test.hpp"
#include "catalog/open_catalog.hpp"
#include "hypervisor/memory/hypervisor.hpp"
#include "storage/memory/pool.hpp"
#include "tasks/replicas/receiving.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

namespace understudy::api {

class StandingClock : public ports::Clock {
public:
    TimePoint now() override { return TimePoint(Duration(1'700'000'000'000)) + passed_; }
    Duration monotonic() override { return passed_; }
    void sleep(Duration time) override { passed_ += time; }

private:
    Duration passed_{};
};

class CountingRandom : public ports::Random {
public:
    std::uint64_t next() override { return ++count_ * 0x9E3779B97F4A7C15U; }

private:
    std::uint64_t count_ = 0;
};

// A peer that answers nothing; a test overrides what it does answer.
class SilentLink : public ports::PeerLink {
public:
    Result<ports::PeerVm> look_up(const VmId&) override { return silent(); }
    Result<ports::PeerVm> look_up_state(const VmId&) override { return silent(); }
    Result<model::Capabilities> exchange_capabilities(const model::Capabilities&) override {
        return silent();
    }
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>&) override {
        return silent();
    }
    Result<model::TransferOffer> offer(const model::TransferRequest&) override { return silent(); }
    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId&,
                                                              std::uint64_t) override {
        return silent();
    }
    Result<std::vector<model::ReadinessIssue>> commit(const TransferId&, std::uint64_t,
                                                      const model::Totals&) override {
        return silent();
    }
    Result<> abandon(const TransferId&) override { return silent(); }
    Result<model::Ownership> hand_over(const ports::Handover&) override { return silent(); }
    Result<model::Ownership> take_back(const VmId&, const model::Ownership&) override {
        return silent();
    }
    Result<model::DigestAnswer> digests(const model::DigestQuestion&) override { return silent(); }
    Result<model::RangeAnswer> read_range(const model::RangeQuestion&) override { return silent(); }
    Result<std::vector<model::VolumeBase>> contents(const VmId&,
                                                    const std::vector<VolumeId>&) override {
        return silent();
    }

private:
    static std::unexpected<Error> silent() {
        return fail(ErrorKind::unavailable, "this peer answers no more than that");
    }
};

// A peer that says what it has of a VM, and nothing else.
class HoldingLink : public SilentLink {
public:
    ports::PeerVm holds;

    Result<ports::PeerVm> look_up(const VmId&) override { return holds; }
    Result<ports::PeerVm> look_up_state(const VmId&) override { return holds; }
};

// Peers that do not answer, unless the test gives a link: then that one, whoever is asked for.
class SettableLinks : public ports::PeerLinks {
public:
    std::shared_ptr<ports::PeerLink> link;

    Result<std::shared_ptr<ports::PeerLink>> to(const ClusterId&) override {
        if (!link) return fail(ErrorKind::unavailable, "no peer answers in this test");
        return link;
    }
};

struct Answered {
    int status = 0;
    nlohmann::json body;
    std::string kind() const { return body.value("/error/kind"_json_pointer, std::string()); }
    std::string text() const { return body.value("/error/text"_json_pointer, std::string()); }
};

// One cluster over memory drivers and a catalog in memory, asked through its operators' API. Tasks
// are queued and not run.
class MemorySite : public ::testing::Test {
protected:
    static model::Cluster cluster(std::string name, std::uint64_t number) {
        return {ClusterId(base::uuid_from_random(number, number)), std::move(name)};
    }

    memory::WorldHooks hooks() {
        memory::WorldHooks hooks;
        hooks.fault = [this](const std::string& call) -> Result<> {
            hypervisor_calls_.insert(call);
            if (call != "start" || start_error_.empty()) return {};
            return fail(ErrorKind::unsupported, start_error_);
        };
        return hooks;
    }

    explicit MemorySite(const std::string& catalog_path = ":memory:")
        : catalog_(must(catalog::open_catalog({"sqlite", catalog_path}))) {
        must(catalog_->save_cluster(here_));
        site_.pools.emplace("vms", pool_);
    }

    Answered ask(std::string method, const std::string& target, std::string body = {}) {
        net::HttpRequest request;
        request.method = std::move(method);
        must(net::parse_target(target, request));
        request.body = std::move(body);
        const auto response = operators_.handle(request);
        return {response.status, nlohmann::json::parse(response.body)};
    }

    model::Peer pair_with(const model::Cluster& other) {
        model::Peer peer;
        peer.id = other.id;
        peer.name = other.name;
        peer.address = "127.0.0.1:1";
        peer.fingerprint = std::string(64, other.name.front());
        must(catalog_->save_peer(peer));
        return peer;
    }

    VmId add_vm(const std::string& name, std::uint64_t number) {
        const VmId id(base::uuid_from_random(number, ~number));
        const auto source = pool_->create_disk("/disks/" + name, base::MiB(1));
        hypervisor_.add(id, name, {{"vda", source, base::MiB(1), ""}});
        return id;
    }

    // What a peer would offer: the first snapshot of a VM that it owns.
    model::TransferRequest request_from(const model::Cluster& owner, std::uint64_t number) {
        model::TransferRequest request;
        request.vm = VmId(base::uuid_from_random(number, ~number));
        request.vm_name = "vm" + std::to_string(number);
        request.ownership = {1, owner.id, model::Phase::owned};
        request.snapshot.id = random_.id<SnapshotId>();
        request.snapshot.vm = request.vm;
        request.snapshot.name = "first";
        request.snapshot.origin = owner.id;
        request.snapshot.epoch = 1;
        request.snapshot.disks = {{"vda", random_.id<VolumeId>(), "vms", base::MiB(1)}};
        request.definition.domain_xml =
            "vm " + request.vm_name + "\nuuid " + request.vm.text() + "\n";
        return request;
    }

    // A whole empty snapshot received from a peer.
    model::TransferRequest receive_from(const model::Cluster& owner, std::uint64_t number) {
        auto request = request_from(owner, number);
        const auto offer = must(receiving_.offer(owner.id, request));
        must(receiving_.join(owner.id, offer.id, 1));
        must(receiving_.commit(owner.id, offer.id, 1, {}));
        return request;
    }

    model::Cluster here_ = cluster("here", 1);
    model::Cluster dr_ = cluster("dr", 2);
    model::Cluster third_ = cluster("third", 3);
    std::unique_ptr<ports::Catalog> catalog_;
    std::set<std::string> hypervisor_calls_;
    std::string start_error_;  // what the hypervisor says to every start; empty: nothing
    memory::MemoryHypervisor hypervisor_{hooks()};
    std::shared_ptr<memory::MemoryPool> pool_ = std::make_shared<memory::MemoryPool>("vms");
    SettableLinks links_;
    StandingClock clock_;
    CountingRandom random_;
    tasks::Site site_{here_, {}, *catalog_, hypervisor_, links_, clock_, random_, {}};
    tasks::Receiving receiving_{site_};
    net::Identity identity_ = must(net::make_identity("here"));
    Operators operators_{{site_, receiving_, identity_, "here.example:7373", "", "memory",
                          [] { return model::Capabilities{}; }}};
};

}  // namespace understudy::api
