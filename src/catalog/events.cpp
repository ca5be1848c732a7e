#include "catalog/sql_catalog.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

// What happened, as a chain: each event's hash is the SHA-256 of the hash before it and of its own
// fields, so that an event that is changed later, or removed from the middle, is found by
// first_broken_event. An event is added in a transaction of its own, or by append_event in that of
// the change that it tells about. first_broken_event reads 500 rows at a time.

namespace understudy::catalog {
namespace {

constexpr std::size_t kTextBytes = std::size_t{16} << 10;

#define UNDERSTUDY_EVENTS "SELECT sequence, time, actor, kind, vm, text, hash FROM events "
constexpr const char* kColumns = "nnttttt";
constexpr Query kLast(UNDERSTUDY_EVENTS "ORDER BY sequence DESC LIMIT 1", kColumns);
constexpr Query kAfter(UNDERSTUDY_EVENTS "WHERE sequence > :after ORDER BY sequence LIMIT :most",
                       kColumns);
#undef UNDERSTUDY_EVENTS

model::Event read_event(Row& row) {
    model::Event event;
    event.sequence = row.number();
    event.time = row.time();
    event.actor = row.text();
    event.kind = row.text();
    event.vm = row.maybe_id<VmId>();
    event.text = row.text();
    event.hash = row.text();
    return event;
}

std::string sha256_hex(const std::string& text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int length = 0;
    const int ok =
        EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
    UNDERSTUDY_INVARIANT(ok == 1, "OpenSSL cannot compute SHA-256");
    std::string hex;
    for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest.at(i));
    return hex;
}

// The hash is of a JSON list of the fields, so that two different events never give the same text.
std::string hash_of(const std::string& before, const model::Event& event) {
    const nlohmann::json fields{
        before,      event.sequence, event.time.time_since_epoch().count(),
        event.actor, event.kind,     event.vm ? event.vm->text() : std::string(),
        event.text};
    return sha256_hex(fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

void append_event(Database& db, model::Event event) {
    const auto last = db.one(kLast, {}, read_event);
    event.sequence = last ? last->sequence + 1 : 1;
    if (event.text.size() > kTextBytes) event.text.resize(kTextBytes);
    event.hash = hash_of(last ? last->hash : std::string(), event);
    db.run(
        "INSERT INTO events (sequence, time, actor, kind, vm, text, hash)"
        " VALUES (:sequence, :time, :actor, :kind, :vm, :text, :hash)",
        {event.sequence, event.time, event.actor, event.kind, event.vm, event.text, event.hash});
}

Result<> SqlCatalog::add_event(const model::Event& event) {
    return db_->write([&]() -> Result<> {
        append_event(*db_, event);
        return {};
    });
}

Result<std::int64_t> SqlCatalog::last_event() {
    return db_->read([&]() -> Result<std::int64_t> {
        const auto last = db_->one(kLast, {}, read_event);
        return last ? last->sequence : 0;
    });
}

Result<std::vector<model::Event>> SqlCatalog::events(std::int64_t after, std::size_t limit) {
    const auto most = static_cast<std::int64_t>(
        std::min<std::size_t>(limit, std::numeric_limits<std::int32_t>::max()));
    return db_->read([&]() -> Result<std::vector<model::Event>> {
        return db_->all(kAfter, {after, most}, read_event);
    });
}

Result<std::optional<std::int64_t>> SqlCatalog::first_broken_event() {
    constexpr std::size_t kBatch = 500;
    std::int64_t sequence = 0;
    std::string hash;
    while (true) {
        auto batch = UNDERSTUDY_VALUE(events(sequence, kBatch));
        for (const auto& event : batch) {
            if (event.sequence != sequence + 1 || event.hash != hash_of(hash, event))
                return sequence + 1;
            sequence = event.sequence;
            hash = event.hash;
        }
        if (batch.size() < kBatch) return std::nullopt;
    }
}

}  // namespace understudy::catalog
