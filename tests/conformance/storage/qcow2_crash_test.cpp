// The process dies between any two durable steps of the qcow2 driver; the same call, repeated by
// another process, finishes the work.
#include "qcow2_fixture.hpp"
#include "storage/qcow2/volume_files.hpp"
#include "storage_conformance.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

namespace understudy::conformance {
namespace {

using base::MiB;
using ports::ActivationKind;

constexpr int kCrashed = 42;
std::atomic<int> steps_left{0};

void die_at_zero(std::string_view) {
    if (steps_left.fetch_sub(1) == 0) ::_exit(kCrashed);
}

// A volume before the operation, and what must be there after it.
struct Scene {
    std::unique_ptr<GuestDisk> disk;  // none: a replica
    VolumeId volume;
    std::vector<SnapshotId> ids;
    std::map<SnapshotId, Bytes> before;
    std::map<SnapshotId, Bytes> after;
    std::optional<Bytes> head_after;
    std::optional<ports::DiskSource> head_source_after;
    bool known_after = true;
};

struct Scenario {
    std::string name;
    std::function<Scene(Qcow2Fixture&)> prepare;
    std::function<void(Qcow2Fixture&, Scene&)> operation;
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
    *out << scenario.name;
}

int run_until_crash(Qcow2Fixture& fixture, const Scenario& scenario, Scene& scene, int steps) {
    fixture.close_pool();
    const pid_t child = ::fork();
    if (child == 0) {
        steps_left = steps;
        qcow2::crash_hook = die_at_zero;
        try {
            scenario.operation(fixture, scene);
        } catch (const std::exception& problem) {
            std::fprintf(stderr, "%s: %s\n", scenario.name.c_str(), problem.what());
            ::_exit(1);
        }
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Between crash and repetition, whatever is listed reads as it must.
void expect_nothing_torn(Qcow2Fixture& fixture, Scene& scene) {
    if (!must(fixture.pool().knows(scene.volume))) return;
    for (const auto& id : must(fixture.pool().snapshots(scene.volume))) {
        const auto& known = scene.after.contains(id) ? scene.after : scene.before;
        ASSERT_TRUE(known.contains(id)) << "a snapshot that nobody made";
        EXPECT_TRUE(read_snapshot(fixture.pool(), scene.volume, id) == known.at(id));
    }
}

void expect_done(Qcow2Fixture& fixture, Scene& scene) {
    ASSERT_EQ(must(fixture.pool().knows(scene.volume)), scene.known_after);
    if (!scene.known_after) {
        EXPECT_TRUE(fixture.traces(scene.volume).empty());
        return;
    }
    expect_snapshots(fixture.pool(), scene.volume, scene.after);
    const auto head = must(fixture.pool().head(scene.volume));
    EXPECT_EQ(head.has_value(), scene.head_after.has_value());
    if (head && scene.head_after) {
        EXPECT_TRUE(fixture.read_disk(*head) == *scene.head_after);
    }
    if (scene.head_source_after) {
        EXPECT_EQ(head, scene.head_source_after);
    }
    for (const auto& name : fixture.traces(scene.volume))
        if (name.ends_with(".qcow2"))
            run_program({"qemu-img", "check", "-q", "-f", "qcow2",
                         fixture.pool_directory() + "/" + scene.volume.text() + "/" + name});
}

class Qcow2Crash : public testing::TestWithParam<Scenario> {};

TEST_P(Qcow2Crash, repeating_the_call_finishes_the_work_whatever_the_step) {
    Qcow2Fixture fixture("qcow2", {});
    auto whole = GetParam().prepare(fixture);
    GetParam().operation(fixture, whole);
    expect_done(fixture, whole);
    const auto files = fixture.traces(whole.volume).size();
    int steps = 0;
    for (;; ++steps) {
        SCOPED_TRACE("after step " + std::to_string(steps));
        auto scene = GetParam().prepare(fixture);
        const int status = run_until_crash(fixture, GetParam(), scene, steps);
        ASSERT_TRUE(status == kCrashed || status == 0) << status;
        expect_nothing_torn(fixture, scene);
        GetParam().operation(fixture, scene);
        expect_done(fixture, scene);
        EXPECT_EQ(fixture.traces(scene.volume).size(), files) << "leftovers";
        if (status == 0 || HasFailure()) break;
    }
    EXPECT_GT(steps, 0) << "no step was interrupted";
}

Scene adopted_with_three(Qcow2Fixture& fixture) {
    static int number = 0;
    Scene scene;
    scene.disk = std::make_unique<GuestDisk>(fixture, "disk" + std::to_string(++number), MiB(2));
    scene.volume = scene.disk->id();
    for (unsigned char i = 1; i <= 3; ++i) {
        scene.disk->run({write_op(i * 65536UL, 1 << 20, i), trim_op(0, 128 << 10)});
        scene.ids.push_back(scene.disk->take());
    }
    scene.disk->run({write_op(4096, 4096, 9)});
    scene.before = scene.after = scene.disk->contents();
    scene.head_after = fixture.read_disk(scene.disk->head());
    return scene;
}

Scene replica_with_two(Qcow2Fixture& fixture) {
    Scene scene;
    scene.volume = VolumeId::random();
    for (unsigned char i = 1; i <= 2; ++i) {
        const auto base = scene.ids.empty() ? std::optional<SnapshotId>() : scene.ids.back();
        scene.ids.push_back(SnapshotId::random());
        scene.before[scene.ids.back()] = filled(MiB(2), i);
        receive_content(fixture.pool(), scene.volume, base, scene.ids.back(), filled(MiB(2), i));
    }
    scene.after = scene.before;
    return scene;
}

Scenario removing(std::string name, const std::vector<std::size_t>& which, bool live) {
    return {std::move(name),
            [which](Qcow2Fixture& fixture) {
                auto scene = adopted_with_three(fixture);
                for (const auto index : which) scene.after.erase(scene.ids[index]);
                if (which.size() == 3) scene.head_source_after = scene.disk->original();
                return scene;
            },
            [which, live](Qcow2Fixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                for (const auto index : which) {
                    const auto& id = scene.ids[index];
                    if (!live) {
                        must(pool.remove_snapshot(scene.volume, id));
                        continue;
                    }
                    const auto merge = must(pool.plan_removal(scene.volume, id));
                    if (merge) fixture.merge_live(*merge, *must(pool.head(scene.volume)));
                    must(pool.finish_removal(scene.volume, id));
                }
            }};
}

Scenario receiving(bool incremental) {
    return {
        incremental ? "receive_incremental" : "receive_full",
        [incremental](Qcow2Fixture& fixture) {
            Scene scene = incremental ? replica_with_two(fixture) : Scene{};
            if (!incremental) scene.volume = VolumeId::random();
            scene.ids.push_back(SnapshotId::random());
            scene.after[scene.ids.back()] = filled(MiB(2), 8);
            return scene;
        },
        [incremental](Qcow2Fixture& fixture, Scene& scene) {
            const auto base = incremental ? std::optional<SnapshotId>(scene.ids[1]) : std::nullopt;
            const auto incoming =
                must(fixture.pool().receive(scene.volume, kLabel, base, scene.ids.back(), MiB(2)));
            if (must(fixture.pool().snapshots(scene.volume)).size() < scene.after.size()) {
                must(incoming->write(ByteOffset(0), filled(MiB(1), 8)));
                must(incoming->flush());
                must(incoming->write(ByteOffset(1 << 20), filled(MiB(1), 8)));
            }
            must(incoming->publish());
        }};
}

Scenario discarding() {
    return {"receive_and_discard",
            [](Qcow2Fixture&) {
                Scene scene;
                scene.volume = VolumeId::random();
                scene.ids.push_back(SnapshotId::random());
                scene.known_after = false;
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                const auto incoming = must(
                    fixture.pool().receive(scene.volume, kLabel, {}, scene.ids.front(), MiB(2)));
                must(incoming->write(ByteOffset(0), filled(MiB(1), 8)));
                must(incoming->discard());
            }};
}

Scenario taking() {
    return {"take_snapshot",
            [](Qcow2Fixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.ids.push_back(SnapshotId::random());
                scene.after[scene.ids.back()] = *scene.head_after;
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                must(fixture.pool().prepare_snapshot(scene.volume, scene.ids.back(), MiB(2)));
                must(fixture.pool().commit_snapshot(scene.volume, scene.ids.back()));
            }};
}

Scenario cancelling() {
    return {"cancel_snapshot",
            [](Qcow2Fixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.ids.push_back(SnapshotId::random());
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                const auto& id = scene.ids.back();
                must(fixture.pool().prepare_snapshot(scene.volume, id, MiB(2)));
                must(fixture.pool().cancel_snapshot(scene.volume, id));
            }};
}

Scenario rolling_back() {
    return {"rollback",
            [](Qcow2Fixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.head_after = scene.after.at(scene.ids[0]);
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                must(pool.activate(scene.volume, scene.ids[0], ActivationKind::rollback));
                must(pool.activate(scene.volume, scene.ids[0], ActivationKind::promote));
            }};
}

Scenario promoting() {
    return {"promote",
            [](Qcow2Fixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.head_after = scene.after.at(scene.ids[1]);
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                must(fixture.pool().activate(scene.volume, scene.ids[1], ActivationKind::promote));
            }};
}

Scenario drilling() {
    return {"drill", replica_with_two, [](Qcow2Fixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                const auto drill =
                    must(pool.activate(scene.volume, scene.ids[0], ActivationKind::drill));
                must(pool.deactivate(scene.volume, drill));
            }};
}

Scenario forgetting() {
    return {"forget",
            [](Qcow2Fixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.known_after = false;
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                must(fixture.pool().forget(scene.volume, true));
            }};
}

Scenario adopting() {
    return {"adopt",
            [](Qcow2Fixture& fixture) {
                static int number = 0;
                Scene scene;
                scene.volume = VolumeId::random();
                scene.head_source_after =
                    fixture.make_disk("fresh" + std::to_string(++number), MiB(2));
                scene.head_after = filled(MiB(2), 0);
                return scene;
            },
            [](Qcow2Fixture& fixture, Scene& scene) {
                must(fixture.pool().adopt(scene.volume, kLabel, *scene.head_source_after));
            }};
}

std::string scenario_name(const testing::TestParamInfo<Scenario>& scenario) {
    return scenario.param.name;
}

INSTANTIATE_TEST_SUITE_P(steps, Qcow2Crash,
                         testing::Values(adopting(), taking(), cancelling(), receiving(false),
                                         receiving(true), discarding(),
                                         removing("remove_first", {0}, false),
                                         removing("remove_middle", {1}, false),
                                         removing("remove_last", {2}, false),
                                         removing("remove_all", {1, 0, 2}, false),
                                         removing("remove_first_live", {0}, true),
                                         removing("remove_last_live", {2}, true),
                                         removing("remove_all_live", {0, 1, 2}, true),
                                         rolling_back(), promoting(), drilling(), forgetting()),
                         scenario_name);

}  // namespace
}  // namespace understudy::conformance
