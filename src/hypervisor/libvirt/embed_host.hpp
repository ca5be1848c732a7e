#pragma once

#include "hypervisor/libvirt/open_libvirt.hpp"
#include "ports/hypervisor.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// For tests: a host of this process's own (qemu:///embed), with real QEMU under TCG. A guest is a
// board that stays in its firmware. What "it writes" is written by QEMU on its behalf.
namespace understudy::libvirt::testing {

// One embedded driver per process, made when first used, removed when the process ends.
struct EmbedHost {
    std::filesystem::path directory;
    std::string uri;
    std::unique_ptr<ports::Hypervisor> hypervisor;

    static EmbedHost& instance();
    static std::string uri_of(const std::filesystem::path& directory);

    EmbedHost();
    ~EmbedHost();
};

// Runs a program without a shell; the test fails when it does.
std::string run(const std::vector<std::string>& command);
void make_qcow2(const std::string& path, const std::string& size);
void make_overlay(const std::string& path, const std::string& backing, const std::string& format,
                  const std::string& size);
// What qemu-io reads from a file: true when `length` bytes at `offset` all are `pattern`.
bool reads(const std::string& path, const std::string& format, std::uint64_t offset,
           std::uint64_t length, int pattern);
// Waits for a condition, at most 30 s.
bool eventually(const std::function<bool()>& condition);

// A defined domain with disks; ended and removed with the object.
class Guest {
public:
    struct Disk {
        std::string target;
        std::string path;
        std::string format;
    };
    Guest(const std::string& name, const std::vector<Disk>& disks,
          const std::string& more_devices = {}, const std::string& os = {});
    Guest(const VmId& id, const std::string& name, const std::vector<Disk>& disks);
    static std::unique_ptr<Guest> existing(const VmId& id);  // one that another process left
    static std::unique_ptr<Guest> defined_by(const std::string& domain_xml);
    ~Guest();
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    const VmId& id() const { return id_; }
    void start();
    // Writes `pattern` as the guest would, to the disk's present head.
    void write(const std::string& target, std::uint64_t offset, std::uint64_t length, int pattern);
    void resize(const std::string& target, std::uint64_t bytes);
    // An active commit, left to itself.
    void begin_commit(const std::string& target, const std::string& base, const std::string& top);
    void define_while_it_runs(const std::string& xml);
    void save_memory();  // as `virsh managedsave`
    std::string monitor(const std::string& human_command);
    std::string qmp(const std::string& command);  // what QEMU answers, an error included
    std::string xml(bool inactive);
    std::vector<std::string> chain(const std::string& target);

    static std::string definition(const std::string& name, const VmId& id,
                                  const std::vector<Disk>& disks, const std::string& more_devices,
                                  const std::string& os);

private:
    explicit Guest(const VmId& id) : id_(id) {}
    VmId id_;
};

}  // namespace understudy::libvirt::testing
