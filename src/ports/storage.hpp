#pragma once

#include "base/ids.hpp"
#include "model/extent.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace understudy::ports {

using model::Extent;

// What a driver can do, asked before use.
struct StorageFeatures {
    // true: a snapshot is made by switching the VM to a new head. false: the VM stays on its head,
    // and take_snapshot makes the snapshot while the VM stands still.
    bool live_overlay = false;
};

struct Capacity {
    ByteSize total;
    ByteSize free;
};

// Where a hypervisor finds a volume's writable head or a frozen snapshot.
struct DiskSource {
    std::string type = "file";  // libvirt's <disk type=…>: "file" (qcow2 driver), "network" (rbd)
    std::string format = {};    // "qcow2" or "raw"
    std::string location = {};  // absolute path; rbd: "POOL/IMAGE" or "POOL/NAMESPACE/IMAGE"
    // How the hypervisor reaches a network disk. Not part of the disk's identity, so not compared.
    std::vector<std::string> monitors = {};  // "HOST:PORT" each; none: as the host's ceph.conf says
    std::string user = {};                   // of cephx; empty: no authentication
    std::string secret = {};                 // UUID of libvirt's secret that holds the user's key

    bool operator==(const DiskSource& other) const {
        return type == other.type && format == other.format && location == other.location;
    }
};

// Reads one frozen snapshot of one volume. Thread-safe: many threads may read at once.
class Reader {
public:
    virtual ~Reader() = default;
    virtual ByteSize size() const = 0;
    // Fills `into` from `offset`; the range lies within size().
    virtual Result<> read(ByteOffset offset, std::span<std::byte> into) = 0;
    // A hint that this range will be read soon. Returns at once; never fails.
    virtual void prefetch(ByteOffset offset, ByteSize length) = 0;
};

// A listing of extents in ascending order, in memory independent of the disk's size. One thread.
class ExtentStream {
public:
    virtual ~ExtentStream() = default;
    // The next extent, or nothing at the end of the disk. Extents of one kind may follow each other
    // without a gap.
    virtual Result<std::optional<Extent>> next() = 0;
};

// One snapshot that is being received into a volume. It is not visible as a snapshot until
// publish() has returned. write, zero and flush are called by one thread at a time. After a crash,
// receive() with the same snapshot id reopens it, with at least everything that a completed flush()
// covered.
class Incoming {
public:
    virtual ~Incoming() = default;
    virtual Result<> write(ByteOffset offset, std::span<const std::byte> data) = 0;
    virtual Result<> zero(ByteOffset offset, ByteSize length) = 0;
    virtual Result<> flush() = 0;    // everything written so far survives power loss
    virtual Result<> publish() = 0;  // flushes and makes it a snapshot; idempotent
    virtual Result<> discard() = 0;  // removes every trace of it; idempotent
};

struct VolumeLabel {  // for people who look into the pool; never parsed
    std::string vm_name;
    std::string disk_target;  // "vda"
};

// What adopt() found: the user's disk as it stands.
struct AdoptedVolume {
    DiskSource source;
    ByteSize size;  // virtual size
};

enum class ActivationKind {
    promote,   // the head that the VM will run on from now on
    rollback,  // a head beside the present one; activate with `promote` later puts it in place of
               // the present head
    drill,     // a temporary head; deactivate removes it
};

struct SnapshotStat {
    ByteSize size;  // virtual size at that snapshot
    ByteSize own;   // bytes that this snapshot's own layer occupies
};

// One merge of a running VM's layers. plan_removal says what is to be merged, Hypervisor::merge
// does it, and finish_removal records it. The paths are those of files in this volume's chain.
struct LiveMerge {
    std::string base;          // receives the content
    std::string top;           // is merged into base and then removed
    bool top_is_head = false;  // an active commit that pivots onto base
};

// A named place for disks. Thread-safe. Every method is idempotent: after a crash in the middle,
// calling it again with the same arguments finishes the work.
class StoragePool {
public:
    virtual ~StoragePool() = default;

    virtual const std::string& name() const = 0;
    virtual std::string driver() const = 0;  // "qcow2", "rbd"
    virtual StorageFeatures features() const = 0;
    // Whether a user's disk with this source could be adopted: it is of the driver's kind and, if
    // the driver adopts only what is in the pool itself, it is in this pool.
    virtual bool takes(const DiskSource&) const = 0;
    // The source that a head of this volume has for a hypervisor. The head need not exist: this is
    // for trying out a definition.
    virtual DiskSource outline(const VolumeId&) const = 0;
    virtual Result<Capacity> capacity() = 0;
    // The present virtual size of a disk that this pool takes, adopted or not. For disks whose size
    // the hypervisor does not know. Nothing is locked or changed.
    virtual Result<ByteSize> disk_size(const DiskSource&) = 0;

    // Makes an existing disk, as it stands, the writable head of a new volume. A VM may be running
    // on it. Nothing is converted, moved or written to. unsupported: the text says what and why.
    // If the volume is known, the source is the disk that the VM is defined with. From that the
    // driver knows whether a planned merge of the head took place. conflict: that disk is not the
    // volume's head.
    virtual Result<AdoptedVolume> adopt(const VolumeId&, const VolumeLabel&, const DiskSource&) = 0;
    // Forgets a volume. remove_data also deletes what this driver made, never an adopted file.
    virtual Result<> forget(const VolumeId&, bool remove_data) = 0;
    virtual Result<bool> knows(const VolumeId&) = 0;
    virtual Result<std::optional<DiskSource>> head(const VolumeId&) = 0;  // none: a replica
    virtual Result<std::vector<SnapshotId>> snapshots(const VolumeId&) = 0;
    virtual Result<SnapshotStat> stat(const VolumeId&, const SnapshotId&) = 0;

    // A snapshot is taken in three steps. With live_overlay:
    // 1. prepare_snapshot makes the future head, a fresh overlay of `size`, the disk's present
    //    virtual size. It does not touch the current head. An overlay of another size is made
    //    anew if the VM was never switched to it.
    // 2. The hypervisor switches the VM to the overlay (Hypervisor::snapshot).
    // 3. commit_snapshot records that the former head is now the frozen `id`.
    // cancel_snapshot removes a prepared overlay that the VM is not on, with all that it holds.
    // Without live_overlay: prepare_snapshot only checks, and gives the present head;
    // take_snapshot is the second step; commit_snapshot records the snapshot that take_snapshot
    // made; cancel_snapshot removes it if it is not committed.
    virtual Result<DiskSource> prepare_snapshot(const VolumeId&, const SnapshotId& id,
                                                ByteSize size) = 0;
    // Snapshots the head's content as it is now. The VM is stopped or stands still meanwhile, so
    // this returns within a few seconds, even if the storage does not answer. conflict: an
    // earlier attempt made `id`: call cancel_snapshot first, because it may be of another moment
    // than the VM's other disks. With live_overlay this does nothing.
    virtual Result<> take_snapshot(const VolumeId&, const SnapshotId& id) = 0;
    // Whether take_snapshot has made `id`, committed or not. Always false with live_overlay.
    virtual Result<bool> snapshot_taken(const VolumeId&, const SnapshotId& id) = 0;
    // Whether the overlay that was prepared for `id` holds anything that a VM wrote, or is being
    // written to. Always false without live_overlay, or if none is prepared.
    virtual Result<bool> overlay_written(const VolumeId&, const SnapshotId& id) = 0;
    // Like cancel_snapshot, but the overlay is kept under another name, because what it holds is in
    // no disk. Gives that name. Only the operator removes the file; it also stays when the volume
    // is removed.
    virtual Result<std::string> set_aside(const VolumeId&, const SnapshotId& id) = 0;
    virtual Result<> commit_snapshot(const VolumeId&, const SnapshotId& id) = 0;
    virtual Result<> cancel_snapshot(const VolumeId&, const SnapshotId& id) = 0;

    virtual Result<std::unique_ptr<Reader>> open_snapshot(const VolumeId&, const SnapshotId&) = 0;
    // The extents at or after `from` that may differ between `base` and `until`. Trimmed and zeroed
    // ranges are listed as zero. Without a base: all allocated extents; ranges that are left out
    // read as zeroes. conflict: `base` is not an ancestor of `until` in this volume.
    virtual Result<std::unique_ptr<ExtentStream>> changes(const VolumeId&,
                                                          std::optional<SnapshotId> base,
                                                          const SnapshotId& until,
                                                          ByteOffset from) = 0;

    // Begins to receive `id` on top of `base`, or reopens it after a crash. Without a base the
    // content begins as all zeroes. Creates the volume if it is not known. conflict: `base` is not
    // a snapshot here.
    virtual Result<std::unique_ptr<Incoming>> receive(const VolumeId&, const VolumeLabel&,
                                                      std::optional<SnapshotId> base,
                                                      const SnapshotId& id, ByteSize size) = 0;

    // Repairs the stored content of a frozen snapshot. When publish() has returned, what was
    // written has replaced the snapshot's content, and that of later snapshots that still show this
    // content.
    // If publish() was cut off, some of it is replaced. If publish() was not called, nothing is.
    // After either, mend again from the start. The snapshot's name, size and place stay.
    // refused: a VM or a rehearsal is on it. unavailable: it is being read or written to.
    // unsupported: the driver cannot do it; the text says what to do instead.
    virtual Result<std::unique_ptr<Incoming>> mend(const VolumeId&, const SnapshotId&) = 0;

    // Removes a snapshot. If no VM runs on this volume, remove_snapshot does all of it. If one
    // runs, plan_removal says what must be merged (nothing: no merge is needed), the hypervisor
    // merges it, and finish_removal records that and deletes the merged file.
    virtual Result<std::optional<LiveMerge>> plan_removal(const VolumeId&, const SnapshotId&) = 0;
    virtual Result<> finish_removal(const VolumeId&, const SnapshotId&) = 0;
    virtual Result<> remove_snapshot(const VolumeId&, const SnapshotId&) = 0;

    // Makes a writable head on a snapshot, at once, whatever the size. If a driver's head is the
    // volume itself, `rollback` gives the present head, and `promote` then rolls it back in place.
    virtual Result<DiskSource> activate(const VolumeId&, const SnapshotId&, ActivationKind) = 0;
    // Removes the head of a drill, or of a rollback that was not promoted. For a rollback
    // in place, only its record is removed. refused: that is the disk of a VM.
    virtual Result<> deactivate(const VolumeId&, const DiskSource&) = 0;
    // Whether the head holds nothing that snapshot `on` does not hold: it was made on that
    // snapshot, and nobody has written to it or changed its size. True also if there is no head.
    // The VM must be stopped or stand still.
    virtual Result<bool> head_equals(const VolumeId&, const SnapshotId& on) = 0;
    // About how many bytes a snapshot of the head would own if it were taken now, after `on`.
    // Counted from what is allocated; the VM may run. 0 if there is no head. Nothing if counting
    // would take long.
    virtual Result<std::optional<ByteSize>> head_own(const VolumeId&, const SnapshotId& on) = 0;
    // For a VM that runs elsewhere from now on: removes the head here, and the heads of rollbacks
    // that were not promoted. The volume is then a replica's. conflict: head_equals is false, so
    // what the head holds would be lost; take a snapshot first. refused: a VM is on it.
    virtual Result<> retire_head(const VolumeId&, const SnapshotId& on) = 0;
};

}  // namespace understudy::ports
