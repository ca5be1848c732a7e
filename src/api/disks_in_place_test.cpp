// A VM whose disks are snapshotted in place, as images in Ceph are, through the operators' API.
#include "api/memory_site_test.hpp"
#include "tasks/kinds.hpp"
#include "tasks/queue/runner.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace understudy::api {
namespace {

using ::testing::HasSubstr;

// The images of a cluster that makes snapshots only once all that are wanted were asked for, as
// monitors gather what they commit. Knows its disks' sizes, which the hypervisor does not.
class ImagePool : public memory::MemoryPool {
public:
    ImagePool() : MemoryPool("images", Heads::stay_in_place) {}

    bool takes(const ports::DiskSource& source) const override {
        return source.location.starts_with("images/");
    }
    Result<ByteSize> disk_size(const ports::DiskSource& source) override {
        ++asked;
        if (silent) return fail(ErrorKind::unavailable, "no answer");
        return MemoryPool::disk_size(source);
    }
    Result<> take_snapshot(const VolumeId& volume, const SnapshotId& id) override {
        {
            std::unique_lock lock(mutex_);
            ++waiting_;
            changed_.notify_all();
            if (!changed_.wait_for(lock, std::chrono::seconds(20),
                                   [&] { return waiting_ >= wanted; }))
                return fail(ErrorKind::invalid, "the others were not asked for meanwhile");
        }
        if (volume == broken) return fail(ErrorKind::invalid, "no snapshot of this one");
        return MemoryPool::take_snapshot(volume, id);
    }

    std::size_t wanted = 1;
    VolumeId broken;
    std::atomic<int> asked = 0;
    bool silent = false;

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t waiting_ = 0;
};

class DisksInPlace : public MemorySite {
protected:
    DisksInPlace() {
        site_.pools.emplace("images", images_);
        std::vector<ports::DiskDescription> disks;
        for (const std::string target : {"vda", "vdb", "vdc"}) {
            auto source = images_->create_disk("images/" + target, base::MiB(1));
            disks.push_back({target, source, ByteSize(0), ""});
        }
        hypervisor_.add(vm_, "web1", disks);
        for (auto& disk : disks) disk.source.type = "network";
        hypervisor_.add(VmId(base::uuid_from_random(8, 8)), "web2", disks);
        must(hypervisor_.start(vm_));
    }

    nlohmann::json take(const std::string& name) {
        const auto queued =
            ask("POST", "/v1/vms/web1/snapshots", nlohmann::json{{"name", name}}.dump());
        must(runner_.run_one());
        const auto id = queued.body.at("task").at("id").get<std::string>();
        return ask("GET", "/v1/tasks/" + id).body.at("task");
    }
    nlohmann::json disks() { return ask("GET", "/v1/vms/web2").body.at("vm").at("disks"); }

    const VmId vm_{base::uuid_from_random(7, 7)};
    std::shared_ptr<ImagePool> images_ = std::make_shared<ImagePool>();
    tasks::Runner runner_{site_, tasks::all_kinds()};
};

TEST_F(DisksInPlace, all_images_of_a_vm_are_snapshotted_at_the_same_time) {
    images_->wanted = 3;
    const auto task = take("one");
    EXPECT_EQ(task.at("state"), "succeeded") << task.dump();
}

TEST_F(DisksInPlace, one_that_fails_is_named_and_nothing_is_left_of_the_others) {
    ASSERT_EQ(take("one").at("state"), "succeeded");
    const auto volumes = images_->volumes();
    images_->broken = volumes.at(1);
    const auto task = take("two");
    EXPECT_EQ(task.at("state"), "failed");
    EXPECT_THAT(task.at("error"), HasSubstr("no snapshot of this one"));
    EXPECT_THAT(task.at("error"), ::testing::ContainsRegex("vd[abc]"));
    for (const auto& volume : volumes) EXPECT_EQ(must(images_->snapshots(volume)).size(), 1U);
    EXPECT_EQ(must(hypervisor_.describe(vm_)).summary.state, ports::VmState::running);
}

TEST_F(DisksInPlace, sizes_that_the_hypervisor_does_not_know_are_told_by_the_pool) {
    for (const auto& disk : disks()) EXPECT_EQ(disk.at("size"), base::MiB(1).count());
    images_->silent = true;
    images_->asked = 0;
    for (const auto& disk : disks()) EXPECT_EQ(disk.at("size"), nullptr);
    EXPECT_EQ(images_->asked, 1);  // a pool that does not answer costs one wait, not one per disk
}

}  // namespace
}  // namespace understudy::api
