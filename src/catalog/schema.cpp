#include "catalog/schema.hpp"

#include <fmt/format.h>

#include <array>
#include <span>

// The tables, as numbered migrations. migrate() makes the table of the version, then applies one
// migration after the other, each in one transaction with the new version number: a crash leaves
// the version before or after it, and the next start goes on there. A migration that was released
// is never edited. A newer schema than this program knows is refused, and nothing is changed.

namespace understudy::catalog {
namespace {

// Types that both databases know: TEXT, BIGINT (times in ms since 1970, flags as 0 and 1). A
// migration that was released is never edited; a change is a new migration.
constexpr const char* kFoundation[] = {
    "CREATE TABLE cluster ("
    " one BIGINT PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, name TEXT NOT NULL)",

    "CREATE TABLE peers ("
    " id TEXT PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL,"
    " certificate_pem TEXT NOT NULL, fingerprint TEXT NOT NULL, networks TEXT NOT NULL,"
    " pools TEXT NOT NULL, rate_limit BIGINT NOT NULL, last_contact BIGINT,"
    " capabilities TEXT NOT NULL)",
    "CREATE INDEX peers_by_fingerprint ON peers (fingerprint)",

    "CREATE TABLE invites (secret_hash TEXT PRIMARY KEY, expires BIGINT NOT NULL)",

    "CREATE TABLE vms ("
    " id TEXT PRIMARY KEY, name TEXT NOT NULL, epoch BIGINT NOT NULL, owner TEXT NOT NULL,"
    " phase TEXT NOT NULL, autostart BIGINT NOT NULL, disks TEXT NOT NULL, head_parent TEXT)",

    // parent is no reference: the parent of the first received snapshot may exist only elsewhere.
    // ordinal: the order of publishing, for snapshots of one millisecond.
    "CREATE TABLE snapshots ("
    " id TEXT PRIMARY KEY, vm TEXT NOT NULL REFERENCES vms (id), name TEXT NOT NULL, parent TEXT,"
    " taken BIGINT NOT NULL, consistency TEXT NOT NULL, epoch BIGINT NOT NULL,"
    " origin TEXT NOT NULL, disks TEXT NOT NULL, ordinal BIGINT NOT NULL, UNIQUE (vm, name))",
    "CREATE INDEX snapshots_by_time ON snapshots (vm, taken, ordinal)",
    "CREATE INDEX snapshots_by_parent ON snapshots (parent)",

    "CREATE TABLE definitions ("
    " snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,"
    " domain_xml TEXT NOT NULL, nvram TEXT NOT NULL)",

    // Without ON DELETE, so that the database itself refuses to delete a held snapshot.
    "CREATE TABLE holds ("
    " snapshot TEXT NOT NULL REFERENCES snapshots (id), vm TEXT NOT NULL, kind TEXT NOT NULL,"
    " detail TEXT NOT NULL, PRIMARY KEY (snapshot, kind, detail))",
    "CREATE UNIQUE INDEX one_base_hold_per_peer ON holds (vm, detail) WHERE kind = 'base'",

    "CREATE TABLE replications ("
    " vm TEXT NOT NULL REFERENCES vms (id), peer TEXT NOT NULL, snapshot TEXT NOT NULL,"
    " snapshot_taken BIGINT NOT NULL, sent BIGINT NOT NULL, readiness TEXT NOT NULL,"
    " PRIMARY KEY (vm, peer))",

    "CREATE TABLE transfers ("
    " id TEXT PRIMARY KEY, source TEXT NOT NULL, vm TEXT NOT NULL, snapshot TEXT NOT NULL,"
    " request TEXT NOT NULL, domain_xml TEXT NOT NULL, nvram TEXT NOT NULL,"
    " durable_disk BIGINT NOT NULL, durable_offset BIGINT NOT NULL, received BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, UNIQUE (vm, snapshot))",

    // vm is no reference: a task's record outlives the VM. ordinal: the order of creation.
    "CREATE TABLE tasks ("
    " id TEXT PRIMARY KEY, kind TEXT NOT NULL, vm TEXT, title TEXT NOT NULL,"
    " arguments TEXT NOT NULL, state TEXT NOT NULL, step TEXT NOT NULL, memo TEXT NOT NULL,"
    " result TEXT NOT NULL, done_bytes BIGINT NOT NULL, total_bytes BIGINT NOT NULL,"
    " wire_bytes BIGINT NOT NULL, rate_bytes BIGINT NOT NULL, note TEXT NOT NULL,"
    " attempts BIGINT NOT NULL, error_kind TEXT NOT NULL, error TEXT NOT NULL,"
    " cancel_requested BIGINT NOT NULL, created BIGINT NOT NULL, not_before BIGINT NOT NULL,"
    " started BIGINT, ended BIGINT, lease_node TEXT NOT NULL, lease_until BIGINT,"
    " ordinal BIGINT NOT NULL, log_lines BIGINT NOT NULL)",
    // One task at a time changes a VM. Holds even if the query of a claim is wrong.
    "CREATE UNIQUE INDEX one_running_task_per_vm ON tasks (vm) WHERE state = 'running'",
    "CREATE INDEX active_tasks ON tasks (not_before, created, ordinal)"
    " WHERE state IN ('queued', 'running')",
    "CREATE INDEX tasks_by_age ON tasks (created, ordinal)",
    "CREATE INDEX tasks_by_vm ON tasks (vm, created, ordinal)",
    "CREATE INDEX tasks_by_ordinal ON tasks (ordinal)",

    "CREATE TABLE task_log ("
    " task TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE, sequence BIGINT NOT NULL,"
    " time BIGINT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (task, sequence))",
};

constexpr const char* kEvents[] = {
    "CREATE TABLE events ("
    " sequence BIGINT PRIMARY KEY, time BIGINT NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL,"
    " vm TEXT, text TEXT NOT NULL, hash TEXT NOT NULL)",
    "ALTER TABLE tasks ADD COLUMN actor TEXT NOT NULL DEFAULT ''",
};

constexpr const char* kProof[] = {
    // Snapshots that a peer was sent. It may ask about these.
    "CREATE TABLE sent_snapshots ("
    " peer TEXT NOT NULL, snapshot TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,"
    " PRIMARY KEY (peer, snapshot))",
    "INSERT INTO sent_snapshots (peer, snapshot) SELECT r.peer, r.snapshot FROM replications r"
    " JOIN snapshots s ON s.id = r.snapshot",

    "CREATE TABLE verifications ("
    " snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE, vm TEXT NOT NULL,"
    " source TEXT NOT NULL, ended BIGINT NOT NULL, equal BIGINT NOT NULL,"
    " compared BIGINT NOT NULL, differing BIGINT NOT NULL, ranges_found BIGINT NOT NULL,"
    " ranges TEXT NOT NULL)",
    "CREATE INDEX verifications_by_vm ON verifications (vm, ended)",

    // A task that only reads neither waits for the VM's others nor is waited for.
    "ALTER TABLE tasks ADD COLUMN reads_only BIGINT NOT NULL DEFAULT 0",
    "DROP INDEX one_running_task_per_vm",
    "CREATE UNIQUE INDEX one_running_task_per_vm ON tasks (vm)"
    " WHERE state = 'running' AND reads_only = 0",
};

constexpr const char* kDrills[] = {
    // The latest drill of each VM.
    "CREATE TABLE drills ("
    " vm TEXT PRIMARY KEY REFERENCES vms (id) ON DELETE CASCADE, snapshot TEXT NOT NULL,"
    " snapshot_name TEXT NOT NULL, ended BIGINT NOT NULL, passed BIGINT NOT NULL,"
    " boot_ms BIGINT NOT NULL, ready_ms BIGINT NOT NULL, checked TEXT NOT NULL,"
    " outcome TEXT NOT NULL, node TEXT NOT NULL, evidence TEXT NOT NULL)",
};

constexpr const char* kHolders[] = {
    "CREATE TABLE holders ("
    " vm TEXT NOT NULL REFERENCES vms (id) ON DELETE CASCADE, cluster TEXT NOT NULL,"
    " PRIMARY KEY (vm, cluster))",
};

constexpr const char* kTasksByKind[] = {
    // For reading all tasks of one kind, and all that have not succeeded, however many there are.
    "CREATE INDEX tasks_by_kind ON tasks (vm, kind, created, ordinal)",
    "CREATE INDEX unfinished_tasks ON tasks (vm, created, ordinal) WHERE state <> 'succeeded'",
};

// Version n is what the first n of them make.
constexpr std::array<std::span<const char* const>, 6> kMigrations{
    kFoundation, kEvents, kProof, kDrills, kHolders, kTasksByKind};
constexpr std::int64_t kNewest = kMigrations.size();

std::int64_t stored_version(Database& database) {
    std::int64_t version = 0;
    database.each({"SELECT version FROM schema_version", "n"}, {},
                  [&](Row& row) { version = row.number(); });
    return version;
}

Result<> too_new(const Database& database, std::int64_t version) {
    return fail(Error(ErrorKind::unsupported,
                      fmt::format("{} has schema version {}, but this understudyd knows versions up"
                                  " to {} only",
                                  database.place(), version, kNewest))
                    .keeping("everything in it; nothing was changed")
                    .advising("Install the version of Understudy that wrote it, or a newer one, on"
                              " this node."));
}

}  // namespace

Result<> migrate(Database& database) {
    UNDERSTUDY_TRY(database.write([&]() -> Result<> {
        database.execute_once(
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)");
        return {};
    }));
    for (bool done = false; !done;) {
        // The version is read inside the transaction: another node may be migrating too.
        UNDERSTUDY_TRY(database.write([&]() -> Result<> {
            const std::int64_t version = stored_version(database);
            if (version > kNewest) return too_new(database, version);
            done = version == kNewest;
            if (done) return {};
            for (const char* sql : kMigrations[static_cast<std::size_t>(version)])
                database.execute_once(sql);
            database.run("DELETE FROM schema_version", {});
            database.run("INSERT INTO schema_version (version) VALUES (:version)", {version + 1});
            return {};
        }));
    }
    return {};
}

}  // namespace understudy::catalog
