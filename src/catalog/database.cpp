#include "catalog/database.hpp"

#include "catalog/dialect.hpp"

#include <fmt/format.h>
#include <soci/soci.h>

#include <limits>
#include <unordered_map>

// One SOCI session with its prepared statements. A statement is prepared at its first use, is kept
// under the address of its text, and is dropped after any exception. A result is always read to its
// end, because SQLite keeps a read lock for a statement that is left on a row. Exceptions of SOCI
// and of reading become Errors in present_error. What a crash leaves is the database's doing: the
// last committed transaction.

namespace understudy::catalog {
namespace {

constexpr std::size_t kKeptBuffer = std::size_t{64} << 10;  // memory of larger texts is freed

struct Cell {
    bool is_number = false;
    soci::indicator indicator = soci::i_ok;
    long long number = 0;
    std::string text;
};

constexpr Query kCommit("COMMIT");
constexpr Query kRollBack("ROLLBACK");

}  // namespace

void Param::set(std::string_view text) {
    if (text.find('\0') != std::string_view::npos)
        throw BadValue("a text with a NUL byte in it cannot be stored");
    text_ = text;
}

void Param::set(const base::UuidBytes& id) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) id_text_[at++] = '-';
        id_text_[at++] = kDigits[id[i] >> 4];
        id_text_[at++] = kDigits[id[i] & 0x0F];
    }
    text_ = std::string_view(id_text_.data(), id_text_.size());
}

void Param::set(std::int64_t number) {
    is_number_ = true;
    number_ = number;
}

void Param::set(std::uint64_t number) {
    if (number > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
        throw BadValue(fmt::format("{} is too large to be stored", number));
    set(static_cast<std::int64_t>(number));
}

// A prepared statement with its cells. SOCI binds the cells once, so their addresses must not
// change, and SQLite reads a bound text in place until the statement is stepped for the last time.
class Database::Statement : public Row::Cells {
public:
    Statement(soci::session& session, const Query& query, Params params)
        : uses_(params.size()),
          intos_(std::string_view(query.columns).size()),
          statement_(session) {
        statement_.alloc();
        statement_.prepare(query.sql);
        std::size_t index = 0;
        for (const Param& param : params) {
            Cell& cell = uses_[index++];
            cell.is_number = param.is_number();
            if (cell.is_number)
                statement_.exchange(soci::use(cell.number, cell.indicator));
            else
                statement_.exchange(soci::use(cell.text, cell.indicator));
        }
        for (index = 0; index < intos_.size(); ++index) {
            Cell& cell = intos_[index];
            cell.is_number = query.columns[index] == 'n';
            if (cell.is_number)
                statement_.exchange(soci::into(cell.number, cell.indicator));
            else
                statement_.exchange(soci::into(cell.text, cell.indicator));
        }
        statement_.define_and_bind();
    }

    bool start(Params params) {  // true: there is a row
        UNDERSTUDY_INVARIANT(params.size() == uses_.size(), "a query's parameters changed");
        std::size_t index = 0;
        for (const Param& param : params) {
            Cell& cell = uses_[index++];
            UNDERSTUDY_INVARIANT(cell.is_number == param.is_number(), "a parameter's type changed");
            cell.indicator = param.is_null() ? soci::i_null : soci::i_ok;
            cell.number = param.number();
            cell.text.assign(param.text());
        }
        return statement_.execute(true);
    }

    bool next() { return statement_.fetch(); }

    std::int64_t finish() {
        for (Cell& cell : uses_)
            if (cell.text.capacity() > kKeptBuffer) cell.text = std::string();
        for (Cell& cell : intos_)
            if (cell.text.capacity() > kKeptBuffer) cell.text = std::string();
        return statement_.get_affected_rows();
    }

    bool null(std::size_t column) const override {
        return intos_.at(column).indicator == soci::i_null;
    }
    std::string& text(std::size_t column) override {
        require(column, false);
        return intos_[column].text;
    }
    std::int64_t number(std::size_t column) const override {
        require(column, true);
        return intos_[column].number;
    }

private:
    void require(std::size_t column, bool number) const {
        UNDERSTUDY_INVARIANT(intos_.at(column).is_number == number, "a column of another type");
        if (null(column)) throw BadRow(fmt::format("column {} is empty", column));
    }

    std::vector<Cell> uses_;
    std::vector<Cell> intos_;
    soci::statement statement_;
};

struct Database::Session {
    soci::session session;
    // Declared after the session, so that they are destroyed before it: if statements outlive a
    // connection, SQLite keeps it open and leaks it.
    std::unordered_map<const char*, std::unique_ptr<Statement>> statements;
};

Database::Database(std::unique_ptr<Dialect> dialect)
    : dialect_(std::move(dialect)), session_(std::make_unique<Session>()) {}

Database::~Database() = default;

std::string Database::place() const {
    return dialect_->place();
}

Result<> Database::connect() {
    return read([&]() -> Result<> { return dialect_->connect(session_->session); });
}

Database::Statement& Database::prepared(const Query& query, Params params) {
    auto& statement = session_->statements[query.sql];
    if (!statement) {
        try {
            statement = std::make_unique<Statement>(session_->session, query, params);
        } catch (...) {
            session_->statements.erase(query.sql);
            throw;
        }
    }
    return *statement;
}

void Database::each(const Query& query, Params params, const std::function<void(Row&)>& take) {
    Statement& statement = prepared(query, params);
    try {
        // Always to the end: a statement that is left on a row keeps SQLite's read lock.
        for (bool more = statement.start(params); more; more = statement.next()) {
            Row row(statement);
            take(row);
        }
        statement.finish();
    } catch (...) {
        session_->statements.erase(query.sql);
        throw;
    }
}

std::int64_t Database::run(const Query& query, Params params) {
    Statement& statement = prepared(query, params);
    try {
        statement.start(params);
        return statement.finish();
    } catch (...) {
        session_->statements.erase(query.sql);
        throw;
    }
}

void Database::execute_once(const std::string& sql) {
    session_->session << sql;
}

void Database::begin() {
    // Not SOCI's begin(): with SQLite that is a deferred one, which can fail in the middle if there
    // is another writer.
    run(dialect_->begin_writing(), {});
}

void Database::commit() {
    run(kCommit, {});
}

void Database::roll_back() noexcept {
    try {
        run(kRollBack, {});
    } catch (...) {
        // Nothing was begun, or a full disk or an I/O error made the database roll back by itself.
        // If a transaction is open all the same, the next begin() fails and says so.
        return;
    }
}

Error Database::present_error() const noexcept {
    try {
        throw;
    } catch (const soci::soci_error& error) {
        return dialect_->explain(error);
    } catch (const BadValue& error) {
        return Error(ErrorKind::invalid, error.what());
    } catch (const BadRow& error) {
        return Error(ErrorKind::corrupt,
                     fmt::format("{} holds what it must not: {}", place(), error.what()))
            .advising("Keep a copy of it, then restore it from a backup.");
    } catch (const std::exception& error) {
        return Error(ErrorKind::internal, fmt::format("{}: {}", place(), error.what()));
    }
}

}  // namespace understudy::catalog
