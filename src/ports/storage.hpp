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
    // A snapshot is made by switching the VM to a new head. Without it the VM stays on its head,
    // and take_snapshot makes the snapshot in the one moment.
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
    // How the hypervisor reaches a network disk; no part of what the disk is.
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
    // The next extent, or nothing at the end of the disk. Neighbours of one kind may be split.
    virtual Result<std::optional<Extent>> next() = 0;
};

// One snapshot being received into a volume. Not visible as a snapshot until publish() returned.
// write/zero/flush are called by one thread at a time. After a crash, receive() with the same
// snapshot id reopens it with at least everything that a completed flush() covered.
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

// What adopting found in a user's file.
struct AdoptedVolume {
    DiskSource source;
    ByteSize size;  // virtual size
};

enum class ActivationKind {
    promote,   // the head that the VM will run on from now on
    rollback,  // a head beside the present one; promote then puts it there, and that one goes
    drill,     // a throw-away head; removed by deactivate
};

struct SnapshotStat {
    ByteSize size;  // virtual size at that snapshot
    ByteSize own;   // bytes that this snapshot's own layer occupies
};

// How a running VM's layers are merged: the driver says what, the hypervisor does it, the driver
// then records it. Paths are of files in this volume's chain.
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
    // Whether a user's disk that is there could be adopted: the driver's kind of disk, and for a
    // driver that adopts only what is in the pool itself, in this one.
    virtual bool takes(const DiskSource&) const = 0;
    // What a head of this volume looks like to a hypervisor; it need not exist. For rehearsals.
    virtual DiskSource outline(const VolumeId&) const = 0;
    virtual Result<Capacity> capacity() = 0;
    // The virtual size of a disk that this pool takes, adopted or not, as it is now; for
    // hypervisors that cannot tell. A look from outside: nothing is locked or changed.
    virtual Result<ByteSize> disk_size(const DiskSource&) = 0;

    // Makes an existing disk, running or not, the writable head of a new volume as it stands.
    // Nothing is converted, moved or written to. unsupported: names what and why.
    // For a volume that is known: the caller tells what the VM is defined with, which settles
    // whether a planned merge of the head took place. conflict: that is not its head.
    virtual Result<AdoptedVolume> adopt(const VolumeId&, const VolumeLabel&, const DiskSource&) = 0;
    // Forgets a volume. remove_data also deletes what this driver made, never an adopted file.
    virtual Result<> forget(const VolumeId&, bool remove_data) = 0;
    virtual Result<bool> knows(const VolumeId&) = 0;
    virtual Result<std::optional<DiskSource>> head(const VolumeId&) = 0;  // none: a replica
    virtual Result<std::vector<SnapshotId>> snapshots(const VolumeId&) = 0;
    virtual Result<SnapshotStat> stat(const VolumeId&, const SnapshotId&) = 0;

    // Taking a snapshot in three steps around the hypervisor's one moment:
    // prepare makes the future head (a fresh overlay; the current head is not touched; `size` is
    // the disk's present virtual size; one of another size that was not switched to is made anew),
    // the hypervisor switches the VM to it, commit records that the former head is now the frozen
    // `id`. cancel removes a prepared overlay that the VM is not on, with what it holds.
    // Without live_overlay prepare only checks and names the present head, the moment is
    // take_snapshot, commit lists what it took, and cancel removes that when it is not committed.
    virtual Result<DiskSource> prepare_snapshot(const VolumeId&, const SnapshotId& id,
                                                ByteSize size) = 0;
    // The head's content as it is now; the VM is stopped or stands still meanwhile, so it returns
    // within a few seconds, whatever the storage does. conflict: `id` was taken before (cancel it:
    // it may be of another moment than the VM's other disks). Nothing to do with live_overlay.
    virtual Result<> take_snapshot(const VolumeId&, const SnapshotId& id) = 0;
    // Whether take_snapshot has made `id`, committed or not. Always false with live_overlay.
    virtual Result<bool> snapshot_taken(const VolumeId&, const SnapshotId& id) = 0;
    // Whether the overlay that was prepared for `id` holds anything that a VM wrote, or is written
    // to. Always false without live_overlay, or when none is prepared.
    virtual Result<bool> overlay_written(const VolumeId&, const SnapshotId& id) = 0;
    // As cancel, but the overlay stays under another name, which is returned: what it holds is in
    // no disk. Nobody removes it but the operator, not with the volume either.
    virtual Result<std::string> set_aside(const VolumeId&, const SnapshotId& id) = 0;
    virtual Result<> commit_snapshot(const VolumeId&, const SnapshotId& id) = 0;
    virtual Result<> cancel_snapshot(const VolumeId&, const SnapshotId& id) = 0;

    virtual Result<std::unique_ptr<Reader>> open_snapshot(const VolumeId&, const SnapshotId&) = 0;
    // Extents at or after `from` that may differ between base and until (all allocated ones without
    // a base), trims and zeroed ranges as zero. Without a base, ranges left out read as zeroes.
    // conflict: base is not an ancestor of until in this volume.
    virtual Result<std::unique_ptr<ExtentStream>> changes(const VolumeId&,
                                                          std::optional<SnapshotId> base,
                                                          const SnapshotId& until,
                                                          ByteOffset from) = 0;

    // Begins or reopens receiving `id` on top of `base` (nothing: a new, all-zero volume content).
    // Creates the volume when it is not known. conflict: base is not a snapshot here.
    virtual Result<std::unique_ptr<Incoming>> receive(const VolumeId&, const VolumeLabel&,
                                                      std::optional<SnapshotId> base,
                                                      const SnapshotId& id, ByteSize size) = 0;

    // Puts right what is stored for a frozen snapshot: what is written replaces its content, and
    // that of the snapshots above that show it, when publish() has returned. One that was cut off
    // in publish() leaves some of it; one that was not published nothing. Either is followed by
    // another mend, from the start. It takes the snapshot's name, size and place for given.
    // refused: a VM or a rehearsal is on it. unavailable: it is being read or written to.
    // unsupported: the driver cannot; the text says what to do instead.
    virtual Result<std::unique_ptr<Incoming>> mend(const VolumeId&, const SnapshotId&) = 0;

    // Removing a snapshot. What must be merged for it while a VM runs on this volume is told by
    // plan_removal; the hypervisor performs it; finish_removal records it and deletes the merged
    // file. An offline volume is merged by remove_snapshot alone.
    virtual Result<std::optional<LiveMerge>> plan_removal(const VolumeId&, const SnapshotId&) = 0;
    virtual Result<> finish_removal(const VolumeId&, const SnapshotId&) = 0;
    virtual Result<> remove_snapshot(const VolumeId&, const SnapshotId&) = 0;

    // Makes a writable head on a snapshot; instant whatever the size. A driver whose head is the
    // volume itself answers a rollback with the present head; promote then takes it back in place.
    virtual Result<DiskSource> activate(const VolumeId&, const SnapshotId&, ActivationKind) = 0;
    // Throws away a drill's head, or that of a rollback that was not promoted; of one in place only
    // the intention. refused: that is the disk of a VM.
    virtual Result<> deactivate(const VolumeId&, const DiskSource&) = 0;
    // Whether the head holds nothing that snapshot `on` does not: it was made on that one, and
    // nobody has written to it, nor given it another size. True also without a head. The VM is
    // stopped or stands still.
    virtual Result<bool> head_equals(const VolumeId&, const SnapshotId& on) = 0;
    // About how much a snapshot of the head would own if it were taken now, after `on`: from what
    // is allocated, while the VM may run. 0 without a head; nothing where counting would take long.
    virtual Result<std::optional<ByteSize>> head_own(const VolumeId&, const SnapshotId& on) = 0;
    // The VM runs elsewhere from now on: its head here goes, with those of rollbacks that came to
    // nothing, and the volume is a replica's. conflict: not head_equals, and what it holds would be
    // lost: take a snapshot first. refused: a VM is on it.
    virtual Result<> retire_head(const VolumeId&, const SnapshotId& on) = 0;
};

}  // namespace understudy::ports
