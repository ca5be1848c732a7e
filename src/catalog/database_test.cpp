#include "catalog/database.hpp"

#include "catalog/dialect.hpp"
#include "catalog/schema.hpp"

#include <gmock/gmock.h>

namespace understudy::catalog {
namespace {

using testing::HasSubstr;
using testing::Not;

class DatabaseTest : public testing::Test {
protected:
    DatabaseTest() {
        CatalogSettings settings;
        settings.path = ":memory:";
        db = std::make_unique<Database>(sqlite_dialect(settings));
        EXPECT_TRUE(db->connect());
        EXPECT_TRUE(db->write([&]() -> Result<> {
            db->execute_once("CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)");
            return {};
        }));
    }
    Result<> add(std::int64_t id, const std::string& text) {
        return db->write([&]() -> Result<> {
            db->run("INSERT INTO notes (id, text) VALUES (:id, :text)", {id, text});
            return {};
        });
    }
    std::size_t count() {
        std::size_t rows = 0;
        EXPECT_TRUE(db->read([&]() -> Result<> {
            db->each({"SELECT id FROM notes", "n"}, {}, [&](Row&) { ++rows; });
            return {};
        }));
        return rows;
    }

    std::unique_ptr<Database> db;
};

TEST_F(DatabaseTest, an_error_or_an_exception_undoes_the_whole_transaction) {
    const auto failed = db->write([&]() -> Result<> {
        db->run("INSERT INTO notes (id, text) VALUES (1, 'a')", {});
        return fail(ErrorKind::refused, "no");
    });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().kind(), ErrorKind::refused);
    const auto thrown = db->write([&]() -> Result<> {
        db->run("INSERT INTO notes (id, text) VALUES (2, 'a')", {});
        throw std::runtime_error("a library's");
    });
    ASSERT_FALSE(thrown);
    EXPECT_EQ(thrown.error().kind(), ErrorKind::internal);
    EXPECT_EQ(count(), 0U);
    EXPECT_TRUE(add(3, "works again"));
    EXPECT_EQ(count(), 1U);
}

TEST_F(DatabaseTest, a_full_disk_is_no_space_keeps_what_was_there_and_heals) {
    ASSERT_TRUE(add(1, "kept"));
    db->execute_once("PRAGMA max_page_count = 4");
    const auto full = add(2, std::string(100'000, 'x'));
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().kind(), ErrorKind::no_space);
    EXPECT_THAT(full.error().advice(), HasSubstr("Free space"));
    EXPECT_EQ(count(), 1U);
    db->execute_once("PRAGMA max_page_count = 1000000");
    EXPECT_TRUE(add(2, std::string(100'000, 'x')));
    EXPECT_EQ(count(), 2U);
}

TEST_F(DatabaseTest, an_error_never_shows_parameters) {
    ASSERT_TRUE(add(1, "a"));
    const auto twice = add(1, "a secret");
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().kind(), ErrorKind::conflict);
    EXPECT_THAT(twice.error().text(), Not(HasSubstr("secret")));
}

TEST_F(DatabaseTest, an_empty_column_is_corrupt_unless_it_may_be_empty) {
    ASSERT_TRUE(db->write([&]() -> Result<> {
        db->run("INSERT INTO notes (id, text) VALUES (1, :none)", {std::optional<TaskId>()});
        return {};
    }));
    const Query query("SELECT id, text FROM notes", "nt");
    const auto found = db->read([&]() -> Result<std::optional<TaskId>> {
        std::optional<TaskId> id = TaskId::random();
        db->each(query, {}, [&](Row& row) {
            row.number();
            id = row.maybe_id<TaskId>();
        });
        return id;
    });
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, std::nullopt);
    const auto bad = db->read([&]() -> Result<> {
        db->each(query, {}, [&](Row& row) {
            row.number();
            row.text();
        });
        return {};
    });
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().kind(), ErrorKind::corrupt);
}

TEST_F(DatabaseTest, migrating_twice_changes_nothing) {
    ASSERT_TRUE(migrate(*db));
    EXPECT_TRUE(add(1, "a"));
    ASSERT_TRUE(migrate(*db));
    EXPECT_EQ(count(), 1U);
}

}  // namespace
}  // namespace understudy::catalog
