#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "ports/storage.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::qcow2 {

enum class LayerRole {
    snapshot,   // frozen; holds VolumeLayer::snapshot
    unnamed,    // frozen; its snapshot was removed, but layers above still need it
    head,       // written to by the VM
    drill,      // written to by a rehearsal; thrown away afterwards
    successor,  // the future head while the VM is rolled back to VolumeLayer::snapshot
    prepared,   // the future head while snapshot VolumeLayer::snapshot is being taken
    incoming,   // being received; becomes VolumeLayer::snapshot
};

struct VolumeLayer {
    std::string file;  // an adopted file's absolute path, else a name in the volume's directory;
                       // unique within the volume
    std::string format;
    bool adopted = false;  // the user's own: never deleted
    std::string parent;    // `file` of the layer below; empty: none of ours
    ByteSize size;         // virtual; for a head as of when it was made
    LayerRole role = LayerRole::unnamed;
    SnapshotId snapshot;  // see LayerRole; for head and drill: activated from, nil if not
    SnapshotId base;      // incoming: what it was begun on; nil: nothing
};

// `top`'s content goes into `base`, its parent, which then takes top's place.
struct PendingMerge {
    std::string base;
    std::string top;
    bool live = false;  // a hypervisor was asked to do it
    // Not empty: top is a head, and base holds all of it as it was at this stamp
    // (Volume::seal_head).
    std::string seal = {};
};

// What a volume consists of: the content of its volume.json, the driver's only truth.
struct VolumeRecord {
    ports::VolumeLabel label;
    std::vector<VolumeLayer> layers;  // parents before children
    std::optional<PendingMerge> merge;

    VolumeLayer* find_file(std::string_view file);
    const VolumeLayer* find_file(std::string_view file) const;
    VolumeLayer* find(LayerRole role);  // the first one
    const VolumeLayer* find(LayerRole role) const;
    VolumeLayer* find(LayerRole role, const SnapshotId& snapshot);
    const VolumeLayer* find(LayerRole role, const SnapshotId& snapshot) const;

    std::vector<const VolumeLayer*> children_of(std::string_view file) const;
    bool is_above(const VolumeLayer& upper, std::string_view lower) const;  // true also for itself
    bool is_under_head(std::string_view file) const;  // true also for the head
    void remove(std::string_view file);
    void finish_merge();  // `base` takes the place of `top`, which goes; needs `merge`
};

// Overlays that a mend writes and then merges into the layer under them; no part of the record.
inline constexpr std::string_view kPatchPrefix = "mend-";
inline bool is_patch_name(std::string_view file) {
    return file.starts_with(kPatchPrefix);
}

inline constexpr std::size_t kMaxRecordBytes = 4 << 20;

std::string write_record(const VolumeRecord& record);
// corrupt: not what write_record writes. unsupported: written by a newer version.
Result<VolumeRecord> read_record(std::string_view text);

}  // namespace understudy::qcow2
