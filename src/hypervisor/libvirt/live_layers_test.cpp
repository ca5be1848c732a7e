#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/embed_host.hpp"

#include <gmock/gmock.h>

#include <atomic>

// Snapshots and merges under real QEMU.
namespace understudy::libvirt {
namespace {

using namespace testing;
using model::Consistency;
using ports::DiskSource;
using ports::DiskSwitch;
using ports::LiveMerge;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kMiB = 1u << 20;

class LiveLayers : public ::testing::Test {
protected:
    LiveLayers() : host_(EmbedHost::instance()), virt_(*host_.hypervisor) {
        directory_ =
            host_.directory / ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::create_directories(directory_);
        make_qcow2(path("a"), "64M");
        run({"qemu-img", "create", "-q", "-f", "raw", path("b"), "32M"});
    }
    ~LiveLayers() override { std::filesystem::remove_all(directory_); }

    std::string path(const std::string& name) const { return (directory_ / name).string(); }
    std::vector<Guest::Disk> disks() const {
        return {{"vda", path("a"), "qcow2"}, {"vdb", path("b"), "raw"}};
    }
    // Overlays a.N and b.N over what is there.
    std::vector<DiskSwitch> overlays(int number) {
        const auto below = [&](const char* disk) {
            return number == 1 ? path(disk) : path(fmt(disk, number - 1));
        };
        make_overlay(path(fmt("a", number)), below("a"), "qcow2", "64M");
        make_overlay(path(fmt("b", number)), below("b"), number == 1 ? "raw" : "qcow2", "32M");
        return {{"vda", {"file", "qcow2", path(fmt("a", number))}},
                {"vdb", {"file", "qcow2", path(fmt("b", number))}}};
    }
    static std::string fmt(const std::string& disk, int number) {
        return disk + "." + std::to_string(number);
    }
    void snapshot(Guest& guest, int number) {
        auto taken = virt_.snapshot(guest.id(), overlays(number), Duration(2000), {});
        ASSERT_TRUE(taken) << taken.error().text();
        EXPECT_EQ(*taken, Consistency::crash);
    }
    void merge(Guest& guest, const std::string& target, const LiveMerge& merge) {
        auto merged = virt_.merge(guest.id(), target, merge, nullptr);
        ASSERT_TRUE(merged) << merged.error().text();
    }
    std::vector<DiskSource> sources(const std::string& xml) {
        std::vector<DiskSource> found;
        auto disks = disks_in(xml, xml);
        if (disks)
            for (const auto& disk : *disks) found.push_back(disk.source);
        return found;
    }

    EmbedHost& host_;
    ports::Hypervisor& virt_;
    std::filesystem::path directory_;
};

TEST_F(LiveLayers, snapshot_freezes_both_disks_at_one_moment) {
    Guest guest("moment", disks());
    guest.start();
    guest.write("vda", 0, kMiB, 0x11);
    guest.write("vdb", 4096, 4096, 0x21);
    snapshot(guest, 1);
    guest.write("vda", 0, 4096, 0x12);
    guest.write("vdb", 4096, 4096, 0x22);

    EXPECT_TRUE(reads(path("a"), "qcow2", 0, kMiB, 0x11));
    EXPECT_TRUE(reads(path("b"), "raw", 4096, 4096, 0x21));
    EXPECT_TRUE(reads(path("a.1"), "qcow2", 0, 4096, 0x12));
    EXPECT_TRUE(reads(path("a.1"), "qcow2", 4096, 4096, 0x11));
    EXPECT_TRUE(reads(path("b.1"), "qcow2", 4096, 4096, 0x22));
    const std::vector<DiskSource> heads{{"file", "qcow2", path("a.1")},
                                        {"file", "qcow2", path("b.1")}};
    EXPECT_EQ(sources(guest.xml(false)), heads);
    EXPECT_EQ(sources(guest.xml(true)), heads);
}

TEST_F(LiveLayers, snapshot_works_paused_and_repeats_without_effect) {
    Guest guest("paused", disks());
    guest.start();
    ASSERT_TRUE(virt_.pause(guest.id()));
    snapshot(guest, 1);
    auto again = virt_.snapshot(
        guest.id(),
        {{"vda", {"file", "qcow2", path("a.1")}}, {"vdb", {"file", "qcow2", path("b.1")}}},
        Duration(2000), {});
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(*again, Consistency::crash);
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a.1"), path("a")));
    EXPECT_EQ(virt_.describe(guest.id())->summary.state, ports::VmState::paused);
}

TEST_F(LiveLayers, snapshot_that_cannot_switch_one_disk_switches_none) {
    Guest guest("atomic", disks());
    guest.start();
    auto switches = overlays(1);
    switches[1].source.location = path("no such file");
    auto taken = virt_.snapshot(guest.id(), switches, Duration(0), {});
    ASSERT_FALSE(taken);
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a")));
    EXPECT_THAT(guest.chain("vdb"), ElementsAre(path("b")));
    guest.write("vda", 0, 4096, 0x31);
    EXPECT_TRUE(reads(path("a"), "qcow2", 0, 4096, 0x31));
}

TEST_F(LiveLayers, snapshot_of_a_stopped_vm_is_a_conflict) {
    Guest guest("stopped", disks());
    auto taken = virt_.snapshot(guest.id(), overlays(1), Duration(0), {});
    EXPECT_EQ(taken.error().kind(), ErrorKind::conflict);
}

TEST_F(LiveLayers, middle_layer_merges_into_the_one_below) {
    Guest guest("middle", disks());
    guest.start();
    guest.write("vda", 0, kMiB, 0x11);
    guest.write("vdb", 0, kMiB, 0x21);
    snapshot(guest, 1);
    guest.write("vda", 0, 4096, 0x12);
    guest.write("vdb", 8192, 4096, 0x22);
    snapshot(guest, 2);
    guest.write("vda", 4096, 4096, 0x13);

    const LiveMerge qcow2{path("a"), path("a.1"), false};
    const LiveMerge raw{path("b"), path("b.1"), false};
    merge(guest, "vda", qcow2);
    merge(guest, "vdb", raw);
    merge(guest, "vdb", raw);
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a.2"), path("a")));
    EXPECT_THAT(guest.chain("vdb"), ElementsAre(path("b.2"), path("b")));
    EXPECT_TRUE(reads(path("a"), "qcow2", 0, 4096, 0x12));
    EXPECT_TRUE(reads(path("a"), "qcow2", 4096, 4096, 0x11));
    EXPECT_TRUE(reads(path("b"), "raw", 8192, 4096, 0x22));
    EXPECT_TRUE(reads(path("a.2"), "qcow2", 4096, 4096, 0x13));
}

TEST_F(LiveLayers, head_merges_back_into_the_users_own_files) {
    Guest guest("back", disks());
    guest.start();
    snapshot(guest, 1);
    snapshot(guest, 2);
    guest.write("vda", 0, kMiB, 0x12);
    guest.write("vdb", kMiB, kMiB, 0x22);
    merge(guest, "vda", {path("a"), path("a.2"), true});
    merge(guest, "vdb", {path("b"), path("b.1"), false});
    merge(guest, "vdb", {path("b"), path("b.2"), true});
    merge(guest, "vdb", {path("b"), path("b.2"), true});

    const std::vector<DiskSource> own{{"file", "qcow2", path("a")}, {"file", "raw", path("b")}};
    EXPECT_EQ(sources(guest.xml(false)), own);
    EXPECT_EQ(sources(guest.xml(true)), own);
    guest.write("vdb", 3 * kMiB, 4096, 0x23);
    ASSERT_TRUE(virt_.stop(guest.id()));
    EXPECT_TRUE(reads(path("a"), "qcow2", 0, kMiB, 0x12));
    EXPECT_TRUE(reads(path("b"), "raw", kMiB, kMiB, 0x22));
    EXPECT_TRUE(reads(path("b"), "raw", 3 * kMiB, 4096, 0x23));
    guest.start();  // the definition alone leads back to the user's files
    EXPECT_THAT(guest.chain("vdb"), ElementsAre(path("b")));
}

TEST_F(LiveLayers, cancelled_merge_leaves_the_chain_and_can_be_repeated) {
    Guest guest("cancel", disks());
    guest.start();
    snapshot(guest, 1);
    guest.write("vda", 0, 16 * kMiB, 0x12);
    int asked = 0;
    const LiveMerge merge{path("a"), path("a.1"), true};
    auto stopped = virt_.merge(guest.id(), "vda", merge, [&] { return ++asked > 1; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind(), ErrorKind::cancelled);
    EXPECT_EQ(asked, 2);  // once before the job, once while it ran
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a.1"), path("a")));
    this->merge(guest, "vda", merge);
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a")));
    EXPECT_TRUE(reads(path("a"), "qcow2", 0, 16 * kMiB, 0x12));
}

TEST_F(LiveLayers, merge_of_layers_that_are_not_there_is_a_conflict) {
    Guest guest("foreign", disks());
    guest.start();
    auto merged = virt_.merge(guest.id(), "vda", {path("x"), path("y"), false}, nullptr);
    ASSERT_FALSE(merged);
    EXPECT_EQ(merged.error().kind(), ErrorKind::conflict);
    EXPECT_EQ(virt_.merge(guest.id(), "vdz", {path("x"), path("y"), false}, nullptr).error().kind(),
              ErrorKind::not_found);
}

TEST_F(LiveLayers, grown_disk_is_described_and_merged_at_its_new_size) {
    Guest guest("grown", disks());
    guest.start();
    snapshot(guest, 1);
    guest.resize("vda", 96 * kMiB);
    guest.resize("vdb", 48 * kMiB);
    auto described = virt_.describe(guest.id());
    ASSERT_TRUE(described);
    EXPECT_EQ(described->disks[0].size, base::MiB(96));
    EXPECT_EQ(described->disks[1].size, base::MiB(48));
    guest.write("vda", 95 * kMiB, kMiB, 0x12);
    guest.write("vdb", 47 * kMiB, kMiB, 0x22);
    merge(guest, "vda", {path("a"), path("a.1"), true});
    merge(guest, "vdb", {path("b"), path("b.1"), true});
    ASSERT_TRUE(virt_.stop(guest.id()));
    EXPECT_TRUE(reads(path("a"), "qcow2", 95 * kMiB, kMiB, 0x12));
    EXPECT_TRUE(reads(path("b"), "raw", 47 * kMiB, kMiB, 0x22));
}

// libvirt writes the layers of a running VM's snapshot into its definition, and does not start a
// VM whose definition names a file that is gone.
TEST_F(LiveLayers, stopped_vm_forgets_the_layers_below_its_disks) {
    Guest guest("forgets", disks());
    guest.start();
    snapshot(guest, 1);
    snapshot(guest, 2);
    ASSERT_TRUE(virt_.stop(guest.id()));
    EXPECT_THAT(guest.xml(true), HasSubstr(path("a.1")));
    EXPECT_THAT(virt_.describe(guest.id())->domain_xml, Not(HasSubstr(path("a.1"))));
    ASSERT_TRUE(virt_.set_disks(guest.id(), {{"vda", {"file", "qcow2", path("a.2")}},
                                             {"vdb", {"file", "qcow2", path("b.2")}}}));
    for (const char* disk : {"a", "b"}) {
        run({"qemu-img", "commit", "-q", "-d", path(fmt(disk, 1))});
        run({"qemu-img", "rebase", "-q", "-u", "-b", path(disk), "-F",
             disk == std::string("a") ? "qcow2" : "raw", path(fmt(disk, 2))});
        std::filesystem::remove(path(fmt(disk, 1)));
    }
    guest.start();
    EXPECT_THAT(guest.chain("vda"), ElementsAre(path("a.2"), path("a")));
    EXPECT_THAT(guest.chain("vdb"), ElementsAre(path("b.2"), path("b")));
}

TEST_F(LiveLayers, stopped_vm_switches_disks_by_definition) {
    Guest guest("offline", disks());
    const auto switches = overlays(1);
    ASSERT_TRUE(virt_.set_disks(guest.id(), switches));
    ASSERT_TRUE(virt_.set_disks(guest.id(), switches));
    auto described = virt_.describe(guest.id());
    ASSERT_TRUE(described);
    EXPECT_EQ(described->disks[0].source, switches[0].source);
    EXPECT_EQ(described->disks[1].source, switches[1].source);
    EXPECT_EQ(described->disks[1].size, base::MiB(32));
    guest.start();
    EXPECT_THAT(guest.chain("vdb"), ElementsAre(path("b.1"), path("b")));
    EXPECT_EQ(virt_.set_disks(guest.id(), switches).error().kind(), ErrorKind::conflict);
}

}  // namespace
}  // namespace understudy::libvirt
