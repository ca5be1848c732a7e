#include "catalog_fixture.hpp"

#include <sqlite3.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

namespace understudy::test {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

// What SQLite's own file can look like when a catalog is opened on it.
class CatalogOnSqlite : public CatalogTest {
protected:
    void with_file(const std::function<void(sqlite3*)>& work) {
        sqlite3* file = nullptr;
        ASSERT_EQ(sqlite3_open(path().c_str(), &file), SQLITE_OK);
        work(file);
        EXPECT_EQ(sqlite3_close(file), SQLITE_OK);
    }
    static void run(sqlite3* file, const std::string& sql) {
        char* error = nullptr;
        EXPECT_EQ(sqlite3_exec(file, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
        sqlite3_free(error);
    }
    std::vector<std::string> schema() {
        std::vector<std::string> lines;
        with_file([&](sqlite3* file) {
            sqlite3_exec(
                file, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
                [](void* out, int, char** values, char**) {
                    static_cast<std::vector<std::string>*>(out)->emplace_back(values[0]);
                    return 0;
                },
                &lines, nullptr);
        });
        for (auto& line : lines) std::erase(line, '\n');
        return lines;
    }
    void start_over() {
        close();
        for (const auto* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path() + suffix);
    }
    void write_file(const std::string& bytes) {
        std::ofstream(path(), std::ios::binary).write(bytes.data(), std::ssize(bytes));
    }
    Result<std::unique_ptr<ports::Catalog>> try_open(Duration busy_timeout = Duration(50)) {
        auto chosen = settings();
        chosen.busy_timeout = busy_timeout;
        return catalog::open_catalog(chosen);
    }
};
INSTANTIATE_TEST_SUITE_P(Every, CatalogOnSqlite, testing::Values("sqlite_file"),
                         [](const auto& test) { return test.param; });

TEST_P(CatalogOnSqlite, a_catalog_of_version_1_is_read_whole) {
    const auto fresh = schema();
    start_over();
    std::ostringstream dump;
    dump << std::ifstream(CATALOG_TEST_DATA "/version_1.sql").rdbuf();
    with_file([&](sqlite3* file) { run(file, dump.str()); });
    open();
    EXPECT_EQ(must(catalog().find_cluster()).value_or(model::Cluster{}).name, "main");
    const auto peers = must(catalog().peers());
    ASSERT_THAT(peers, SizeIs(1));
    auto expected = some_peer("dr");
    expected.id = peers[0].id;
    EXPECT_EQ(peers[0], expected);
    const auto vms = must(catalog().vms());
    ASSERT_THAT(vms, SizeIs(1));
    EXPECT_EQ(vms[0].disks.at(1).pool, "bulk");
    const auto snapshots = must(catalog().snapshots(vms[0].id));
    ASSERT_THAT(snapshots, SizeIs(2));
    EXPECT_EQ(snapshots[1].parent, snapshots[0].id);
    EXPECT_EQ(must(catalog().definition(snapshots[1].id)), some_definition());
    EXPECT_THAT(must(catalog().holds(vms[0].id)), SizeIs(2));
    EXPECT_EQ(must(catalog().replications(vms[0].id)).at(0).snapshot, snapshots[0].id);
    const auto transfers = must(catalog().transfers());
    ASSERT_THAT(transfers, SizeIs(1));
    EXPECT_EQ(transfers[0].request.snapshot.name, "coming");
    EXPECT_EQ(transfers[0].request.definition, some_definition());
    const auto tasks = must(catalog().tasks({vms[0].id, true}));
    ASSERT_THAT(tasks, SizeIs(1));
    EXPECT_EQ(tasks[0].lease_node, "node1");
    EXPECT_EQ(must(catalog().task_log(tasks[0].id, 0, 9)).at(0).text, "planned: 2 disks");
    EXPECT_TRUE(must(catalog().take_invite("hash", at(99))));
    close();
    EXPECT_EQ(schema(), fresh) << "an upgraded catalog differs from a new one";
}

TEST_P(CatalogOnSqlite, a_newer_catalog_is_refused_untouched) {
    const auto vm = some_vm("web1");
    must(catalog().save_vm(vm));
    close();
    with_file(
        [](sqlite3* file) { run(file, "UPDATE schema_version SET version = version + 1000"); });
    const auto refused = try_open();
    ASSERT_EQ(kind_of(refused), "unsupported");
    EXPECT_THAT(refused.error().text(), HasSubstr("schema version 100"));
    EXPECT_THAT(refused.error().text(), HasSubstr(path()));
    EXPECT_THAT(refused.error().advice(), HasSubstr("newer"));
    with_file(
        [](sqlite3* file) { run(file, "UPDATE schema_version SET version = version - 1000"); });
    open();
    EXPECT_EQ(must(catalog().vm(vm.id)), vm);
}

TEST_P(CatalogOnSqlite, an_event_that_somebody_changed_or_took_out_is_found) {
    for (int i = 1; i <= 3; ++i) {
        model::Event event;
        event.time = at(i);
        event.text = "event " + std::to_string(i);
        must(catalog().add_event(event));
    }
    close();
    const auto broken_after = [&](const char* sql) {
        with_file([&](sqlite3* file) { run(file, sql); });
        open();
        const auto broken = must(catalog().first_broken_event());
        close();
        return broken.value_or(0);
    };
    EXPECT_EQ(broken_after("SELECT 1"), 0);
    EXPECT_EQ(broken_after("UPDATE events SET text = 'nothing' WHERE sequence = 2"), 2);
    EXPECT_EQ(broken_after("UPDATE events SET text = 'event 2' WHERE sequence = 2"), 0);
    EXPECT_EQ(broken_after("DELETE FROM events WHERE sequence = 2"), 2);
}

TEST_P(CatalogOnSqlite, a_file_that_is_no_database_is_corrupt_and_left_alone) {
    start_over();
    const std::string bytes(8192, 'x');
    write_file(bytes);
    const auto refused = try_open();
    ASSERT_EQ(kind_of(refused), "corrupt");
    EXPECT_THAT(refused.error().text(), HasSubstr(path()));
    EXPECT_THAT(refused.error().advice(), HasSubstr("backup"));
    std::ostringstream left;
    left << std::ifstream(path(), std::ios::binary).rdbuf();
    EXPECT_EQ(left.str(), bytes);
}

TEST_P(CatalogOnSqlite, a_damaged_page_is_corrupt) {
    for (int i = 0; i < 50; ++i) publish_new(catalog(), "vm" + std::to_string(i), "nightly");
    close();
    const auto size = std::filesystem::file_size(path());
    std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
    constexpr std::size_t kPage = 4096;  // the first one, which says what the others are, is kept
    file.seekp(kPage);
    const std::string noise(size - kPage, '\x5a');
    file.write(noise.data(), std::ssize(noise));
    file.close();
    auto opened = try_open();
    const auto kind = opened ? kind_of((*opened)->vms()) : kind_of(opened);
    EXPECT_EQ(kind, "corrupt");
}

TEST_P(CatalogOnSqlite, a_value_this_program_never_writes_is_corrupt) {
    const auto vm = some_vm("web1");
    must(catalog().save_vm(vm));
    with_file([](sqlite3* file) { run(file, "UPDATE vms SET phase = 'dreaming'"); });
    const auto refused = catalog().vm(vm.id);
    ASSERT_EQ(kind_of(refused), "corrupt");
    EXPECT_THAT(refused.error().text(), HasSubstr("dreaming"));
    with_file([](sqlite3* file) { run(file, "UPDATE vms SET phase = 'replica', disks = '{'"); });
    EXPECT_EQ(kind_of(catalog().vms()), "corrupt");
    with_file([](sqlite3* file) { run(file, "UPDATE vms SET disks = '[]'"); });
    EXPECT_TRUE(catalog().vm(vm.id)) << "the catalog did not recover from a bad row";
}

TEST_P(CatalogOnSqlite, a_lock_of_another_process_is_unavailable_and_then_over) {
    auto opened = must(try_open());
    close();
    const auto vm = some_vm("web1");
    with_file([&](sqlite3* file) {
        run(file, "BEGIN IMMEDIATE");
        const auto refused = opened->save_vm(vm);
        ASSERT_EQ(kind_of(refused), "unavailable");
        EXPECT_THAT(refused.error().text(), HasSubstr("another process: database is locked"));
        EXPECT_THAT(refused.error().advice(), HasSubstr("understudyd"));
        EXPECT_EQ(must(opened->find_vm(vm.id)), std::nullopt) << "readers need not wait";
        run(file, "ROLLBACK");
    });
    must(opened->save_vm(vm));
}

TEST_P(CatalogOnSqlite, two_sessions_that_read_and_then_write_wait_for_each_other) {
    const auto take_turns = [&](const std::string& node) {
        auto own = must(try_open(Duration(20'000)));
        for (int i = 0; i < 40; ++i) {
            must(own->add_task(some_task(std::nullopt, i)));
            must(own->claim_task(node, at(100), Duration(60'000), {}));
        }
    };
    const auto checked = [&](const std::string& node) {
        EXPECT_NO_THROW(take_turns(node)) << node;
    };
    std::thread other(checked, "other");
    checked("one");
    other.join();
    const auto tasks = must(catalog().tasks({}));
    EXPECT_THAT(tasks, SizeIs(80));
    for (const auto& task : tasks) EXPECT_EQ(task.attempts, 1);
}

TEST_P(CatalogOnSqlite, settings_that_cannot_work_say_what_to_do) {
    catalog::CatalogSettings chosen;
    chosen.path = path() + ".d/missing/catalog.db";
    auto refused = catalog::open_catalog(chosen);
    ASSERT_EQ(kind_of(refused), "not_found");
    EXPECT_THAT(refused.error().text(), HasSubstr(chosen.path));
    EXPECT_THAT(refused.error().advice(), HasSubstr("directory must exist"));
    chosen.backend = "oracle";
    EXPECT_EQ(kind_of(catalog::open_catalog(chosen)), "invalid");
    EXPECT_EQ(kind_of(catalog::open_catalog({})), "invalid");
    chosen = settings();
    chosen.path = path() + " key=value's";
    must(must(catalog::open_catalog(chosen))->save_vm(some_vm("web1")));
    EXPECT_TRUE(std::filesystem::exists(chosen.path)) << "the path was taken apart";
}

}  // namespace
}  // namespace understudy::test
