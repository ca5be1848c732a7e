// The process dies between any two durable steps of a driver; the same call, repeated by another
// process, finishes the work.
#include "qcow2_fixture.hpp"
#include "rbd_fixture.hpp"
#include "storage/qcow2/volume_files.hpp"
#include "storage/rbd/record_store.hpp"
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

// Threads of librados do not survive a fork: there the call ends without the process. What it
// leaves in Ceph is the same.
struct Crash {};
void throw_at_zero(std::string_view) {
    if (steps_left.fetch_sub(1) == 0) throw Crash();
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
    bool mends = false;  // a snapshot has another content before than after
};

struct Scenario {
    std::string name;
    std::function<Scene(StorageFixture&)> prepare;
    std::function<void(StorageFixture&, Scene&)> operation;
};

// 0: the operation came to its end; kCrashed; or else it failed.
using RunUntilCrash = std::function<int(StorageFixture&, const Scenario&, Scene&, int steps)>;

int in_a_process(StorageFixture& fixture, const Scenario& scenario, Scene& scene, int steps) {
    fixture.crash();  // the pool is the child's
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

int in_this_process(StorageFixture& fixture, const Scenario& scenario, Scene& scene, int steps) {
    int status = 0;
    steps_left = steps;
    rbd::crash_hook = throw_at_zero;
    try {
        scenario.operation(fixture, scene);
    } catch (const Crash&) {
        status = kCrashed;
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "%s: %s\n", scenario.name.c_str(), problem.what());
        status = 1;
    }
    rbd::crash_hook = nullptr;
    fixture.crash();
    return status;
}

struct CrashCase {
    std::string kind;  // of storage_kinds()
    RunUntilCrash run;
    Scenario scenario;
};

void PrintTo(const CrashCase& crash, std::ostream* out) {
    *out << crash.kind << " " << crash.scenario.name;
}

// Between crash and repetition, whatever is listed reads as it must.
void expect_nothing_torn(StorageFixture& fixture, Scene& scene) {
    if (!must(fixture.pool().knows(scene.volume))) return;
    for (const auto& id : must(fixture.pool().snapshots(scene.volume))) {
        const auto& known = scene.after.contains(id) ? scene.after : scene.before;
        ASSERT_TRUE(known.contains(id)) << "a snapshot that nobody made";
        const auto content = read_snapshot(fixture.pool(), scene.volume, id);
        const bool as_before = scene.mends && content == scene.before.at(id);
        EXPECT_TRUE(as_before || content == known.at(id));
    }
}

void expect_done(StorageFixture& fixture, Scene& scene) {
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
    const auto* files = dynamic_cast<Qcow2Fixture*>(&fixture);
    if (!files) return;
    for (const auto& name : fixture.traces(scene.volume))
        if (name.ends_with(".qcow2"))
            run_program({"qemu-img", "check", "-q", "-f", "qcow2",
                         files->pool_directory() + "/" + scene.volume.text() + "/" + name});
}

class StorageCrash : public testing::TestWithParam<CrashCase> {};

TEST_P(StorageCrash, repeating_the_call_finishes_the_work_whatever_the_step) {
    const auto& scenario = GetParam().scenario;
    const auto kind = std::ranges::find(storage_kinds(), GetParam().kind, &StorageKind::name);
    const auto made = kind->make({});
    auto& fixture = *made;
    auto scene = scenario.prepare(fixture);
    const bool remembered = fixture.remember();
    scenario.operation(fixture, scene);
    expect_done(fixture, scene);
    const auto files = fixture.traces(scene.volume).size();
    int steps = 0;
    for (;; ++steps) {
        SCOPED_TRACE("after step " + std::to_string(steps));
        if (remembered)
            fixture.go_back();
        else
            scene = scenario.prepare(fixture);
        const int status = GetParam().run(fixture, scenario, scene, steps);
        ASSERT_TRUE(status == kCrashed || status == 0) << status;
        expect_nothing_torn(fixture, scene);
        scenario.operation(fixture, scene);
        expect_done(fixture, scene);
        EXPECT_EQ(fixture.traces(scene.volume).size(), files) << "leftovers";
        if (status == 0 || HasFailure()) break;
    }
    EXPECT_GT(steps, 0) << "no step was interrupted";
}

Scene adopted_with_three(StorageFixture& fixture) {
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

Scene replica_with_two(StorageFixture& fixture) {
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
            [which](StorageFixture& fixture) {
                auto scene = adopted_with_three(fixture);
                for (const auto index : which) scene.after.erase(scene.ids[index]);
                if (which.size() == 3) scene.head_source_after = scene.disk->original();
                return scene;
            },
            [which, live](StorageFixture& fixture, Scene& scene) {
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
        [incremental](StorageFixture& fixture) {
            Scene scene = incremental ? replica_with_two(fixture) : Scene{};
            if (!incremental) scene.volume = VolumeId::random();
            scene.ids.push_back(SnapshotId::random());
            scene.after[scene.ids.back()] = filled(MiB(2), 8);
            return scene;
        },
        [incremental](StorageFixture& fixture, Scene& scene) {
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

Scenario mending() {
    return {"mend",
            [](StorageFixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.after[scene.ids[1]] = filled(MiB(2), 7);
                scene.mends = true;
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                const auto mend = must(fixture.pool().mend(scene.volume, scene.ids[1]));
                must(mend->write(ByteOffset(0), filled(MiB(1), 7)));
                must(mend->flush());
                must(mend->write(ByteOffset(1 << 20), filled(MiB(1), 7)));
                must(mend->publish());
            }};
}

Scenario discarding() {
    return {"receive_and_discard",
            [](StorageFixture&) {
                Scene scene;
                scene.volume = VolumeId::random();
                scene.ids.push_back(SnapshotId::random());
                scene.known_after = false;
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                const auto incoming = must(
                    fixture.pool().receive(scene.volume, kLabel, {}, scene.ids.front(), MiB(2)));
                must(incoming->write(ByteOffset(0), filled(MiB(1), 8)));
                must(incoming->discard());
            }};
}

Scenario taking() {
    return {"take_snapshot",
            [](StorageFixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.ids.push_back(SnapshotId::random());
                scene.after[scene.ids.back()] = *scene.head_after;
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                const auto& id = scene.ids.back();
                must(pool.prepare_snapshot(scene.volume, id, MiB(2)));
                if (!must(pool.snapshot_taken(scene.volume, id)))
                    must(pool.take_snapshot(scene.volume, id));
                must(pool.commit_snapshot(scene.volume, id));
            }};
}

Scenario cancelling() {
    return {"cancel_snapshot",
            [](StorageFixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.ids.push_back(SnapshotId::random());
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                const auto& id = scene.ids.back();
                must(fixture.pool().prepare_snapshot(scene.volume, id, MiB(2)));
                must(fixture.pool().cancel_snapshot(scene.volume, id));
            }};
}

Scenario rolling_back() {
    return {"rollback",
            [](StorageFixture& fixture) {
                auto scene = adopted_with_three(fixture);
                scene.head_after = scene.after.at(scene.ids[0]);
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                must(pool.activate(scene.volume, scene.ids[0], ActivationKind::rollback));
                must(pool.activate(scene.volume, scene.ids[0], ActivationKind::promote));
            }};
}

Scenario promoting() {
    return {"promote",
            [](StorageFixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.head_after = scene.after.at(scene.ids[1]);
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                must(fixture.pool().activate(scene.volume, scene.ids[1], ActivationKind::promote));
            }};
}

Scenario drilling() {
    return {"drill", replica_with_two, [](StorageFixture& fixture, Scene& scene) {
                auto& pool = fixture.pool();
                const auto drill =
                    must(pool.activate(scene.volume, scene.ids[0], ActivationKind::drill));
                must(pool.deactivate(scene.volume, drill));
            }};
}

Scenario forgetting() {
    return {"forget",
            [](StorageFixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.known_after = false;
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                must(fixture.pool().forget(scene.volume, true));
            }};
}

Scenario adopting() {
    return {"adopt",
            [](StorageFixture& fixture) {
                static int number = 0;
                Scene scene;
                scene.volume = VolumeId::random();
                scene.head_source_after =
                    fixture.make_disk("fresh" + std::to_string(++number), MiB(2));
                scene.head_after = filled(MiB(2), 0);
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                must(fixture.pool().adopt(scene.volume, kLabel, *scene.head_source_after));
            }};
}

// On a snapshot that is not the newest, which in-place drivers answer with a clone.
Scenario promoting_an_older_one() {
    return {"promote_older",
            [](StorageFixture& fixture) {
                auto scene = replica_with_two(fixture);
                scene.head_after = scene.after.at(scene.ids[0]);
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                must(fixture.pool().activate(scene.volume, scene.ids[0], ActivationKind::promote));
            }};
}

// And then everything but the head goes: what was cloned is made independent.
Scenario letting_go_under_a_head() {
    return {"remove_all_under_a_head",
            [](StorageFixture& fixture) {
                auto scene = replica_with_two(fixture);
                must(fixture.pool().activate(scene.volume, scene.ids[0], ActivationKind::promote));
                scene.head_after = scene.after.at(scene.ids[0]);
                scene.after.clear();
                return scene;
            },
            [](StorageFixture& fixture, Scene& scene) {
                for (const auto& id : scene.ids)
                    must(fixture.pool().remove_snapshot(scene.volume, id));
            }};
}

std::vector<CrashCase> crash_cases() {
    std::vector<CrashCase> cases;
    const std::vector<Scenario> of_all{adopting(),
                                       taking(),
                                       cancelling(),
                                       receiving(false),
                                       receiving(true),
                                       discarding(),
                                       mending(),
                                       removing("remove_all", {1, 0, 2}, false),
                                       rolling_back(),
                                       promoting(),
                                       promoting_an_older_one(),
                                       letting_go_under_a_head(),
                                       drilling(),
                                       forgetting()};
    for (const auto& scenario : of_all) {
        cases.push_back({"qcow2", in_a_process, scenario});
        cases.push_back({"rbd", in_this_process, scenario});
    }
    // Where layers are merged, it matters which.
    for (const auto& scenario :
         {removing("remove_first", {0}, false), removing("remove_middle", {1}, false),
          removing("remove_last", {2}, false), removing("remove_first_live", {0}, true),
          removing("remove_last_live", {2}, true), removing("remove_all_live", {0, 1, 2}, true)})
        cases.push_back({"qcow2", in_a_process, scenario});
    return cases;
}

INSTANTIATE_TEST_SUITE_P(steps, StorageCrash, testing::ValuesIn(crash_cases()),
                         [](const testing::TestParamInfo<CrashCase>& crash) {
                             return crash.param.kind + "_" + crash.param.scenario.name;
                         });

}  // namespace
}  // namespace understudy::conformance
