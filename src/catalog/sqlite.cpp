#include "base/fd.hpp"
#include "catalog/dialect.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

// The parts that only SQLite has: connecting and the meaning of its error codes. The file is made
// with mode 0600 before SQLite opens it. WAL with synchronous = FULL: a transaction that was
// committed survives a power loss, and one that was not is gone. A transaction that writes begins
// with BEGIN IMMEDIATE, so that it waits for another writer at its beginning and not in the middle.

namespace understudy::catalog {
namespace {

constexpr const char* kInMemory = ":memory:";

// The file must be private before SQLite writes the first byte, because certificates and hashes of
// invitations are in it. SQLite gives its -wal and -shm files the mode of the database.
Result<> make_private_file(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file)
        return fail(errno_error(errno, fmt::format("open the catalog {}", path))
                        .advising("Its directory must exist and be writable by understudyd."));
    if (::fchmod(file.get(), 0600) != 0)
        return fail(errno_error(errno, fmt::format("make the catalog {} private", path)));
    return {};
}

// SOCI splits its connection string at blanks; quotes protect a path unless it has quotes itself.
Result<std::string> connection_string(const std::string& path) {
    if (path.find('"') != std::string::npos || path.find('\0') != std::string::npos)
        return fail(ErrorKind::invalid,
                    fmt::format("the catalog's path {} has a double quote or a NUL in it", path));
    return fmt::format("dbname=\"{}\"", path);
}

// SOCI puts its own function's name before what SQLite says.
std::string without_function(std::string message) {
    if (message.starts_with("sqlite3_statement_backend::")) {
        const auto end = message.find(": ");
        if (end != std::string::npos) message.erase(0, end + 2);
    }
    return message;
}

Error explain_code(int code, const std::string& place, const std::string& message) {
    const auto error = [&](ErrorKind kind, std::string_view what) {
        return Error(kind, fmt::format("{} {}: {}", place, what, message));
    };
    switch (code & 0xFF) {  // the low byte is the primary code: https://sqlite.org/rescode.html
        case SQLITE_FULL:
            return error(ErrorKind::no_space, "cannot grow")
                .keeping("everything recorded before; this change was undone")
                .advising("Free space on the file system it is on.");
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return error(ErrorKind::unavailable, "is locked by another process")
                .advising(
                    "Only one understudyd may use it: look for a second one, or for a tool"
                    " that has the file open.");
        case SQLITE_IOERR:
            return error(ErrorKind::unavailable, "cannot be read or written")
                .advising("Check the disk under it (dmesg, smartctl).");
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return error(ErrorKind::corrupt, "is damaged, or is not an Understudy catalog")
                .advising(
                    "Stop understudyd, keep a copy of the file and its -wal, and restore it"
                    " from a backup. The VMs and their disks are not affected.");
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_CANTOPEN:
        case SQLITE_AUTH:
            return error(ErrorKind::unavailable, "cannot be opened for writing")
                .advising("The file and its directory must be writable by understudyd.");
        case SQLITE_CONSTRAINT: return error(ErrorKind::conflict, "refuses a contradicting change");
        case SQLITE_TOOBIG: return error(ErrorKind::invalid, "cannot store a value so large");
        default: return error(ErrorKind::internal, "failed");
    }
}

class SqliteDialect : public Dialect {
public:
    explicit SqliteDialect(CatalogSettings settings) : settings_(std::move(settings)) {}

    Result<> connect(soci::session& session) override {
        const bool in_memory = settings_.path == kInMemory;
        std::string path = settings_.path;
        if (!in_memory) {
            std::error_code ignored;  // an unreadable working directory: the path as it stands
            const auto absolute = std::filesystem::absolute(path, ignored);
            if (!ignored) path = absolute.string();
            UNDERSTUDY_TRY(make_private_file(path));
        }
        auto connection = UNDERSTUDY_VALUE(connection_string(path));
        session.open(soci::sqlite3, connection);
        session << fmt::format("PRAGMA busy_timeout = {}", settings_.busy_timeout.count());
        session << "PRAGMA foreign_keys = ON";
        if (in_memory) {
            session << "PRAGMA synchronous = OFF";
            return {};
        }
        // WAL: readers do not wait for the writer. FULL: a commit survives a power loss, too.
        session << "PRAGMA journal_mode = WAL";
        session << "PRAGMA synchronous = FULL";
        return {};
    }

    Query begin_writing() const override { return Query("BEGIN IMMEDIATE"); }

    Error explain(const soci::soci_error& error) const override {
        // what() would repeat the statement with its parameters.
        const std::string message = without_function(error.get_error_message());
        if (const auto* own = dynamic_cast<const soci::sqlite3_soci_error*>(&error))
            return explain_code(own->result(), place(), message);
        return Error(ErrorKind::internal, fmt::format("{}: {}", place(), message));
    }

    std::string place() const override { return fmt::format("the catalog {}", settings_.path); }

private:
    CatalogSettings settings_;
};

}  // namespace

std::unique_ptr<Dialect> sqlite_dialect(const CatalogSettings& settings) {
    return std::make_unique<SqliteDialect>(settings);
}

}  // namespace understudy::catalog
