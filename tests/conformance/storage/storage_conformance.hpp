#pragma once

#include "base/must_test.hpp"
#include "ports/storage.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// The suite that every storage driver passes. A driver takes part by a StorageFixture and a line in
// storage_kinds(); the tests (storage_*_test.cpp) know drivers only through these.
namespace understudy::conformance {

using Bytes = std::vector<std::byte>;

struct GuestOp {
    enum class Kind { write, zero, trim } kind = Kind::write;
    ByteOffset offset;
    ByteSize length;
    unsigned char pattern = 0;  // write: every byte of the range
};
GuestOp write_op(std::uint64_t offset, std::uint64_t length, unsigned char pattern);
GuestOp zero_op(std::uint64_t offset, std::uint64_t length);
GuestOp trim_op(std::uint64_t offset, std::uint64_t length);  // aligned to 128 KiB

// A pool and the world around it. A call that cannot do its work throws std::runtime_error, which
// ends the test. Removes all that it made when it is destroyed.
class StorageFixture {
public:
    virtual ~StorageFixture() = default;
    virtual ports::StoragePool& pool() = 0;
    // The process dies and comes back; no Reader, stream or Incoming of before may exist.
    virtual void crash() = 0;
    // An all-zero disk as a user has it before adopting; `name` has no '/'.
    virtual ports::DiskSource make_disk(const std::string& name, ByteSize size) = 0;
    // What a VM does to the disk that it is defined with; durable when this returns.
    virtual void guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) = 0;
    virtual void resize(const ports::DiskSource& disk, ByteSize size) = 0;
    virtual Bytes read_disk(const ports::DiskSource& disk) = 0;  // whole, by the driver's own tool
    // What a hypervisor does about a planned removal of a VM that runs on `head`.
    virtual void merge_live(const ports::LiveMerge& merge, const ports::DiskSource& head) = 0;
    // Names of all that is kept for a volume; none for one that is not known.
    virtual std::vector<std::string> traces(const VolumeId& volume) = 0;
    // Remembers all that there is, for go_back() to bring back as often as wanted; the process dies
    // and comes back in both. False: making it anew is as quick.
    virtual bool remember() { return false; }
    virtual void go_back() {}
    // Waits until the medium has noticed how full it is, where that takes a while.
    virtual void settle() {}
};

struct StorageKind {
    std::string name;
    // With a capacity: no_space once about that much is used.
    std::function<std::unique_ptr<StorageFixture>(std::optional<ByteSize> capacity)> make;
};
const std::vector<StorageKind>& storage_kinds();
void PrintTo(const StorageKind& kind, std::ostream* out);

template <class T>
std::optional<ErrorKind> error_kind_of(const Result<T>& result) {
    if (result) return std::nullopt;
    return result.error().kind();
}

// One volume with a VM, and what each of its snapshots must hold.
class GuestDisk {
public:
    GuestDisk(StorageFixture& fixture, const std::string& name, ByteSize size);

    void run(const std::vector<GuestOp>& ops) { fixture_.guest(head(), ops); }
    ports::DiskSource head();
    SnapshotId take();  // and remembers the content
    void resize(ByteSize size) { fixture_.resize(head(), size); }

    const VolumeId& id() const { return id_; }
    const ports::DiskSource& original() const { return original_; }
    std::map<SnapshotId, Bytes>& contents() { return contents_; }

private:
    StorageFixture& fixture_;
    const VolumeId id_ = VolumeId::random();
    ports::DiskSource original_;
    std::map<SnapshotId, Bytes> contents_;
};

inline const ports::VolumeLabel kLabel{.vm_name = "web1", .disk_target = "vda"};
inline constexpr ByteSize kDiskSize = base::MiB(8);

// As a task does it, the VM standing still meanwhile.
void take_in_steps(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id,
                   ByteSize size);
Bytes read_snapshot(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id);
// All extents, having checked that they ascend, lie on the grid and within the disk.
std::vector<ports::Extent> list_changes(ports::StoragePool& pool, const VolumeId& volume,
                                        std::optional<SnapshotId> base, const SnapshotId& until,
                                        ByteOffset from = {});
std::uint64_t bytes_in(const std::vector<ports::Extent>& extents, model::ExtentKind kind);
// `content` with the extents' data taken from `snapshot`.
Bytes with_changes(Bytes content, const std::vector<ports::Extent>& extents, const Bytes& snapshot);

// The extents that make `content` out of nothing or of its base, written into `incoming`.
void write_extents(ports::Incoming& incoming, const std::vector<ports::Extent>& extents,
                   const Bytes& content);
// Sends a snapshot from one pool to another, as full or on `base`.
void copy_snapshot(ports::StoragePool& from, ports::StoragePool& to, const VolumeId& volume,
                   std::optional<SnapshotId> base, const SnapshotId& id);
// Receives `content` as a new snapshot without a source volume.
void receive_content(ports::StoragePool& pool, const VolumeId& volume,
                     std::optional<SnapshotId> base, const SnapshotId& id, const Bytes& content);
Bytes filled(ByteSize size, unsigned char pattern);

// Every snapshot listed is one of `expected` and reads as it must, and the other way round.
void expect_snapshots(ports::StoragePool& pool, const VolumeId& volume,
                      const std::map<SnapshotId, Bytes>& expected);

class StorageConformance : public testing::TestWithParam<StorageKind> {
protected:
    void open(std::optional<ByteSize> capacity = {}) { fixture_ = GetParam().make(capacity); }
    StorageFixture& fixture() {
        if (!fixture_) open();
        return *fixture_;
    }
    ports::StoragePool& pool() { return fixture().pool(); }
    // Whether a snapshot leaves the VM on its head (StorageFeatures::live_overlay).
    bool in_place() { return !pool().features().live_overlay; }

private:
    std::unique_ptr<StorageFixture> fixture_;
};

using StoragePairParam = std::pair<StorageKind, StorageKind>;
class StoragePair : public testing::TestWithParam<StoragePairParam> {
protected:
    void SetUp() override {
        source_ = GetParam().first.make({});
        target_ = GetParam().second.make({});
    }
    std::unique_ptr<StorageFixture> source_;
    std::unique_ptr<StorageFixture> target_;
};

std::vector<StoragePairParam> storage_pairs();

// For INSTANTIATE_TEST_SUITE_P and failure messages.
std::string kind_name(const testing::TestParamInfo<StorageKind>& info);
std::string pair_name(const testing::TestParamInfo<StoragePairParam>& info);

}  // namespace understudy::conformance
