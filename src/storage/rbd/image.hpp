#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "storage/rbd/cluster.hpp"

#include <rbd/librbd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::rbd {

// An open image and the connection that it depends on. Thread-safe as librbd's is.
struct OpenImage {
    std::shared_ptr<Connection> connection;  // destroyed after the image
    librbd::Image image;
};

std::string snapshot_name(const SnapshotId& id);  // "understudy-UUID": of those made here

// What is done to images and their snapshots, by name in the cluster's pool. An image is made with
// the settings' features, object size and data pool.
class Images {
public:
    explicit Images(std::shared_ptr<Cluster> cluster) : cluster_(std::move(cluster)) {}

    Cluster& cluster() const { return *cluster_; }
    const std::shared_ptr<Cluster>& shared_cluster() const { return cluster_; }
    Result<bool> exists(const std::string& name) const;
    Result<ByteSize> size(const std::string& name) const;                    // of its head
    Result<std::shared_ptr<OpenImage>> open(const std::string& name) const;  // to write
    // At a snapshot, or at its head.
    Result<std::shared_ptr<OpenImage>> open_frozen(const std::string& name,
                                                   std::optional<SnapshotId> snapshot) const;
    // conflict: one of that name exists.
    Result<> create(const std::string& name, ByteSize size) const;
    Result<> clone(const std::string& parent, const SnapshotId& snapshot,
                   const std::string& name) const;
    Result<> resize(OpenImage& image, ByteSize size) const;
    Result<> flatten(const std::string& name) const;
    // Fine if it is gone. conflict: somebody has it open, or it has snapshots.
    Result<> remove(const std::string& name) const;
    Result<std::vector<std::string>> watchers(const std::string& name) const;

    Result<bool> has_snapshot(const std::string& name, const SnapshotId& id) const;
    Result<ByteSize> snapshot_size(const std::string& name, const SnapshotId& id) const;
    Result<bool> has_any_snapshot(const std::string& name) const;  // whoever made it
    // conflict: it is there already.
    Result<> make_snapshot(OpenImage& image, const SnapshotId& id) const;
    // Whether it was there. A snapshot with clones stays in rbd's trash until the last clone is
    // gone.
    Result<bool> remove_snapshot(const std::string& name, const SnapshotId& id) const;
    Result<> rename_snapshot(const std::string& name, const SnapshotId& from,
                             const SnapshotId& to) const;
    Result<> roll_back(const std::string& name, const SnapshotId& id) const;

    Error error(int result, const std::string& step, const std::string& name) const;

private:
    Result<> finish_removal(Connection& connection, const std::string& name) const;

    std::shared_ptr<Cluster> cluster_;
};

}  // namespace understudy::rbd
