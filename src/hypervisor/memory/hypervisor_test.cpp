#include "hypervisor/memory/hypervisor.hpp"

#include <gmock/gmock.h>

namespace understudy::memory {
namespace {

using model::Consistency;
using ports::DiskSource;
using ports::DiskSwitch;
using ports::VmState;
using testing::ElementsAre;
using testing::IsEmpty;

const VmId kVm(base::uuid_from_random(1, 1));
const std::vector<DiskSwitch> kOverlays{{"vda", {"file", "qcow2", "a.1"}},
                                        {"vdb", {"file", "qcow2", "b.1"}}};

void add_web1(MemoryHypervisor& hypervisor) {
    hypervisor.add(kVm, "web1",
                   {{"vda", {"file", "raw", "a"}, base::MiB(1), ""},
                    {"vdb", {"file", "raw", "b"}, base::MiB(2), ""}});
}

TEST(MemoryHypervisor, guest_writes_before_and_after_the_moment) {
    std::vector<std::string> writes;
    WorldHooks hooks;
    hooks.guest = [&](const VmId&, const auto& disks, Moment moment) {
        writes.push_back((moment == Moment::before ? "before " : "after ") +
                         disks[1].source.location);
    };
    MemoryHypervisor hypervisor(hooks);
    add_web1(hypervisor);
    ASSERT_TRUE(hypervisor.start(kVm));
    ASSERT_TRUE(hypervisor.snapshot(kVm, kOverlays, Duration(0), {}));
    EXPECT_THAT(writes, ElementsAre("before b", "after b.1"));
}

TEST(MemoryHypervisor, repeated_snapshot_is_done_and_happens_once) {
    int turns = 0;
    WorldHooks hooks;
    hooks.guest = [&](const VmId&, const auto&, Moment) { ++turns; };
    MemoryHypervisor hypervisor(hooks);
    add_web1(hypervisor);
    hypervisor.set_consistency(Consistency::filesystem);
    EXPECT_EQ(hypervisor.snapshot(kVm, kOverlays, Duration(0), {}).error().kind(),
              ErrorKind::conflict);
    ASSERT_TRUE(hypervisor.start(kVm));
    EXPECT_EQ(hypervisor.snapshot(kVm, kOverlays, Duration(0), {}), Consistency::filesystem);
    EXPECT_EQ(hypervisor.snapshot(kVm, kOverlays, Duration(0), {}), Consistency::crash);
    EXPECT_EQ(turns, 2);
}

TEST(MemoryHypervisor, failed_snapshot_switches_no_disk) {
    MemoryHypervisor hypervisor;
    add_web1(hypervisor);
    ASSERT_TRUE(hypervisor.start(kVm));
    EXPECT_FALSE(hypervisor.snapshot(kVm, {kOverlays[0], {"vdz", {}}}, Duration(0), {}));
    EXPECT_EQ(hypervisor.disks(kVm)[0].source.location, "a");
}

TEST(MemoryHypervisor, every_real_start_is_remembered_with_its_disks) {
    MemoryHypervisor hypervisor;
    add_web1(hypervisor);
    ASSERT_TRUE(hypervisor.start(kVm));
    ASSERT_TRUE(hypervisor.start(kVm));
    hypervisor.power_loss();
    EXPECT_FALSE(hypervisor.runs(kVm));
    ASSERT_TRUE(hypervisor.set_disks(kVm, kOverlays));
    ASSERT_TRUE(hypervisor.start(kVm));
    ASSERT_EQ(hypervisor.starts().size(), 2u);
    EXPECT_EQ(hypervisor.starts()[1].number, 2u);
    EXPECT_EQ(hypervisor.starts()[1].disks[0].source, kOverlays[0].source);
}

TEST(MemoryHypervisor, running_vm_refuses_new_disks_definition_and_removal) {
    MemoryHypervisor hypervisor;
    add_web1(hypervisor);
    const auto definition = hypervisor.describe(kVm)->domain_xml;
    ASSERT_TRUE(hypervisor.start(kVm));
    EXPECT_EQ(hypervisor.set_disks(kVm, kOverlays).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(hypervisor.define(definition).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(hypervisor.undefine(kVm).error().kind(), ErrorKind::conflict);
}

TEST(MemoryHypervisor, merge_moves_the_head_and_repeats) {
    std::vector<std::string> merged;
    WorldHooks hooks;
    hooks.merge = [&](const ports::LiveMerge& merge) -> Result<> {
        merged.push_back(merge.top + " into " + merge.base);
        return {};
    };
    MemoryHypervisor hypervisor(hooks);
    add_web1(hypervisor);
    ASSERT_TRUE(hypervisor.start(kVm));
    ASSERT_TRUE(hypervisor.snapshot(kVm, kOverlays, Duration(0), {}));
    const ports::LiveMerge merge{"a", "a.1", true};
    const auto stop = hypervisor.merge(kVm, "vda", merge, [] { return true; });
    EXPECT_EQ(stop.error().kind(), ErrorKind::cancelled);
    EXPECT_THAT(merged, IsEmpty());
    ASSERT_TRUE(hypervisor.merge(kVm, "vda", merge, nullptr));
    ASSERT_TRUE(hypervisor.merge(kVm, "vda", merge, nullptr));
    EXPECT_EQ(hypervisor.disks(kVm)[0].source.location, "a");
    EXPECT_THAT(merged, testing::Each("a.1 into a"));
}

TEST(MemoryHypervisor, definition_travels_to_another_host) {
    MemoryHypervisor here;
    MemoryHypervisor there;
    add_web1(here);
    ports::AdaptRequest request;
    request.domain_xml = here.describe(kVm)->domain_xml;
    request.disks = {kOverlays[0]};
    auto adapted = there.adapt(request);
    ASSERT_TRUE(adapted);
    ASSERT_EQ(adapted->issues.size(), 1u);
    EXPECT_EQ(adapted->issues[0].key, "disk:vdb");
    ASSERT_TRUE(there.define(adapted->domain_xml));
    auto described = there.describe(kVm);
    ASSERT_TRUE(described);
    EXPECT_EQ(described->summary.name, "web1");
    EXPECT_EQ(described->summary.state, VmState::stopped);
    ASSERT_EQ(described->disks.size(), 1u);
    EXPECT_EQ(described->disks[0].source, kOverlays[0].source);
    EXPECT_EQ(described->disks[0].size, base::MiB(1));
    EXPECT_EQ(there.define("nonsense").error().kind(), ErrorKind::invalid);
}

TEST(MemoryHypervisor, adapting_names_another_vm_with_that_name) {
    MemoryHypervisor here;
    add_web1(here);
    ports::AdaptRequest request;
    request.domain_xml = here.describe(kVm)->domain_xml;
    request.disks = kOverlays;
    EXPECT_THAT(here.adapt(request)->issues, IsEmpty());
    request.new_id = VmId(base::uuid_from_random(2, 2));
    const auto adapted = here.adapt(request);
    ASSERT_TRUE(adapted);
    ASSERT_EQ(adapted->issues.size(), 1u);
    EXPECT_EQ(adapted->issues[0].key, "name");
    EXPECT_EQ(here.define(adapted->domain_xml).error().kind(), ErrorKind::conflict);
}

TEST(MemoryHypervisor, faults_come_before_and_lost_replies_after_the_deed) {
    bool lose = false;
    WorldHooks hooks;
    hooks.fault = [](const std::string& call) -> Result<> {
        if (call == "pause") return fail(ErrorKind::unavailable, "cut");
        return {};
    };
    hooks.lost_reply = [&](const std::string& call) -> Result<> {
        if (lose && call == "start") return fail(ErrorKind::unavailable, "lost");
        return {};
    };
    MemoryHypervisor hypervisor(hooks);
    add_web1(hypervisor);
    lose = true;
    EXPECT_FALSE(hypervisor.start(kVm));
    EXPECT_TRUE(hypervisor.runs(kVm));
    EXPECT_FALSE(hypervisor.pause(kVm));
    EXPECT_EQ((*hypervisor.list())[0].state, VmState::running);
    hypervisor.set_reachable(false);
    EXPECT_EQ(hypervisor.list().error().kind(), ErrorKind::unavailable);
}

}  // namespace
}  // namespace understudy::memory
