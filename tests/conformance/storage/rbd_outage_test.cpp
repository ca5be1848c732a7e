// What becomes of the rbd driver's calls while Ceph hangs or is away, and when it is back. Stops
// processes of the test run's Ceph: nothing else may use it meanwhile.
#include "qcow2_fixture.hpp"
#include "rbd_fixture.hpp"

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace understudy::conformance {
namespace {

using base::MiB;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kTimeout{2};

std::filesystem::path ceph_directory() {
    const char* conf = std::getenv("UNDERSTUDY_TEST_CEPH");
    if (!conf) throw std::runtime_error("UNDERSTUDY_TEST_CEPH names no ceph.conf");
    return std::filesystem::canonical(conf).parent_path();
}

pid_t pid_of(const std::string& daemon) {
    std::ifstream file(ceph_directory() / "run" / (daemon + ".pid"));
    pid_t pid = 0;
    file >> pid;
    if (pid <= 0) throw std::runtime_error("no process id of " + daemon);
    return pid;
}

template <class Condition>
void eventually(Condition condition) {
    const auto until = Clock::now() + std::chrono::seconds(60);
    while (!condition()) {
        if (Clock::now() > until) throw std::runtime_error("a condition did not come about");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

// A monitor that answers nothing for as long as this lives.
class HangingMonitor {
public:
    HangingMonitor() : pid_(pid_of("mon.a")) { ::kill(pid_, SIGSTOP); }
    ~HangingMonitor() { ::kill(pid_, SIGCONT); }
    HangingMonitor(const HangingMonitor&) = delete;
    HangingMonitor& operator=(const HangingMonitor&) = delete;

private:
    const pid_t pid_;
};

// The OSD is killed, and started again at the end. (One that is only stopped for a while does not
// serve again: Ceph 16 leaves its placement groups "laggy" where there is no other OSD.)
class KilledOsd {
public:
    KilledOsd() {
        const auto pid = pid_of("osd.0");
        ::kill(pid, SIGKILL);
        eventually([&] { return ::kill(pid, 0) != 0; });
    }
    ~KilledOsd() {
        const auto conf = (ceph_directory() / "ceph.conf").string();
        eventually([&] {
            try {
                run_program({"ceph-osd", "-c", conf, "-i", "0"});
                return true;
            } catch (const std::runtime_error&) {
                return false;  // it lost a race with the monitor
            }
        });
    }
    KilledOsd(const KilledOsd&) = delete;
    KilledOsd& operator=(const KilledOsd&) = delete;
};

template <class Call>
auto within(std::chrono::seconds limit, Call call) {
    const auto begin = Clock::now();
    auto result = call();
    const auto took = Clock::now() - begin;
    EXPECT_LT(took, limit) << std::chrono::duration<double>(took).count() << " s";
    return result;
}

TEST(RbdOutage, calls_give_up_while_the_osd_is_dead_and_go_on_when_it_is_back) {
    RbdFixture fixture({.timeout = kTimeout}, std::nullopt);
    GuestDisk disk(fixture, "disk", kDiskSize);
    disk.run({write_op(0, 1 << 20, 1)});
    const auto taken = disk.take();
    auto& pool = fixture.pool();
    const auto replica = VolumeId::random();
    const auto id = SnapshotId::random();
    const auto content = filled(kDiskSize, 3);
    {
        const auto incoming = must(pool.receive(replica, kLabel, {}, id, kDiskSize));
        write_extents(*incoming, {{ByteOffset(0), MiB(4), model::ExtentKind::data}}, content);
        must(incoming->flush());
        const auto reader = must(pool.open_snapshot(disk.id(), taken));
        const KilledOsd osd;
        Bytes some(4096);
        const auto limit = 3 * kTimeout;
        EXPECT_EQ(error_kind_of(within(limit, [&] { return reader->read(ByteOffset(0), some); })),
                  ErrorKind::unavailable);
        auto listed = within(limit, [&] { return pool.snapshots(disk.id()); });
        ASSERT_EQ(error_kind_of(listed), ErrorKind::unavailable);
        EXPECT_NE(listed.error().text().find("ceph -s"), std::string::npos);
        EXPECT_NE(listed.error().text().find("pool 'vms/"), std::string::npos);
        EXPECT_EQ(error_kind_of(within(limit,
                                       [&] {
                                           auto written = incoming->write(ByteOffset(4 << 20),
                                                                          filled(MiB(1), 3));
                                           return written ? incoming->flush() : written;
                                       })),
                  ErrorKind::unavailable);
        EXPECT_EQ(
            error_kind_of(within(limit, [&] { return pool.open_snapshot(disk.id(), taken); })),
            ErrorKind::unavailable);
        EXPECT_EQ(error_kind_of(within(std::chrono::seconds(7),
                                       [&] { return pool.take_snapshot(disk.id(), taken); })),
                  ErrorKind::unavailable);
    }
    eventually([&] { return pool.snapshots(disk.id()).has_value(); });
    const auto incoming = must(pool.receive(replica, kLabel, {}, id, kDiskSize));
    write_extents(*incoming, {{ByteOffset(4 << 20), MiB(4), model::ExtentKind::data}}, content);
    must(incoming->publish());
    expect_snapshots(pool, replica, {{id, content}});
    expect_snapshots(pool, disk.id(), disk.contents());
}

// The moment is given up long before the call to Ceph is.
TEST(RbdOutage, a_snapshot_that_comes_late_is_found_and_cancelled) {
    RbdFixture fixture({}, std::nullopt);
    GuestDisk disk(fixture, "disk", kDiskSize);
    disk.run({write_op(0, 1 << 20, 1)});
    const auto traces = fixture.traces(disk.id());
    auto& pool = fixture.pool();
    for (const bool cancelled_before : {false, true}) {
        const auto id = SnapshotId::random();
        must(pool.prepare_snapshot(disk.id(), id, kDiskSize));
        {
            const HangingMonitor monitor;
            EXPECT_EQ(error_kind_of(within(std::chrono::seconds(7),
                                           [&] { return pool.take_snapshot(disk.id(), id); })),
                      ErrorKind::unavailable);
            EXPECT_FALSE(must(pool.snapshot_taken(disk.id(), id)));
            EXPECT_EQ(error_kind_of(pool.commit_snapshot(disk.id(), id)), ErrorKind::conflict);
            if (cancelled_before) must(pool.cancel_snapshot(disk.id(), id));
        }
        if (cancelled_before) {
            eventually([&] { return fixture.traces(disk.id()).size() > traces.size(); });
        } else {
            eventually([&] { return must(pool.snapshot_taken(disk.id(), id)); });
            EXPECT_EQ(error_kind_of(pool.take_snapshot(disk.id(), id)), ErrorKind::conflict);
            must(pool.cancel_snapshot(disk.id(), id));
            EXPECT_EQ(fixture.traces(disk.id()), traces);
        }
    }
    disk.take();  // sweeps what came after it was cancelled
    expect_snapshots(pool, disk.id(), disk.contents());
    EXPECT_EQ(fixture.traces(disk.id()).size(), traces.size() + 1);
}

}  // namespace
}  // namespace understudy::conformance
