#pragma once

#include "storage/rbd/image.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace understudy::rbd {

// One object of an image as a snapshot shows it.
struct ObjectState {
    bool exists = false;      // if not, the parent's content shows, or zeroes
    std::size_t version = 0;  // index in ObjectHistory::set.clones; one version has one content
    std::uint64_t size = 0;   // what lies beyond reads as zeroes
};

// All versions of one object that snapshots or the head still show, oldest first.
struct ObjectHistory {
    librados::snap_set_t set;

    ObjectState at(std::uint64_t snapshot) const;
    // Ranges {offset, length} that are the same in both versions and in all between them.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> unchanged(std::size_t older,
                                                                   std::size_t newer) const;
};

// One snapshot of one image, without its parents: its objects as RADOS keeps them. librbd's own
// list of changes is not enough: it misses objects that were emptied where a parent shows
// something, and it names whole objects where a few bytes were written. Thread-safe.
class FrozenImage {
public:
    // Without a snapshot: the head, which nobody must be writing to.
    static Result<std::unique_ptr<FrozenImage>> open(const Images& images, const std::string& name,
                                                     std::optional<SnapshotId> snapshot);
    // The parent, which shows where this one has no object. Null: there is no parent, or nothing of
    // it shows.
    Result<std::unique_ptr<FrozenImage>> open_parent(const Images& images) const;

    Result<ObjectHistory> history(std::uint64_t object) const;
    // Ranges {offset, length} of an object that take room; the others read as zeroes.
    Result<std::vector<std::pair<std::uint64_t, std::uint64_t>>> allocated(
        std::uint64_t object) const;
    // By librbd, parents included.
    Result<> read(std::uint64_t offset, std::span<std::byte> into) const;

    const std::string& id() const { return id_; }
    std::uint64_t snapshot() const { return snapshot_; }
    std::uint64_t size() const { return size_; }
    std::uint64_t overlap() const { return overlap_; }  // with its parent; 0: none shows
    std::uint64_t object_size() const { return object_size_; }
    std::uint64_t object_count() const { return (size_ + object_size_ - 1) / object_size_; }

    // Whether the fast-diff feature can tell which objects differ from an older snapshot of this
    // image or, without one, which exist in it.
    Result<bool> has_fast_diff(const FrozenImage* older) const;
    // Numbers of such objects in [first, last), ascending.
    Result<std::vector<std::uint64_t>> candidates(const FrozenImage* older, std::uint64_t first,
                                                  std::uint64_t last) const;

private:
    FrozenImage() = default;
    Result<> look(const Images& images);
    std::string object_name(std::uint64_t object) const;
    Error error(int result, const std::string& step) const;

    std::shared_ptr<OpenImage> open_;
    std::shared_ptr<Cluster> cluster_;
    std::string name_;  // IMAGE@SNAPSHOT, for errors
    std::string snapshot_name_;
    std::string id_;
    std::string prefix_;  // of its objects' names
    std::string namespace_;
    mutable librados::IoCtx histories_;
    mutable librados::IoCtx objects_;  // as the snapshot shows them
    std::uint64_t snapshot_ = 0;
    std::uint64_t size_ = 0;
    std::uint64_t overlap_ = 0;
    std::uint64_t object_size_ = 0;
};

}  // namespace understudy::rbd
