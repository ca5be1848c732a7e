#pragma once

#include "hypervisor/libvirt/embed_host.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

// For tests: a real Ceph on loopback, and the lab's guest (tests/lab) that writes numbered records.
namespace understudy::libvirt::testing {

// One per process: started when it is first used, ended when the process ends. Without cephx,
// because the embedded driver has no secrets.
class CephLab {
public:
    static CephLab& instance();
    ~CephLab();
    CephLab(const CephLab&) = delete;
    CephLab& operator=(const CephLab&) = delete;

    const std::string& conf() const { return conf_; }
    std::string monitor() const;
    void make_image(const std::string& image, const std::string& size);
    void snap(const std::string& image_at_snapshot);
    void remove_image(const std::string& image);  // with its snapshots
    void export_to(const std::string& image_at_snapshot, const std::string& file);
    void daemon(const std::string& kind, const std::string& verb);  // as ceph-daemon.sh says

private:
    CephLab();
    std::filesystem::path directory_;
    std::string conf_;
    int port_ = 0;
};

std::string lab_script(const std::string& name);

// A guest that runs tests/lab/guest-init; disks in the notation of domain-xml.sh.
class LabGuest {
public:
    LabGuest(const std::string& name, const std::vector<std::string>& disks,
             const std::string& kernel_words, const std::filesystem::path& directory, bool agent);

    const VmId& id() const { return guest_->id(); }
    Guest& guest() { return *guest_; }
    bool says(const std::string& text) const;  // on its console, so far
    int last_record(const std::string& disk) const;
    // Whether the host finds whole records of one moment; the disks in the guest's order.
    static bool of_one_moment(const std::vector<std::string>& disk_and_raw_image);

private:
    std::filesystem::path console_;
    std::unique_ptr<Guest> guest_;
};

}  // namespace understudy::libvirt::testing
