#include "hypervisor/libvirt/ceph_lab.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace understudy::libvirt::testing {
namespace {

// A port that nobody uses now. Ceph's own daemons take theirs from 6800 on.
int free_port() {
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(probe, generic, length), 0);
    EXPECT_EQ(getsockname(probe, generic, &length), 0);
    close(probe);
    return ntohs(address.sin_port);
}

std::string contents(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

std::string lab_script(const std::string& name) {
    return std::string(UNDERSTUDY_LAB) + "/" + name;
}

CephLab& CephLab::instance() {
    static CephLab lab;
    return lab;
}

CephLab::CephLab() : port_(free_port()) {
    // In RAM if there is room for it, because a snapshot waits for what the monitor writes.
    std::error_code none;
    const auto room = std::filesystem::space("/dev/shm", none);
    const bool fits = !none && room.available > (std::uintmax_t{4} << 30);
    std::string name = std::string(fits ? "/dev/shm" : "/tmp") + "/us-ceph-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
    conf_ = first_line(run({lab_script("ceph-up.sh"), "--osd-bytes", "2147483648",
                            directory_.string(), std::to_string(port_)}));
}

CephLab::~CephLab() {
    run({lab_script("ceph-down.sh"), directory_.string()});
    std::error_code error;
    std::filesystem::remove_all(directory_, error);
}

std::string CephLab::monitor() const {
    return fmt::format("127.0.0.1:{}", port_);
}

void CephLab::make_image(const std::string& image, const std::string& size) {
    run({"rbd", "-c", conf_, "create", image, "--size", size});
}

void CephLab::snap(const std::string& image_at_snapshot) {
    run({"rbd", "-c", conf_, "--no-progress", "snap", "create", image_at_snapshot});
}

void CephLab::remove_image(const std::string& image) {
    run({"rbd", "-c", conf_, "--no-progress", "snap", "purge", image});
    run({"rbd", "-c", conf_, "--no-progress", "rm", image});
}

void CephLab::export_to(const std::string& image_at_snapshot, const std::string& file) {
    std::filesystem::remove(file);
    run({"rbd", "-c", conf_, "--no-progress", "export", image_at_snapshot, file});
}

void CephLab::daemon(const std::string& kind, const std::string& verb) {
    run({lab_script("ceph-daemon.sh"), directory_.string(), kind, verb});
}

LabGuest::LabGuest(const std::string& name, const std::vector<std::string>& disks,
                   const std::string& kernel_words, const std::filesystem::path& directory,
                   bool agent)
    : console_(directory / "console") {
    std::vector<std::string> words{lab_script("domain-xml.sh"),
                                   "--name",
                                   name,
                                   "--image",
                                   first_line(run({lab_script("guest-image.sh")})),
                                   "--serial",
                                   console_.string(),
                                   "--ceph",
                                   CephLab::instance().conf(),
                                   "--cmdline",
                                   kernel_words + (agent ? " us.agent=1" : "")};
    for (const auto& disk : disks) words.insert(words.end(), {"--disk", disk});
    if (agent) words.insert(words.end(), {"--agent", (directory / "agent").string()});
    guest_ = Guest::defined_by(run(words));
}

bool LabGuest::says(const std::string& text) const {
    return contents(console_).find(text) != std::string::npos;
}

int LabGuest::last_record(const std::string& disk) const {
    const auto said = contents(console_);
    const auto word = fmt::format("wrote {} ", disk);
    const auto at = said.rfind(word);
    return at == std::string::npos ? -1 : std::atoi(said.c_str() + at + word.size());
}

bool LabGuest::of_one_moment(const std::vector<std::string>& disk_and_raw_image) {
    std::vector<std::string> words{"sh", "-c", "\"$@\" 2>&1 || true", "sh", lab_script("records")};
    words.insert(words.end(), disk_and_raw_image.begin(), disk_and_raw_image.end());
    const auto said = run(words);
    fmt::print("{}", said);
    return said.find("BAD") == std::string::npos && said.find(" 0..") != std::string::npos;
}

}  // namespace understudy::libvirt::testing
