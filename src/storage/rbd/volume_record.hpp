#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "ports/storage.hpp"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::rbd {

enum class ImageRole {
    making,     // may be there and holds nothing of worth; removed after a crash
    idle,       // its head is as its newest snapshot, VolumeImage::base
    dirty,      // its head is of no worth: to be rolled back to its newest snapshot
    head,       // written to by the VM
    incoming,   // its head is being received; becomes VolumeImage::snapshot
    drill,      // written to by a rehearsal; thrown away afterwards
    successor,  // the future head while the VM is rolled back to VolumeImage::snapshot
    doomed,     // to be removed as soon as nothing depends on it
};

struct VolumeImage {
    std::string name;
    bool adopted = false;  // the user's own: never removed, never received into
    ImageRole role = ImageRole::making;
    std::string parent = {};   // the image of this volume that it is a clone of; empty: none
    SnapshotId snapshot = {};  // see ImageRole; head, drill: activated from, nil if not
    SnapshotId base = {};      // incoming: what it was begun on, nil: nothing; idle: see ImageRole
    SnapshotId lineage = {};   // the listed snapshot that its head descends from; nil: none
    ByteSize size = {};        // incoming: of the disk
};

enum class SnapshotState {
    listed,
    taking,    // prepared; perhaps there
    unwanted,  // perhaps there: to be removed
};

struct VolumeSnapshot {
    SnapshotId id;
    std::string image;
    ByteSize size = {};
    SnapshotId parent = {};  // a listed one, or nil
    SnapshotState state = SnapshotState::listed;
    // unwanted: Ceph was asked to make it and has not answered, so it may still come.
    bool late = false;
};

// A mend: a snapshot's content is put right in its image's head, which then takes the snapshot's
// place.
struct VolumeMending {
    SnapshotId snapshot;
    SnapshotId patch;          // what the head is frozen as at first
    SnapshotId replaced = {};  // what the former snapshot is called from then on; nil: not yet
};

// What a volume consists of: the driver's only truth. Images and snapshots are named here before
// they are made, and until after they are removed.
struct VolumeRecord {
    ports::VolumeLabel label;
    std::vector<VolumeImage> images;
    std::vector<VolumeSnapshot> snapshots;  // those of one image in the order they were taken
    SnapshotId rollback = {};  // what the head is to be taken back to in place; nil: nothing
    std::optional<VolumeMending> mending = {};
    bool removing = false;  // being forgotten with its data

    VolumeImage* image(std::string_view name);
    const VolumeImage* image(std::string_view name) const;
    VolumeImage* find(ImageRole role);  // the first one
    const VolumeImage* find(ImageRole role) const;
    VolumeImage* incoming(const SnapshotId& id);
    VolumeSnapshot* find(SnapshotState state, const SnapshotId& id);
    const VolumeSnapshot* find(SnapshotState state, const SnapshotId& id) const;
    const VolumeSnapshot* listed(const SnapshotId& id) const {
        return find(SnapshotState::listed, id);
    }
    const VolumeSnapshot* taking() const;                           // there is at most one
    const VolumeSnapshot* newest_of(std::string_view image) const;  // listed
    bool has_snapshots(std::string_view image) const;  // in any state; late ones do not count
    bool is_ancestor(const SnapshotId& base, const SnapshotId& of) const;  // also of itself

    void unlist(const SnapshotId& id);         // becomes unwanted; its descendants get its parent
    void remove_image(std::string_view name);  // with its snapshots
    std::set<std::string> image_names() const;
};

std::string write_record(const VolumeRecord& record);
// corrupt: not what write_record writes. unsupported: written by a newer version.
Result<VolumeRecord> read_record(std::string_view text);

}  // namespace understudy::rbd
