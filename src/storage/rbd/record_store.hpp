#pragma once

#include "storage/rbd/cluster.hpp"
#include "storage/rbd/volume_record.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::rbd {

// The object whose key-value map holds the records of all volumes of a pool (and namespace):
// "volume/UUID" → record, "forgotten/UUID" → record of a volume whose images were kept,
// "image/NAME" → UUID of the one volume that the image belongs to.
inline constexpr const char* kRecordsObject = "understudy.volumes";

// Called between two durable steps with the step's name. Set by tests only, to end the call there
// by throwing; empty in production. Process-wide.
using CrashHook = void (*)(std::string_view step);
extern std::atomic<CrashHook> crash_hook;
inline void crash_point(std::string_view step) {
    if (const auto hook = crash_hook.load(std::memory_order_relaxed)) hook(step);
}

// A record and the text that it was read from. A change is compared with that text: if two nodes
// change a volume at once, one of them is told to try again.
struct StoredRecord {
    VolumeRecord record;
    std::string text;  // empty: none is stored
};

// Reads and replaces records. Every change is one operation of Ceph, durable and whole or nothing.
class RecordStore {
public:
    explicit RecordStore(std::shared_ptr<Cluster> cluster) : cluster_(std::move(cluster)) {}

    Result<std::optional<StoredRecord>> volume(const VolumeId& id) const;
    Result<std::optional<StoredRecord>> forgotten(const VolumeId& id) const;
    Result<std::optional<std::string>> owner_of(const std::string& image) const;

    // Replaces what is stored; `stored` is up to date afterwards. conflict: an image of it belongs
    // to another volume. unavailable: somebody else changed the volume meanwhile.
    Result<> save(const VolumeId& id, StoredRecord& stored) const;
    Result<> remove(const VolumeId& id, const StoredRecord& stored) const;
    Result<> set_aside(const VolumeId& id, const StoredRecord& stored) const;  // forgotten
    Result<> restore(const VolumeId& id, StoredRecord& forgotten) const;

private:
    struct Change;
    Result<std::optional<std::string>> value_of(const std::string& key) const;
    Result<std::optional<StoredRecord>> read(const std::string& key) const;
    Result<> apply(const VolumeId& id, const Change& change) const;

    std::shared_ptr<Cluster> cluster_;
};

}  // namespace understudy::rbd
