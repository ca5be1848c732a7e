#include "catalog_fixture.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace understudy::test {
namespace {

constexpr int kThreads = 8;

class CatalogConcurrency : public CatalogTest {
protected:
    // Runs `work` in kThreads threads at once; its exceptions fail the test.
    template <class Work>
    void in_threads(Work work) {
        std::vector<std::thread> threads;
        for (int i = 0; i < kThreads; ++i)
            threads.emplace_back([&work, i] {
                try {
                    work("node" + std::to_string(i));
                } catch (const std::exception& error) {
                    ADD_FAILURE() << error.what();
                }
            });
        for (auto& thread : threads) thread.join();
    }
};
EVERY_CATALOG(CatalogConcurrency);

TEST_P(CatalogConcurrency, every_task_is_claimed_once_and_one_at_a_time_per_vm) {
    constexpr int kTasks = 120;
    std::vector<std::optional<VmId>> vms{std::nullopt};
    for (int i = 0; i < 5; ++i) vms.emplace_back(VmId::random());
    for (int i = 0; i < kTasks; ++i)
        must(catalog().add_task(some_task(vms[static_cast<std::size_t>(i) % vms.size()], i)));

    std::mutex mutex;
    std::map<TaskId, int> claims;
    std::set<VmId> busy;
    std::atomic<int> done{0};
    in_threads([&](const std::string& node) {
        while (done < kTasks) {
            auto task = must(catalog().claim_task(node, at(kTasks), Duration(60'000), {}));
            if (!task) {
                std::this_thread::yield();
                continue;
            }
            {
                const std::lock_guard lock(mutex);
                ++claims[task->id];
                const bool alone = !task->vm || busy.insert(*task->vm).second;
                EXPECT_TRUE(alone) << "two tasks run for one VM";
            }
            must(catalog().save_step(task->id, node, "work", "{}"));
            {
                const std::lock_guard lock(mutex);
                if (task->vm) busy.erase(*task->vm);
            }
            task->state = model::TaskState::succeeded;
            task->ended = at(kTasks);
            must(catalog().release_task(*task, node));
            ++done;
        }
    });
    EXPECT_EQ(claims.size(), static_cast<std::size_t>(kTasks));
    for (const auto& [id, count] : claims) EXPECT_EQ(count, 1) << id.text();
}

TEST_P(CatalogConcurrency, of_many_takers_one_gets_the_invite_and_one_the_name) {
    must(catalog().add_invite("hash", at(100)));
    const auto made = publish_new(catalog(), "web1", "first");
    std::atomic<int> taken{0};
    std::atomic<int> published{0};
    in_threads([&](const std::string&) {
        if (must(catalog().take_invite("hash", at(1)))) ++taken;
        const auto snapshot = some_snapshot(made.vm, "second", 1, made.snapshot.id);
        const auto result =
            catalog().publish_snapshot(made.vm, snapshot, some_definition(), {}, std::nullopt);
        if (result)
            ++published;
        else
            EXPECT_EQ(kind_of(result), "conflict");
    });
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(published, 1);
    EXPECT_EQ(must(catalog().snapshots(made.vm.id)).size(), 2U);
}

TEST_P(CatalogConcurrency, of_many_changes_of_ownership_from_one_state_one_succeeds) {
    const auto vm = some_vm("web1");
    must(catalog().save_vm(vm));
    std::atomic<int> changed{0};
    in_threads([&](const std::string&) {
        const model::Ownership mine{8, ClusterId::random(), model::Phase::owned};
        if (catalog().set_ownership(vm.id, vm.ownership, mine, {})) ++changed;
    });
    EXPECT_EQ(changed, 1);
}

}  // namespace
}  // namespace understudy::test
