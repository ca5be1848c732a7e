#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/units.hpp"

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace understudy::catalog {

class Dialect;

// A statement, valid in every database. Parameters are ":name", each name once, bound in order.
struct Query {
    consteval Query(const char* literal, const char* column_kinds = "")
        : sql(literal), columns(column_kinds) {}
    const char* sql;      // a literal: its address identifies the prepared statement
    const char* columns;  // one letter per result column: 't' text, 'n' number
};

// A stored value is not one that this program writes. Becomes ErrorKind::corrupt.
struct BadRow : std::runtime_error {
    using std::runtime_error::runtime_error;
};
// A value cannot be stored. Becomes ErrorKind::invalid.
struct BadValue : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A value that is given to a statement. It borrows its text, so the text must live until the end of
// the full expression that makes the Param. Times are stored as milliseconds since 1970, ids as
// text.
class Param {
public:
    template <class T>
    Param(const T& value) {  // NOLINT(google-explicit-constructor): written at every call
        set(value);
    }
    Param(const Param&) = delete;
    Param& operator=(const Param&) = delete;

    bool is_number() const { return is_number_; }
    bool is_null() const { return is_null_; }
    std::string_view text() const { return text_; }
    std::int64_t number() const { return number_; }

private:
    void set(std::string_view text);
    void set(const base::UuidBytes& id);
    void set(TimePoint time) { set(std::int64_t{time.time_since_epoch().count()}); }
    void set(std::int64_t number);
    void set(std::uint64_t number);
    template <std::integral T>
    void set(T number) {
        if constexpr (std::is_unsigned_v<T>)
            set(std::uint64_t{number});
        else
            set(std::int64_t{number});
    }
    void set(ByteSize size) { set(size.count()); }
    void set(ByteOffset offset) { set(offset.count()); }
    template <class Tag>
    void set(const base::Id<Tag>& id) {
        set(id.bytes());
    }
    template <class T>
    void set(const std::optional<T>& value) {
        static_assert(!std::is_convertible_v<T, std::string_view>, "would borrow a temporary");
        if (value) return set(*value);
        set(T{});  // a value of the same kind: a statement's parameters must keep their types
        is_null_ = true;
    }

    bool is_number_ = false;
    bool is_null_ = false;
    std::int64_t number_ = 0;
    std::string_view text_;
    std::array<char, 36> id_text_;  // the text of an id; text_ points here
};

using Params = std::initializer_list<Param>;

// The present row of a running statement. It is read column by column from the left.
class Row {
public:
    class Cells {
    public:
        virtual ~Cells() = default;
        virtual bool null(std::size_t column) const = 0;
        virtual std::string& text(std::size_t column) = 0;
        virtual std::int64_t number(std::size_t column) const = 0;
    };
    explicit Row(Cells& cells) : cells_(cells) {}

    std::string text() { return std::move(cells_.text(column_++)); }
    std::int64_t number() { return cells_.number(column_++); }
    std::uint64_t count() { return static_cast<std::uint64_t>(number()); }
    bool flag() { return number() != 0; }
    TimePoint time() { return TimePoint(Duration(number())); }
    std::optional<TimePoint> maybe_time() {
        if (skip_null()) return std::nullopt;
        return time();
    }
    template <class AnyId>
    AnyId id() {
        return valid(AnyId::parse(cells_.text(column_++)));
    }
    template <class AnyId>
    std::optional<AnyId> maybe_id() {
        if (skip_null()) return std::nullopt;
        return id<AnyId>();
    }
    template <class T>
    static T valid(Result<T> result) {
        if (!result) throw BadRow(result.error().text());
        return std::move(*result);
    }

private:
    bool skip_null() {
        const bool empty = cells_.null(column_);
        if (empty) ++column_;
        return empty;
    }

    Cells& cells_;
    std::size_t column_ = 0;
};

// One session with its prepared statements, and the only place where transactions begin and end.
// Thread-safe: one read or write runs at a time.
class Database {
public:
    explicit Database(std::unique_ptr<Dialect> dialect);
    ~Database();

    Result<> connect();

    // Runs `work`, which gives a Result, as one transaction. If it succeeds, the transaction is
    // committed and durable. If it gives an error or throws, the transaction is rolled back. No
    // exception leaves.
    template <class Work>
    std::invoke_result_t<Work&> write(Work work) {
        const std::lock_guard turn(mutex_);
        try {
            begin();
            auto result = work();
            if (result)
                commit();
            else
                roll_back();
            return result;
        } catch (...) {
            roll_back();
            return fail(present_error());
        }
    }

    // Runs `work`, which makes one query. One query sees a consistent state without a transaction.
    template <class Work>
    std::invoke_result_t<Work&> read(Work work) {
        const std::lock_guard turn(mutex_);
        try {
            return work();
        } catch (...) {
            return fail(present_error());
        }
    }

    // The rest throws and must be called inside `read` or `write`. `take` must not make a query.
    std::int64_t run(const Query&, Params);  // rows changed
    void each(const Query&, Params, const std::function<void(Row&)>& take);
    void execute_once(const std::string& sql);  // no parameters, no rows, not kept prepared

    template <class T>
    std::vector<T> all(const Query& query, Params params, T (*read_row)(Row&)) {
        std::vector<T> found;
        each(query, params, [&](Row& row) { found.push_back(read_row(row)); });
        return found;
    }
    template <class T>
    std::optional<T> one(const Query& query, Params params, T (*read_row)(Row&)) {
        std::optional<T> found;
        each(query, params, [&](Row& row) {
            if (!found) found = read_row(row);
        });
        return found;
    }
    bool exists(const Query& query, Params params) {
        bool found = false;
        each(query, params, [&](Row&) { found = true; });
        return found;
    }

    std::string place() const;  // for texts: "the catalog /var/lib/…/catalog.db"

private:
    class Statement;
    struct Session;

    Statement& prepared(const Query&, Params);
    void begin();
    void commit();
    void roll_back() noexcept;
    Error present_error() const noexcept;  // of the exception being handled

    std::mutex mutex_;
    std::unique_ptr<Dialect> dialect_;
    std::unique_ptr<Session> session_;
};

}  // namespace understudy::catalog
