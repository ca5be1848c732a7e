#pragma once

#include "catalog/open_catalog.hpp"
#include "hypervisor/memory/hypervisor.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/replicas/receiving.hpp"

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace understudy::golden {

class Stage;

template <class T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Time passes when somebody waits. What one daemon waits for, the other does meanwhile.
class StageClock final : public ports::Clock {
public:
    TimePoint now() override { return TimePoint(Duration(1'800'000'000'000) + passed_); }
    Duration monotonic() override { return passed_; }
    void sleep(Duration time) override {
        passed_ += time;
        if (meanwhile) meanwhile();
    }
    void pass(Duration time) { passed_ += time; }  // nobody else does anything meanwhile

    std::function<void()> meanwhile;

private:
    Duration passed_{0};
};

// SplitMix64 from a seed.
class StageRandom final : public ports::Random {
public:
    explicit StageRandom(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() override;

private:
    std::uint64_t state_;
};

class Host;

// One process of understudyd: production tasks over what its host keeps.
struct Daemon {
    Daemon(Stage& stage, Host& host);

    std::unique_ptr<ports::PeerLinks> links;
    tasks::Site site;
    tasks::Receiving receiving;
    tasks::Runner runner;
};

// One site: a catalog and a pool in files, a hypervisor in RAM.
class Host {
public:
    // `directory` holds catalog.db, pool/ and files/ (exports); what is missing is made.
    Host(Stage& stage, const std::string& name, const std::string& directory);

    const model::Cluster& identity() const { return identity_; }
    const std::string& name() const { return identity_.name; }
    const std::string& directory() const { return directory_; }
    ports::Catalog& catalog() { return *catalog_; }
    ports::Catalog& daemons_catalog() { return watched_ ? *watched_ : *catalog_; }
    ports::StoragePool& pool() { return *pool_; }
    std::shared_ptr<ports::StoragePool> shared_pool() { return pool_; }
    memory::MemoryHypervisor& hypervisor() { return hypervisor_; }
    model::Capabilities capabilities() const;

    // A host without a daemon answers nobody.
    Daemon* daemon() { return daemon_.get(); }
    void start();  // the daemon, which takes up what an earlier one was running
    void go_away() { daemon_.reset(); }
    bool run_one();  // false: nothing was due, or it is in the middle of something
    void run_all();
    bool has_active_tasks();

    // VMs and UEFI variables, which a hypervisor in RAM does not keep by itself.
    nlohmann::json machines();
    void define_machines(const nlohmann::json& machines);

private:
    Stage& stage_;
    model::Cluster identity_;
    std::string directory_;
    std::unique_ptr<ports::Catalog> catalog_;
    std::unique_ptr<ports::Catalog> watched_;
    std::shared_ptr<ports::StoragePool> pool_;
    memory::MemoryHypervisor hypervisor_;
    std::unique_ptr<Daemon> daemon_;
    bool busy_ = false;
};

// What a program that makes golden files puts into the daemons; nothing in a test.
struct Watch {
    std::function<std::unique_ptr<ports::Catalog>(Host&)> catalog;  // in front of the real one
    std::function<tasks::PointHook(Host&)> at_point;
    std::function<void(tasks::SiteSettings&)> settings;
};

// Two clusters under one directory, and the line between them: calls go through the wire's own
// encoding. Everything runs in one thread.
class Stage {
public:
    Stage(std::string directory, std::uint64_t seed, Watch watch = {});
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    // stage.json: what the hypervisors have, who is away, what the time is.
    void save();
    // Everything is as in the files, an hour after they were written; daemons start, but for those
    // that were away.
    void load();
    // Until no task is left that is not ended, a bounded number of rounds. Who is away comes back
    // once the others have nothing to do.
    void run_to_the_end();
    void contact_all();  // the daemons exchange their news

    Host& a() { return *hosts_[0]; }
    Host& b() { return *hosts_[1]; }
    std::vector<std::unique_ptr<Host>>& hosts() { return hosts_; }
    Host* find(const ClusterId& id);
    StageClock& clock() { return clock_; }
    StageRandom& random() { return random_; }
    const Watch& watch() const { return watch_; }
    bool connected = true;

private:
    bool run_rounds();

    std::string directory_;
    Watch watch_;
    StageClock clock_;
    StageRandom random_;
    std::vector<std::unique_ptr<Host>> hosts_;
};

}  // namespace understudy::golden
