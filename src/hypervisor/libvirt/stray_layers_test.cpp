#include "hypervisor/libvirt/embed_host.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

// What a libvirt that is killed amid a snapshot leaves in QEMU, under real QEMU: the same commands
// that libvirt gives it, with libvirt's own record of them left out.
namespace understudy::libvirt {
namespace {

using namespace testing;
using ports::DiskSwitch;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kMiB = 1u << 20;

class StrayLayers : public ::testing::Test {
protected:
    StrayLayers() : host_(EmbedHost::instance()), virt_(*host_.hypervisor) {
        directory_ = host_.directory / "stray";
        std::filesystem::create_directories(directory_);
        make_qcow2(path("a"), "64M");
        run({"qemu-img", "create", "-q", "-f", "raw", path("b"), "32M"});
        make_overlay(path("a.1"), path("a"), "qcow2", "64M");
        make_overlay(path("b.1"), path("b"), "raw", "32M");
        guest_ = std::make_unique<Guest>(
            "stray",
            std::vector<Guest::Disk>{{"vda", path("a"), "qcow2"}, {"vdb", path("b"), "raw"}});
        guest_->start();
        guest_->write("vda", 0, kMiB, 0x11);
        guest_->write("vdb", 0, kMiB, 0x21);
    }
    ~StrayLayers() override {
        guest_.reset();
        std::filesystem::remove_all(directory_);
    }

    std::string path(const std::string& name) const { return (directory_ / name).string(); }
    std::vector<DiskSwitch> switches() const {
        return {{"vda", {"file", "qcow2", path("a.1")}}, {"vdb", {"file", "qcow2", path("b.1")}}};
    }
    void tell(const std::string& command) {
        ASSERT_THAT(guest_->qmp(command), Not(HasSubstr("\"error\""))) << command;
    }
    void add_storage(unsigned number, const std::string& file) {
        tell(fmt::format(
            R"({{"execute":"blockdev-add","arguments":{{"driver":"file","filename":"{}",
                "node-name":"libvirt-{}-storage","auto-read-only":true,"discard":"unmap"}}}})",
            file, number));
    }
    void add_format(unsigned number) {
        tell(fmt::format(
            R"({{"execute":"blockdev-add","arguments":{{"node-name":"libvirt-{0}-format",
                "read-only":false,"driver":"qcow2","file":"libvirt-{0}-storage",
                "backing":null}}}})",
            number));
    }
    std::string root_of(const std::string& target) {
        const auto shown = guest_->qmp(R"({"execute":"query-block"})");
        const auto at = shown.find(fmt::format("virtio-disk{}/", target.back() - 'a'));
        const auto begin = shown.rfind("\"node-name\"", at);
        return shown.substr(begin, shown.find(',', begin) - begin);
    }
    // As libvirt does it for both disks: vdb is libvirt-1, vda libvirt-2.
    void switch_behind_its_back() {
        add_storage(3, path("a.1"));
        add_format(3);
        add_storage(4, path("b.1"));
        add_format(4);
        tell(R"({"execute":"transaction","arguments":{"actions":[
            {"type":"blockdev-snapshot",
             "data":{"node":"libvirt-2-format","overlay":"libvirt-3-format"}},
            {"type":"blockdev-snapshot",
             "data":{"node":"libvirt-1-format","overlay":"libvirt-4-format"}}]}})");
    }
    ports::VmState state() { return virt_.describe(guest_->id())->summary.state; }
    // The VM's state when it was said that the overlays are spent, if it was.
    std::optional<ports::VmState> settle() {
        std::optional<ports::VmState> then;
        auto settled =
            virt_.repair_interrupted_snapshot(guest_->id(), switches(), [&]() -> Result<> {
                EXPECT_FALSE(then) << "called twice";
                then = state();
                return {};
            });
        EXPECT_TRUE(settled) << settled.error().text();
        return then;
    }
    void snapshot_works() {
        for (const auto* name : {"a.1", "b.1"}) std::filesystem::remove(path(name));
        make_overlay(path("a.1"), path("a"), "qcow2", "64M");
        make_overlay(path("b.1"), path("b"), "raw", "32M");
        auto taken = virt_.snapshot(guest_->id(), switches(), Duration(0), {});
        ASSERT_TRUE(taken) << taken.error().text();
        EXPECT_THAT(guest_->chain("vda"), ElementsAre(path("a.1"), path("a")));
        guest_->write("vda", 2 * kMiB, kMiB, 0x14);
        EXPECT_TRUE(reads(path("a.1"), "qcow2", 2 * kMiB, kMiB, 0x14));
        EXPECT_TRUE(reads(path("a.1"), "qcow2", 0, 4096, 0x11));
    }

    EmbedHost& host_;
    ports::Hypervisor& virt_;
    std::filesystem::path directory_;
    std::unique_ptr<Guest> guest_;
};

TEST_F(StrayLayers, without_any_nothing_is_done) {
    EXPECT_EQ(settle(), std::nullopt);
    const auto before = guest_->qmp(R"({"execute":"query-named-block-nodes"})");
    EXPECT_EQ(settle(), std::nullopt);
    EXPECT_EQ(guest_->qmp(R"({"execute":"query-named-block-nodes"})").size(), before.size());
    snapshot_works();
}

TEST_F(StrayLayers, of_a_vm_that_libvirt_has_on_them_the_definition_says_so_too) {
    const auto before = guest_->xml(true);
    snapshot_works();
    const auto on_both = AllOf(HasSubstr("stray/a.1'"), HasSubstr("stray/b.1'"));
    EXPECT_THAT(guest_->xml(true), on_both);
    guest_->define_while_it_runs(before);  // as if libvirt had ended before it wrote that down
    ASSERT_THAT(guest_->xml(true), Not(HasSubstr(".1'")));
    const auto never = []() -> Result<> {
        ADD_FAILURE();
        return {};
    };
    ASSERT_TRUE(virt_.repair_interrupted_snapshot(guest_->id(), switches(), never));
    EXPECT_THAT(guest_->xml(true), on_both);
    EXPECT_THAT(guest_->chain("vda"), ElementsAre(path("a.1"), path("a")));
}

TEST_F(StrayLayers, what_is_no_overlay_of_this_snapshot_is_none_of_its_business) {
    make_overlay(path("other"), path("a"), "qcow2", "64M");
    add_storage(3, path("other"));
    EXPECT_EQ(settle(), std::nullopt);
    EXPECT_THAT(guest_->qmp(R"({"execute":"query-named-block-nodes"})"), HasSubstr("/other"));
}

TEST_F(StrayLayers, one_that_is_in_no_use_is_closed_and_the_snapshot_can_be_taken_again) {
    add_storage(3, path("a.1"));
    add_format(3);
    add_storage(4, path("b.1"));
    auto taken = virt_.snapshot(guest_->id(), switches(), Duration(0), {});
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error().text(), HasSubstr("Duplicate nodes"));
    EXPECT_EQ(settle(), std::nullopt);
    snapshot_works();
}

TEST_F(StrayLayers, what_was_written_to_one_is_on_the_disk_that_libvirt_knows) {
    switch_behind_its_back();
    guest_->write("vda", 4096, 4096, 0x12);
    guest_->write("vdb", 4096, 4096, 0x22);
    ASSERT_TRUE(reads(path("a"), "qcow2", 4096, 4096, 0x11)) << "it is not on the stray layer";
    ASSERT_THAT(root_of("vda"), HasSubstr("libvirt-3-format"));
    EXPECT_EQ(settle(), ports::VmState::paused);
    EXPECT_EQ(state(), ports::VmState::running);
    EXPECT_THAT(root_of("vda"), HasSubstr("libvirt-2-format"));
    EXPECT_THAT(root_of("vdb"), HasSubstr("libvirt-1-format"));
    EXPECT_TRUE(reads(path("a"), "qcow2", 4096, 4096, 0x12));
    EXPECT_TRUE(reads(path("b"), "raw", 4096, 4096, 0x22));
    guest_->write("vda", 0, 4096, 0x11);
    snapshot_works();
    EXPECT_TRUE(reads(path("a.1"), "qcow2", 4096, 4096, 0x12));
}

TEST_F(StrayLayers, a_vm_that_stands_still_is_settled_too_and_stands_still) {
    switch_behind_its_back();
    guest_->write("vdb", 4096, 4096, 0x22);
    ASSERT_TRUE(virt_.pause(guest_->id()));
    EXPECT_EQ(settle(), ports::VmState::paused);
    EXPECT_EQ(state(), ports::VmState::paused);
    EXPECT_TRUE(reads(path("b"), "raw", 4096, 4096, 0x22));
}

TEST_F(StrayLayers, the_vm_stays_paused_when_nobody_could_note_that_its_overlays_are_spent) {
    switch_behind_its_back();
    const auto failed = [] { return fail(ErrorKind::no_space, "no room for the note"); };
    auto settled = virt_.repair_interrupted_snapshot(guest_->id(), switches(), failed);
    EXPECT_EQ(settled.error().kind(), ErrorKind::no_space);
    EXPECT_EQ(state(), ports::VmState::paused);
    EXPECT_EQ(settle(), ports::VmState::paused);
}

TEST_F(StrayLayers, of_a_vm_that_is_off_nothing_is_said) {
    ASSERT_TRUE(virt_.stop(guest_->id()));
    const auto never = []() -> Result<> {
        ADD_FAILURE();
        return {};
    };
    EXPECT_EQ(virt_.repair_interrupted_snapshot(guest_->id(), switches(), never).error().kind(),
              ErrorKind::unavailable);
    EXPECT_EQ(virt_.repair_interrupted_snapshot(VmId::random(), switches(), never).error().kind(),
              ErrorKind::not_found);
}

}  // namespace
}  // namespace understudy::libvirt
