#pragma once

#include "storage/rbd/pool.hpp"
#include "storage_conformance.hpp"

#include <rados/librados.hpp>
#include <rbd/librbd.hpp>

#include <memory>
#include <optional>
#include <string>

namespace understudy::conformance {

// An rbd pool in a namespace of its own of the Ceph that UNDERSTUDY_TEST_CEPH names (a ceph.conf;
// ctest starts one, ceph-fixture.sh does by hand). With a capacity: a pool of Ceph with that quota.
// Guests are librbd, by a connection of their own.
class RbdFixture : public StorageFixture {
public:
    // `settings` without ceph_conf, pool and namespace.
    RbdFixture(rbd::RbdSettings settings, std::optional<ByteSize> capacity);
    ~RbdFixture() override;

    ports::StoragePool& pool() override;
    void crash() override;
    ports::DiskSource make_disk(const std::string& name, ByteSize size) override;
    void guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) override;
    void resize(const ports::DiskSource& disk, ByteSize size) override;
    Bytes read_disk(const ports::DiskSource& disk) override;
    void merge_live(const ports::LiveMerge& merge, const ports::DiskSource& head) override;
    std::vector<std::string> traces(const VolumeId& volume) override;
    void settle() override;

    void close_pool() { pool_.reset(); }  // pool() opens it again
    const rbd::RbdSettings& settings() const { return settings_; }
    librados::IoCtx& io() { return io_; }  // of the pool and namespace
    librados::Rados& rados() { return rados_; }
    std::unique_ptr<librbd::Image> open(const std::string& image);
    std::vector<std::string> images();
    ports::DiskSource source(const std::string& image) const;
    std::string ask(const std::string& json_command);  // a monitor's answer

private:
    std::optional<std::string> value(const std::string& key);  // of the driver's records
    std::vector<std::string> snapshots_of(const std::string& image);
    std::string image_of(const ports::DiskSource& disk) const;
    void remove_images();

    rbd::RbdSettings settings_;
    const std::optional<ByteSize> capacity_;
    librados::Rados rados_;
    librados::IoCtx io_;
    std::unique_ptr<ports::StoragePool> pool_;
};

}  // namespace understudy::conformance
