#include "catalog_fixture.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace understudy::test {
namespace {

// Only catalogs whose data survives the process.
class CatalogDurability : public CatalogTest {
protected:
    // Runs `work` on a catalog of its own in a child process that ends without closing it.
    pid_t in_child(const std::function<void(ports::Catalog&)>& work) {
        close();
        const pid_t child = fork();
        if (child != 0) return child;
        try {
            auto own = must(catalog::open_catalog(settings()));
            work(*own);
            _exit(0);
        } catch (...) {
            _exit(1);
        }
    }
};
INSTANTIATE_TEST_SUITE_P(Every, CatalogDurability, testing::ValuesIn(file_backends()),
                         [](const auto& test) { return test.param; });

TEST_P(CatalogDurability, what_was_written_is_there_after_an_exit_without_closing) {
    const auto vm = some_vm("web1");
    const auto snapshot = some_snapshot(vm, "nightly", 0);
    const auto transfer = some_transfer(vm, some_snapshot(vm, "next", 1));
    const auto task = some_task(vm.id, 0);
    const pid_t child = in_child([&](ports::Catalog& own) {
        must(own.publish_snapshot(vm, snapshot, some_definition(), {}, std::nullopt));
        must(own.add_transfer(transfer));
        must(own.save_durable(transfer.id, {1, ByteOffset(8192)}, MiB(9), at(3)));
        must(own.add_task(task));
        must(own.claim_task("node", at(1), Duration(1000), {}));
        must(own.save_step(task.id, "node", "publish", "{}"));
    });
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    open();
    EXPECT_EQ(must(catalog().vm(vm.id)), vm);
    EXPECT_EQ(must(catalog().snapshot(snapshot.id)), snapshot);
    EXPECT_EQ(must(catalog().definition(snapshot.id)), some_definition());
    EXPECT_EQ(must(catalog().transfer(transfer.id)).durable.offset, ByteOffset(8192));
    EXPECT_EQ(must(catalog().task(task.id)).step, "publish");
}

TEST_P(CatalogDurability, a_kill_amid_publishing_loses_no_confirmed_snapshot_and_leaves_no_half) {
    int confirmed[2];
    ASSERT_EQ(pipe(confirmed), 0);
    const auto vm = some_vm("web1");
    const pid_t child = in_child([&](ports::Catalog& own) {
        for (int i = 0;; ++i) {
            const auto snapshot = some_snapshot(vm, "s" + std::to_string(i), i);
            must(own.publish_snapshot(vm, snapshot, some_definition(),
                                      {{snapshot.id, model::HoldKind::user, ""}}, std::nullopt));
            if (write(confirmed[1], snapshot.id.bytes().data(), 16) != 16) return;
        }
    });
    ::close(confirmed[1]);
    std::vector<SnapshotId> promised;
    base::UuidBytes bytes;
    while (read(confirmed[0], bytes.data(), 16) == 16) {
        promised.emplace_back(bytes);
        if (promised.size() == 20) kill(child, SIGKILL);  // the rest of the pipe is read, too
    }
    ::close(confirmed[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    open();
    const auto found = must(catalog().snapshots(vm.id));
    EXPECT_GE(found.size(), promised.size());
    EXPECT_EQ(must(catalog().holds(vm.id)).size(), found.size());
    for (const auto& snapshot : found)
        EXPECT_EQ(must(catalog().definition(snapshot.id)), some_definition());
    for (const auto& id : promised) EXPECT_TRUE(must(catalog().find_snapshot(id))) << id.text();
}

TEST_P(CatalogDurability, the_files_are_private) {
    publish_new(catalog(), "web1", "nightly");
    for (const auto& name : {path(), path() + "-wal", path() + "-shm"}) {
        struct stat info{};
        ASSERT_EQ(stat(name.c_str(), &info), 0) << name;
        EXPECT_EQ(info.st_mode & 0777, 0600U) << name;
    }
}

}  // namespace
}  // namespace understudy::test
