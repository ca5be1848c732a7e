#include "catalog_fixture.hpp"

#include <cstdio>
#include <ctime>
#include <functional>

namespace understudy::test {
namespace {

// The simulation runs thousands of seeds on this catalog.
class CatalogInMemory : public CatalogTest {
protected:
    // Microseconds of this thread's CPU per call, over enough calls to mean something.
    void measure(const char* what, const std::function<void(int)>& call, double bound_us = 1000) {
        constexpr int kCalls = 500;
        const double begin = cpu_us();
        for (int i = 0; i < kCalls; ++i) call(i);
        const double us = (cpu_us() - begin) / kCalls;
        std::printf("%-28s %7.1f us\n", what, us);
        EXPECT_LT(us, bound_us) << what;
    }

private:
    static double cpu_us() {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
    }
};
INSTANTIATE_TEST_SUITE_P(Every, CatalogInMemory, testing::Values("sqlite_memory"),
                         [](const auto& test) { return test.param; });

TEST_P(CatalogInMemory, typical_operations_cost_less_than_a_millisecond) {
    const auto made = publish_new(catalog(), "web1", "nightly");
    const auto transfer = some_transfer(made.vm, some_snapshot(made.vm, "coming", 1));
    must(catalog().add_transfer(transfer));
    const auto task = some_task(made.vm.id, 0);
    must(catalog().add_task(task));
    must(catalog().claim_task("node", at(0), Duration(1'000'000), {}));
    std::vector<model::Vm> vms;
    for (int i = 0; i < 500; ++i) vms.push_back(some_vm("vm" + std::to_string(i)));
    measure("find_vm", [&](int) { must(catalog().find_vm(made.vm.id)); });
    measure("find_snapshot", [&](int) { must(catalog().find_snapshot(made.snapshot.id)); });
    measure("save_durable", [&](int i) {
        must(catalog().save_durable(transfer.id, {0, ByteOffset(static_cast<std::uint64_t>(i))},
                                    MiB(1), at(i)));
    });
    measure("find_transfer",
            [&](int) { must(catalog().find_transfer(made.vm.id, transfer.request.snapshot.id)); });
    measure("task", [&](int) { must(catalog().task(task.id)); });
    measure("save_step", [&](int) { must(catalog().save_step(task.id, "node", "s", "{}")); });
    measure("append_log", [&](int i) { must(catalog().append_log(task.id, at(i), "line")); });
    measure("claim_task (none due)", [&](int) {
        EXPECT_EQ(must(catalog().claim_task("other", at(1), Duration(1), {})), std::nullopt);
    });
    measure("add + claim + release task", [&](int i) {
        must(catalog().add_task(some_task(std::nullopt, i)));
        auto claimed = must(catalog().claim_task("node", at(i), Duration(1), {})).value();
        claimed.state = model::TaskState::succeeded;
        must(catalog().release_task(claimed, "node"));
    });
    measure("publish_snapshot (new VM)", [&](int i) {
        const auto& vm = vms[static_cast<std::size_t>(i)];
        must(catalog().publish_snapshot(vm, some_snapshot(vm, "nightly", i), some_definition(), {},
                                        std::nullopt));
    });
    measure(
        "open an empty catalog",
        [&](int) { must(must(catalog::open_catalog(settings()))->find_cluster()); }, 10'000);
}

TEST_P(CatalogInMemory, a_long_log_keeps_its_first_and_its_newest_lines) {
    const auto task = some_task(std::nullopt, 0);
    must(catalog().add_task(task));
    constexpr int kLines = 2100;
    for (int i = 1; i <= kLines; ++i) must(catalog().append_log(task.id, at(i), std::to_string(i)));
    const auto lines = must(catalog().task_log(task.id, 0, 10'000));
    ASSERT_EQ(lines.size(), 2000U);
    EXPECT_EQ(lines[0].text, "1");
    EXPECT_EQ(lines[199].text, "200");
    EXPECT_EQ(lines[200].text, "301");
    EXPECT_EQ(lines.back().text, std::to_string(kLines));
}

}  // namespace
}  // namespace understudy::test
