#include "qcow2_fixture.hpp"
#include "rbd_fixture.hpp"
#include "storage/memory/pool.hpp"
#include "storage_conformance.hpp"

#include <algorithm>

namespace understudy::conformance {
namespace {

class MemoryFixture : public StorageFixture {
public:
    MemoryFixture(memory::MemoryPool::Heads heads, std::optional<ByteSize> capacity)
        : pool_("memory", heads) {
        if (capacity) pool_.set_capacity(*capacity);
    }
    ports::StoragePool& pool() override { return pool_; }
    void crash() override { pool_.crash(); }
    ports::DiskSource make_disk(const std::string& name, ByteSize size) override {
        return pool_.create_disk("/disks/" + name, size);
    }
    void guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) override {
        for (const auto& op : ops) {
            if (op.kind == GuestOp::Kind::write)
                must(pool_.write_disk(disk.location, op.offset, filled(op.length, op.pattern)));
            else
                must(pool_.trim_disk(disk.location, op.offset, op.length));
        }
    }
    void resize(const ports::DiskSource& disk, ByteSize size) override {
        must(pool_.resize_disk(disk.location, size));
    }
    Bytes read_disk(const ports::DiskSource& disk) override {
        Bytes bytes(must(pool_.disk_size(disk.location)).count());
        must(pool_.read_disk(disk.location, ByteOffset(0), bytes));
        return bytes;
    }
    void merge_live(const ports::LiveMerge& merge, const ports::DiskSource&) override {
        must(pool_.perform_merge(merge));
    }
    std::vector<std::string> traces(const VolumeId& volume) override {
        return pool_.traces(volume);
    }

private:
    memory::MemoryPool pool_;
};

}  // namespace

const std::vector<StorageKind>& storage_kinds() {
    static const std::vector<StorageKind> kinds{
        {"memory",
         [](std::optional<ByteSize> capacity) -> std::unique_ptr<StorageFixture> {
             return std::make_unique<MemoryFixture>(memory::MemoryPool::Heads::move_on, capacity);
         }},
        {"qcow2",
         [](std::optional<ByteSize> capacity) -> std::unique_ptr<StorageFixture> {
             return std::make_unique<Qcow2Fixture>("qcow2", capacity);
         }},
        {"qcow2_on_raw",
         [](std::optional<ByteSize> capacity) -> std::unique_ptr<StorageFixture> {
             return std::make_unique<Qcow2Fixture>("raw", capacity);
         }},
        {"rbd",
         [](std::optional<ByteSize> capacity) -> std::unique_ptr<StorageFixture> {
             return std::make_unique<RbdFixture>(rbd::RbdSettings{}, capacity);
         }},
        // Without what tells changes at a glance, small objects, the data in another pool.
        {"rbd_plain",
         [](std::optional<ByteSize> capacity) -> std::unique_ptr<StorageFixture> {
             rbd::RbdSettings settings{.data_pool = "vms-data"};
             settings.object_size = base::KiB(512);
             settings.features = "layering,deep-flatten";
             return std::make_unique<RbdFixture>(settings, capacity);
         }},
    };
    return kinds;
}

}  // namespace understudy::conformance
