#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <map>

// The catalog's rows of this cluster, its peers and its invitations. An invitation is stored as a
// hash of its secret and is used up by deleting its row. Removing a peer also removes its base
// holds, its replications and the records of what it was sent and holds, but not its unfinished
// transfers: Receiving::forget removes those. Each method is one transaction.

namespace understudy::catalog {
namespace {

using Names = std::map<std::string, std::string>;

#define UNDERSTUDY_PEERS                                                                   \
    "SELECT id, name, address, certificate_pem, fingerprint, networks, pools, rate_limit," \
    " last_contact, capabilities FROM peers "
constexpr const char* kPeerColumns = "tttttttnnt";
constexpr Query kPeers(UNDERSTUDY_PEERS "ORDER BY name, id", kPeerColumns);
constexpr Query kPeer(UNDERSTUDY_PEERS "WHERE id = :id", kPeerColumns);
constexpr Query kPeerByFingerprint(UNDERSTUDY_PEERS "WHERE fingerprint = :fingerprint",
                                   kPeerColumns);
#undef UNDERSTUDY_PEERS

model::Peer read_peer(Row& row) {
    model::Peer peer;
    peer.id = row.id<ClusterId>();
    peer.name = row.text();
    peer.address = row.text();
    peer.certificate_pem = row.text();
    peer.fingerprint = row.text();
    peer.networks = Row::valid(model::parse_json<Names>(row.text(), "a peer's networks"));
    peer.pools = Row::valid(model::parse_json<Names>(row.text(), "a peer's pools"));
    peer.rate_limit = ByteSize(row.count());
    peer.last_contact = row.maybe_time();
    peer.capabilities =
        Row::valid(model::parse_json<model::Capabilities>(row.text(), "a peer's capabilities"));
    return peer;
}

model::Cluster read_cluster(Row& row) {
    model::Cluster cluster;
    cluster.id = row.id<ClusterId>();
    cluster.name = row.text();
    return cluster;
}

constexpr Query kCluster("SELECT id, name FROM cluster", "tt");

std::unexpected<Error> no_peer(const ClusterId& id) {
    return fail(ErrorKind::not_found, fmt::format("there is no peer {}", id.text()));
}

}  // namespace

Result<std::optional<model::Cluster>> SqlCatalog::find_cluster() {
    return db_->read([&]() -> Result<std::optional<model::Cluster>> {
        return db_->one(kCluster, {}, read_cluster);
    });
}

Result<> SqlCatalog::save_cluster(const model::Cluster& cluster) {
    return db_->write([&]() -> Result<> {
        const auto present = db_->one(kCluster, {}, read_cluster);
        if (present && present->id != cluster.id)
            return fail(
                Error(ErrorKind::conflict, fmt::format("this catalog belongs to cluster '{}' ({})",
                                                       present->name, present->id.text()))
                    .advising("A cluster is initialised once; another one needs a catalog"
                              " of its own."));
        db_->run(
            "INSERT INTO cluster (one, id, name) VALUES (1, :id, :name)"
            " ON CONFLICT (one) DO UPDATE SET name = excluded.name",
            {cluster.id, cluster.name});
        return {};
    });
}

Result<std::vector<model::Peer>> SqlCatalog::peers() {
    return db_->read(
        [&]() -> Result<std::vector<model::Peer>> { return db_->all(kPeers, {}, read_peer); });
}

Result<model::Peer> SqlCatalog::peer(const ClusterId& id) {
    return db_->read([&]() -> Result<model::Peer> {
        auto found = db_->one(kPeer, {id}, read_peer);
        if (!found) return no_peer(id);
        return std::move(*found);
    });
}

Result<std::optional<model::Peer>> SqlCatalog::find_peer_by_fingerprint(
    const std::string& fingerprint) {
    return db_->read([&]() -> Result<std::optional<model::Peer>> {
        return db_->one(kPeerByFingerprint, {fingerprint}, read_peer);
    });
}

Result<> SqlCatalog::save_peer(const model::Peer& peer) {
    const std::string networks = model::dump_json(peer.networks);
    const std::string pools = model::dump_json(peer.pools);
    const std::string capabilities = model::dump_json(peer.capabilities);
    return db_->write([&]() -> Result<> {
        db_->run(
            "INSERT INTO peers (id, name, address, certificate_pem, fingerprint, networks, pools,"
            " rate_limit, last_contact, capabilities) VALUES (:id, :name, :address, :certificate,"
            " :fingerprint, :networks, :pools, :rate_limit, :last_contact, :capabilities)"
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address,"
            " certificate_pem = excluded.certificate_pem, fingerprint = excluded.fingerprint,"
            " networks = excluded.networks, pools = excluded.pools,"
            " rate_limit = excluded.rate_limit, last_contact = excluded.last_contact,"
            " capabilities = excluded.capabilities",
            {peer.id, peer.name, peer.address, peer.certificate_pem, peer.fingerprint, networks,
             pools, peer.rate_limit, peer.last_contact, capabilities});
        return {};
    });
}

Result<> SqlCatalog::touch_peer(const ClusterId& id, TimePoint contact,
                                const model::Capabilities& capabilities) {
    const std::string capabilities_json = model::dump_json(capabilities);
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE peers SET last_contact = :contact, capabilities = :capabilities"
            " WHERE id = :id",
            {contact, capabilities_json, id});
        if (changed == 0) return no_peer(id);
        return {};
    });
}

Result<> SqlCatalog::remove_peer(const ClusterId& id) {
    return db_->write([&]() -> Result<> {
        db_->run("DELETE FROM holds WHERE kind = 'base' AND detail = :peer", {id});
        db_->run("DELETE FROM replications WHERE peer = :peer", {id});
        db_->run("DELETE FROM sent_snapshots WHERE peer = :peer", {id});
        db_->run("DELETE FROM holders WHERE cluster = :peer", {id});
        db_->run("DELETE FROM peers WHERE id = :id", {id});
        return {};
    });
}

Result<> SqlCatalog::add_invite(const std::string& secret_hash, TimePoint expires) {
    return db_->write([&]() -> Result<> {
        db_->run(
            "INSERT INTO invites (secret_hash, expires) VALUES (:secret_hash, :expires)"
            " ON CONFLICT (secret_hash) DO UPDATE SET expires = excluded.expires",
            {secret_hash, expires});
        return {};
    });
}

Result<bool> SqlCatalog::take_invite(const std::string& secret_hash, TimePoint now) {
    return db_->write([&]() -> Result<bool> {
        db_->run("DELETE FROM invites WHERE expires <= :now", {now});
        return db_->run("DELETE FROM invites WHERE secret_hash = :secret_hash", {secret_hash}) > 0;
    });
}

}  // namespace understudy::catalog
