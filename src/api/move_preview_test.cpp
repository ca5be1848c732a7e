#include "api/move_preview.hpp"
#include "api/files_site_test.hpp"
#include "protocol/features.hpp"
#include "tasks/kinds.hpp"

// `vm move --dry-run`: every number is true, or null.

namespace understudy::api {
namespace {

using nlohmann::json;

class MovePreview : public MemorySite {
protected:
    MovePreview() {
        auto peer = pair_with(dr_);
        peer.capabilities.features = protocol::our_features();
        must(catalog_->save_peer(peer));
        site_.settings.default_pool = "vms";
        site_.settings.threads = false;
        holder_->holds.known = true;
        holder_->holds.ownership = {1, here_.id, model::Phase::replica};
    }

    // As the peer answers it, which holds `there`.
    json plan_with(const std::vector<SnapshotId>& there, std::uint64_t rate = 0) {
        holder_->holds.snapshots = there;
        links_.link = holder_;
        const auto vm = must(catalog_->vm(vm_));
        const auto peer = must(catalog_->peer(dr_.id));
        return must(move_preview(site_, {vm, peer, {}, Duration(120'000), rate}));
    }
    json plan(json body = json::object()) {
        body["peer"] = "dr";
        body["dry_run"] = true;
        const auto answer = ask("POST", "/v1/vms/web1/move", body.dump());
        EXPECT_EQ(answer.status, 200) << answer.text();
        return answer.body.value("plan", json::object());
    }
    // 4 KiB each, into what the VM is on now.
    void write(std::uint64_t block) {
        const std::string text(4096, 'x');
        const auto disk = must(hypervisor_.describe(vm_)).disks.front();
        must(pool_->write_disk(disk.source.location, ByteOffset(block * 4096), bytes_of(text)));
    }
    model::Snapshot snapshot(const std::string& name) {
        ask("POST", "/v1/vms/web1/snapshots", json{{"name", name}}.dump());
        tasks::Runner runner(site_, tasks::all_kinds());
        while (must(runner.run_one())) {
        }
        const auto snapshots = must(catalog_->snapshots(vm_));
        if (snapshots.empty()) throw std::runtime_error("no snapshot was taken");
        return snapshots.back();
    }
    // A task that has ended, some time after the one before.
    void ended(std::string_view kind, const json& arguments, const json& result,
               model::TaskState state = model::TaskState::succeeded) {
        auto task = tasks::new_task(site_, kind, vm_, "earlier", arguments);
        must(catalog_->add_task(task));
        auto claimed = must(catalog_->claim_task("node", clock_.now(), Duration(60'000), {}));
        ASSERT_TRUE(claimed);
        claimed->state = state;
        claimed->result = result.dump();
        clock_.sleep(Duration(1000));
        claimed->ended = clock_.now();
        must(catalog_->release_task(*claimed, "node"));
    }
    void sent(const model::Cluster& to, std::uint64_t bytes, double seconds) {
        ended(tasks::kSend, {{"vm", vm_.text()}, {"snapshot", vm_.text()}, {"peer", to.id.text()}},
              {{"bytes", bytes}, {"seconds", seconds}});
    }

    VmId vm_ = add_vm("web1", 7);
    std::shared_ptr<HoldingLink> holder_ = std::make_shared<HoldingLink>();
};

constexpr std::uint64_t kMiB = 1024 * 1024;

TEST_F(MovePreview, without_a_snapshot_says_that_nothing_is_known) {
    const auto seen = plan();
    for (const char* name : {"newest", "bytes", "unsent_bytes", "expected_bytes", "rate_bytes",
                             "send_ms", "downtime_ms", "moved"})
        EXPECT_EQ(seen.at(name), nullptr) << name;
    EXPECT_EQ(seen.at("running"), false);
    must(hypervisor_.start(vm_));
    EXPECT_EQ(plan().at("running"), true);
}

TEST_F(MovePreview, takes_the_rate_of_the_last_large_send_to_that_peer) {
    sent(dr_, 100 * kMiB, 10);
    sent(dr_, 40 * kMiB, 2);
    EXPECT_EQ(plan().at("rate_bytes"), 20 * kMiB);
    sent(dr_, 64 * 1024, 1);      // tells of the line's delay
    sent(third_, 900 * kMiB, 1);  // of another line
    ended(tasks::kSend, {{"peer", dr_.id.text()}}, {{"bytes", 900 * kMiB}, {"seconds", 1.0}},
          model::TaskState::failed);
    EXPECT_EQ(plan().at("rate_bytes"), 20 * kMiB);
}

TEST_F(MovePreview, takes_the_downtime_of_the_last_move_that_was_measured) {
    ended(tasks::kMove, json::object(), {{"downtime_ms", 9000}});
    ended(tasks::kMove, json::object(), {{"downtime_ms", 4000}});
    const auto when = base::format_time(clock_.now());
    ended(tasks::kMove, json::object(), {{"started", false}});  // it did not run
    ended(tasks::kMove, json::object(), {{"downtime_ms", 1}}, model::TaskState::failed);
    EXPECT_EQ(plan().at("downtime_ms"), 4000);
    EXPECT_EQ(plan().at("moved"), when);
}

TEST_F(MovePreview, counts_what_the_newest_snapshot_lacks_there_and_what_was_written_since) {
    write(1);
    const auto one = snapshot("one");
    write(2);
    write(3);
    const auto two = snapshot("two");
    sent(dr_, 16 * kMiB, 1);
    auto seen = plan_with({one.id});
    EXPECT_EQ(seen.at("kind"), "incremental");
    EXPECT_EQ(seen.at("bytes"), 2 * 4096);
    EXPECT_EQ(seen.at("unsent_bytes"), 0);
    for (std::uint64_t block = 10; block < 16; ++block) write(block);
    seen = plan_with({one.id, two.id});
    EXPECT_EQ(seen.at("bytes"), 0) << "it is there";
    EXPECT_EQ(seen.at("unsent_bytes"), 6 * 4096);
    EXPECT_EQ(seen.at("expected_bytes"), 6 * 4096);
    EXPECT_EQ(seen.at("send_ms"), 6 * 4096 * 1000 / (16 * kMiB));
    EXPECT_EQ(plan_with({two.id}, 4096).at("send_ms"), 6000) << "no quicker than its limit";
    EXPECT_EQ(plan_with({two.id}, 4096).at("rate_bytes"), 4096);
}

TEST_F(MovePreview, does_not_guess_where_the_disks_are_not_those_of_the_newest_snapshot) {
    const auto one = snapshot("one");
    sent(dr_, 16 * kMiB, 1);
    hypervisor_.plug(vm_,
                     {"vdb", pool_->create_disk("/disks/new", base::MiB(1)), base::MiB(1), ""});
    const auto seen = plan_with({one.id});
    EXPECT_EQ(seen.at("bytes"), 0);
    for (const char* name : {"unsent_bytes", "expected_bytes", "send_ms"})
        EXPECT_EQ(seen.at(name), nullptr) << name;
}

}  // namespace
}  // namespace understudy::api
