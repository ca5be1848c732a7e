#include "hypervisor/libvirt/ceph_lab.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/pauses.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <future>
#include <utility>

// Disks in a real Ceph under a real QEMU: snapshots in place while the guest stands still, and
// changes between files and images.
namespace understudy::libvirt {
namespace {

using namespace testing;
using model::Consistency;
using ports::DiskSource;
using ports::DiskSwitch;
using ports::VmState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Duration kNoFreeze{0};

class LiveImages : public ::testing::Test {
protected:
    LiveImages() : virt_(*EmbedHost::instance().hypervisor), ceph_(CephLab::instance()) {
        name_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
        directory_ = EmbedHost::instance().directory / fmt::format("i{}", name_.size());
        std::filesystem::create_directories(directory_);
    }
    ~LiveImages() override {
        guest_.reset();
        for (const auto& image : images_) ceph_.remove_image(image);
        std::filesystem::remove_all(directory_);
    }

    std::string path(const std::string& name) const { return (directory_ / name).string(); }
    std::string image(const std::string& disk) {
        const auto name = fmt::format("vms/{}.{}", name_, disk);
        images_.push_back(name);
        ceph_.make_image(name, "64M");
        return name;
    }
    DiskSource source(const std::string& image) const {
        return {"network", "raw", image, {ceph_.monitor()}, {}, {}};
    }
    void run_guest(const std::vector<std::string>& disks, bool agent = false) {
        guest_ = std::make_unique<LabGuest>(name_, disks, "us.mode=write", directory_, agent);
        guest_->guest().start();
        ASSERT_TRUE(eventually([&] { return guest_->last_record("vdb") >= 3; }));
    }
    void run_on_images(bool agent = false) {
        a_ = image("a");
        b_ = image("b");
        run_guest({"rbd:" + a_ + ":vda", "rbd:" + b_ + ":vdb"}, agent);
    }
    // Snapshots of both images, with room between them for some records of a guest that runs on.
    Result<> snap_both(const std::string& name) {
        ceph_.snap(a_ + "@" + name);
        const int before = guest_->last_record("vdb");
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
        while (guest_->last_record("vdb") < before + 3 && std::chrono::steady_clock::now() < until)
            EXPECT_EQ(state(), VmState::paused);
        ceph_.snap(b_ + "@" + name);
        return {};
    }
    // A guest that stays in its firmware, with a qcow2 file that has an overlay, and an image.
    std::unique_ptr<Guest> board_on_image_and_layer() {
        for (const auto* name : {"a.qcow2", "b.qcow2"}) make_qcow2(path(name), "64M");
        make_overlay(path("a.1"), path("a.qcow2"), "qcow2", "64M");
        auto guest = std::make_unique<Guest>(
            name_, std::vector<Guest::Disk>{{"vda", path("a.qcow2"), "qcow2"},
                                            {"vdb", path("b.qcow2"), "qcow2"}});
        auto set = virt_.set_disks(guest->id(), {{"vdb", source(image("b"))}});
        EXPECT_TRUE(set) << set.error().text();
        guest->start();
        return guest;
    }
    VmState state() { return state_of(guest_->id()); }
    VmState state_of(const VmId& vm) {
        auto described = virt_.describe(vm);
        EXPECT_TRUE(described) << described.error().text();
        return described ? described->summary.state : VmState::stopped;
    }
    // Until end() Ceph serves nothing, and a write of the guest waits for it.
    class Outage {
    public:
        explicit Outage(LiveImages& test) : ceph_(test.ceph_) {
            ceph_.daemon("osd", "kill");
            int last = -1;
            auto changed = std::chrono::steady_clock::now();
            EXPECT_TRUE(eventually([&] {
                const auto now = std::chrono::steady_clock::now();
                const int record = test.guest_->last_record("vdb");
                if (record != std::exchange(last, record)) changed = now;
                return now - changed > std::chrono::seconds(1);
            }));
        }
        void end() const { ceph_.daemon("osd", "start"); }

    private:
        CephLab& ceph_;
    };
    bool writes_on() {
        const int now = guest_->last_record("vdb");
        return eventually([&] { return guest_->last_record("vdb") > now + 2; });
    }

    ports::Hypervisor& virt_;
    CephLab& ceph_;
    std::string name_;
    std::filesystem::path directory_;
    std::vector<std::string> images_;
    std::string a_;
    std::string b_;
    std::unique_ptr<LabGuest> guest_;
};

TEST_F(LiveImages, snapshots_of_two_images_are_of_one_instant) {
    run_on_images();
    for (const std::string name : {"s1", "s2"}) {
        auto taken = virt_.snapshot(guest_->id(), {}, kNoFreeze, [&] { return snap_both(name); });
        ASSERT_TRUE(taken) << taken.error().text();
        EXPECT_EQ(*taken, Consistency::crash);
        EXPECT_TRUE(writes_on());
    }
    for (const std::string name : {"s1", "s2"}) {
        ceph_.export_to(a_ + "@" + name, path("a"));
        ceph_.export_to(b_ + "@" + name, path("b"));
        EXPECT_TRUE(LabGuest::of_one_moment({"vda=" + path("a"), "vdb=" + path("b")})) << name;
    }
}

TEST_F(LiveImages, image_and_qcow2_layer_are_of_one_instant) {
    make_qcow2(path("a.qcow2"), "64M");
    make_overlay(path("a.1"), path("a.qcow2"), "qcow2", "64M");
    b_ = image("b");
    run_guest({path("a.qcow2") + ":qcow2:vda", "rbd:" + b_ + ":vdb"});
    auto taken = virt_.snapshot(guest_->id(), {{"vda", {"file", "qcow2", path("a.1")}}}, kNoFreeze,
                                [&]() -> Result<> {
                                    EXPECT_EQ(state(), VmState::paused);
                                    ceph_.snap(b_ + "@s");
                                    return {};
                                });
    ASSERT_TRUE(taken) << taken.error().text();
    EXPECT_TRUE(writes_on());
    EXPECT_THAT(guest_->guest().chain("vda"), ElementsAre(path("a.1"), path("a.qcow2")));
    auto disks = disks_in(guest_->guest().xml(false), guest_->guest().xml(true));
    ASSERT_TRUE(disks);
    EXPECT_EQ((*disks)[1].source, source(b_));
    EXPECT_THAT((*disks)[0].unsupported + (*disks)[1].unsupported, "");
    run({"qemu-img", "convert", "-U", "-O", "raw", path("a.qcow2"), path("a")});
    ceph_.export_to(b_ + "@s", path("b"));
    EXPECT_TRUE(LabGuest::of_one_moment({"vda=" + path("a"), "vdb=" + path("b")}));
}

TEST_F(LiveImages, what_fails_while_the_guest_stands_still_comes_back_and_it_runs_on) {
    auto guest = board_on_image_and_layer();
    const std::vector<DiskSwitch> switches{{"vda", {"file", "qcow2", path("a.1")}}};
    auto taken = virt_.snapshot(guest->id(), switches, kNoFreeze, [&]() -> Result<> {
        EXPECT_EQ(state_of(guest->id()), VmState::paused);
        return fail(ErrorKind::unavailable, "no answer from Ceph");
    });
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(taken.error().text(), HasSubstr("no answer from Ceph"));
    EXPECT_EQ(state_of(guest->id()), VmState::running);
    EXPECT_THAT(guest->chain("vda"), ElementsAre(path("a.qcow2")));

    // Here the other half fails: the images are snapshotted, the switch is refused.
    bool called = false;
    auto broken = switches;
    broken[0].source.location = path("no such file");
    taken = virt_.snapshot(guest->id(), broken, kNoFreeze, [&]() -> Result<> {
        called = true;
        return {};
    });
    EXPECT_FALSE(taken);
    EXPECT_TRUE(called);
    EXPECT_EQ(state_of(guest->id()), VmState::running);
    EXPECT_THAT(guest->chain("vda"), ElementsAre(path("a.qcow2")));
}

TEST_F(LiveImages, frozen_guest_that_stands_still_longer_than_the_limit_is_consistent_and_thawed) {
    run_on_images(true);
    const Duration limit(1000);
    auto taken = virt_.snapshot(guest_->id(), {}, limit, [&]() -> Result<> {
        EXPECT_TRUE(guest_->says("FROZEN"));
        const auto until = std::chrono::steady_clock::now() + 2 * limit;
        while (std::chrono::steady_clock::now() < until) EXPECT_EQ(state(), VmState::paused);
        return snap_both("s");
    });
    ASSERT_TRUE(taken) << taken.error().text();
    EXPECT_EQ(*taken, Consistency::filesystem);
    EXPECT_TRUE(eventually([&] { return guest_->says("THAWED"); }));
    EXPECT_TRUE(writes_on());
    ceph_.export_to(a_ + "@s", path("a"));
    ceph_.export_to(b_ + "@s", path("b"));
    EXPECT_TRUE(LabGuest::of_one_moment({"vda=" + path("a"), "vdb=" + path("b")}));
}

TEST_F(LiveImages, failing_while_frozen_thaws_and_a_paused_vm_stays_paused) {
    run_on_images(true);
    auto taken = virt_.snapshot(guest_->id(), {}, Duration(5000),
                                [&]() -> Result<> { return fail(ErrorKind::no_space, "full"); });
    EXPECT_EQ(taken.error().kind(), ErrorKind::no_space);
    EXPECT_TRUE(eventually([&] { return guest_->says("THAWED"); }));
    EXPECT_TRUE(writes_on());

    ASSERT_TRUE(virt_.pause(guest_->id()));
    taken = virt_.snapshot(guest_->id(), {}, Duration(5000), [&] { return snap_both("s"); });
    ASSERT_TRUE(taken) << taken.error().text();
    EXPECT_EQ(*taken, Consistency::crash);
    EXPECT_EQ(state(), VmState::paused);
    ASSERT_TRUE(virt_.resume(guest_->id()));
    EXPECT_TRUE(writes_on());
}

TEST_F(LiveImages, vm_whose_ceph_is_silent_is_described_all_the_same) {
    auto guest = board_on_image_and_layer();
    ceph_.daemon("osd", "freeze");
    auto answer = std::async(std::launch::async, [&] { return virt_.describe(guest->id()); });
    EXPECT_EQ(answer.wait_for(std::chrono::seconds(10)), std::future_status::ready);
    ceph_.daemon("osd", "go");
    auto described = answer.get();
    ASSERT_TRUE(described) << described.error().text();
    ASSERT_EQ(described->disks.size(), 2u);
    EXPECT_EQ(described->disks[0].size, base::MiB(64));
    EXPECT_EQ(described->disks[1].unsupported, "");
    EXPECT_EQ(described->disks[1].size, ByteSize(0));
    EXPECT_THAT(described->disks[1].source.monitors, ElementsAre(ceph_.monitor()));
}

// QEMU says that a guest stands still once its writes have reached Ceph.
TEST_F(LiveImages, nobody_waits_for_a_vm_whose_ceph_is_silent_and_it_goes_on_when_that_is_back) {
    run_on_images();
    const Outage first(*this);
    bool called = false;
    const auto snapshot = [&] {
        return virt_.snapshot(guest_->id(), {}, kNoFreeze, [&]() -> Result<> {
            called = true;
            return {};
        });
    };
    const auto begin = std::chrono::steady_clock::now();
    auto taken = snapshot();
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(taken.error().text(), HasSubstr("waits for the storage"));
    for (int again = 0; again < 3; ++again)
        EXPECT_EQ(snapshot().error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(virt_.pause(guest_->id()).error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(virt_.resume(guest_->id()).error().kind(), ErrorKind::unavailable);
    EXPECT_TRUE(virt_.describe(guest_->id()));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2 * kPauseLimit);
    EXPECT_FALSE(called);
    first.end();
    EXPECT_TRUE(eventually([&] { return state() == VmState::running; }));
    EXPECT_TRUE(writes_on());
    EXPECT_TRUE(eventually([&] { return snapshot().has_value(); }));
    EXPECT_TRUE(called);

    const Outage second(*this);
    EXPECT_EQ(virt_.pause(guest_->id()).error().kind(), ErrorKind::unavailable);
    second.end();
    EXPECT_TRUE(eventually([&] { return virt_.pause(guest_->id()).has_value(); }));
    EXPECT_EQ(state(), VmState::paused);
    EXPECT_TRUE(virt_.resume(guest_->id()));
    EXPECT_TRUE(writes_on());
}

TEST_F(LiveImages, stopped_vm_changes_between_files_and_images_and_starts_on_each) {
    make_qcow2(path("a.qcow2"), "64M");
    Guest guest("kinds", {{"vda", path("a.qcow2"), "qcow2"}});
    const std::vector<DiskSwitch> on_image{{"vda", source(image("a"))}};
    const std::vector<DiskSwitch> on_file{{"vda", {"file", "qcow2", path("a.qcow2")}}};
    for (const auto* switches : {&on_image, &on_file, &on_image}) {
        for (int again = 0; again < 2; ++again) {
            auto set = virt_.set_disks(guest.id(), *switches);
            ASSERT_TRUE(set) << set.error().text();
        }
        auto described = virt_.describe(guest.id());
        ASSERT_TRUE(described);
        EXPECT_EQ(described->disks[0].unsupported, "");
        EXPECT_EQ(described->disks[0].source, (*switches)[0].source);
        EXPECT_THAT(described->obstacles, IsEmpty());
        guest.start();
        guest.write("vda", 0, 4096, 0x11);
        ASSERT_TRUE(virt_.stop(guest.id()));
    }
    ceph_.export_to(images_.back(), path("raw"));
    EXPECT_TRUE(reads(path("raw"), "raw", 0, 4096, 0x11));
    EXPECT_TRUE(reads(path("a.qcow2"), "qcow2", 0, 4096, 0x11));
}

TEST_F(LiveImages, embedded_libvirt_says_that_it_has_no_secrets) {
    make_qcow2(path("a.qcow2"), "16M");
    const auto id = VmId::random();
    const auto uuid = "2ec115d7-3a88-4ceb-bc12-0ac909a6fd87";
    auto wanted = source("vms/elsewhere");
    wanted.user = "understudy";
    wanted.secret = uuid;
    auto adapted =
        virt_.adapt({Guest::definition("login", id, {{"vda", path("a.qcow2"), "qcow2"}}, "", ""),
                     {{"vda", wanted}},
                     {},
                     false,
                     "",
                     {}});
    ASSERT_TRUE(adapted) << adapted.error().text();
    ASSERT_EQ(adapted->issues.size(), 1u);
    EXPECT_EQ(adapted->issues[0].key, std::string("secret:") + uuid);
    EXPECT_THAT(adapted->issues[0].text, HasSubstr("qemu:///system"));
    ASSERT_TRUE(virt_.define(adapted->domain_xml)) << adapted->domain_xml;
    EXPECT_TRUE(virt_.undefine(id));
}

}  // namespace
}  // namespace understudy::libvirt
