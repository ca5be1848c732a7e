#pragma once

#include "storage_conformance.hpp"

#include <string>

namespace understudy::conformance {

// A qcow2 pool in a directory of its own; guests are qemu-io, reading is qemu-img. With
// a capacity it lies on a tmpfs of that size, which needs root.
class Qcow2Fixture : public StorageFixture {
public:
    // `format`: of users' disks and of what is received in full.
    Qcow2Fixture(std::string format, std::optional<ByteSize> capacity);
    ~Qcow2Fixture() override;

    ports::StoragePool& pool() override;
    void crash() override;
    ports::DiskSource make_disk(const std::string& name, ByteSize size) override;
    void guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) override;
    void resize(const ports::DiskSource& disk, ByteSize size) override;
    Bytes read_disk(const ports::DiskSource& disk) override;
    void merge_live(const ports::LiveMerge& merge, const ports::DiskSource& head) override;
    std::vector<std::string> traces(const VolumeId& volume) override;
    bool remember() override;
    void go_back() override;

    void close_pool() { pool_.reset(); }  // pool() opens it again
    std::string pool_directory() const { return root_ + "/pool"; }
    std::string path(const std::string& name) const { return root_ + "/" + name; }

private:
    const std::string format_;
    std::string root_;
    std::string remembered_;  // a copy of root_; empty: none
    bool mounted_ = false;
    std::unique_ptr<ports::StoragePool> pool_;
};

// Runs a program to its end without a shell; its standard output. Throws with its standard error
// when it fails.
std::string run_program(std::vector<std::string> arguments);

}  // namespace understudy::conformance
