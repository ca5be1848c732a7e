#pragma once

#include "ports/storage.hpp"
#include "storage/memory/volume.hpp"

#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace understudy::memory {

struct Disk {
    Layer* layer = nullptr;
    Volume* holder = nullptr;  // none: a user's disk that no volume holds

    View view() const;  // use it only while nothing is written
};

// Shared with the Incomings, which may outlive the pool.
struct PoolState {
    std::string name;
    bool in_place = false;
    std::mutex mutex;  // over everything below
    std::map<VolumeId, Volume> volumes;
    std::map<std::string, Layer> user_disks;  // those that no volume holds
    std::set<std::pair<VolumeId, SnapshotId>> receiving;
    std::uint64_t power_cycles = 0;
    std::uint64_t locations_given = 0;
    std::uint64_t capacity_bytes = std::numeric_limits<std::uint64_t>::max();

    std::uint64_t used_bytes() const;
    Result<> check_room(std::uint64_t blocks) const;  // for that many more
    Result<Volume*> volume(const VolumeId& id);
    Result<Disk> disk(const std::string& location);
    Result<Disk> writable(const std::string& location);
    std::string new_location(const VolumeId& id);
    Layer overlay_on(const VolumeId& id, const Layer& below, ByteSize size, Role role,
                     const SnapshotId& snapshot);
};

ports::DiskSource source_of(const Layer& layer);
Result<> check_replaceable(Volume& volume);  // may a rollback replace the head?
std::unexpected<Error> no_snapshot(const VolumeId& volume, const SnapshotId& id);

}  // namespace understudy::memory
