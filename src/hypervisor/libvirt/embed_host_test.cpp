#include "hypervisor/libvirt/embed_host.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace understudy::libvirt::testing {
namespace {

// A second connection, for what the port does not offer.
Connection& side_door() {
    static Connection connection(EmbedHost::instance().uri);
    return connection;
}

DomainHandle domain_of(const VmId& id) {
    auto connection = side_door().get();
    if (!connection) return nullptr;
    return find_domain(connection->get(), id).value_or(nullptr);
}

}  // namespace

EmbedHost& EmbedHost::instance() {
    static EmbedHost host;
    return host;
}

std::string EmbedHost::uri_of(const std::filesystem::path& directory) {
    return "qemu:///embed?root=" + directory.string();
}

EmbedHost::EmbedHost() {
    if (const char* given = std::getenv("UNDERSTUDY_TEST_EMBED_ROOT")) {
        directory = given;
    } else {
        std::string name = "/tmp/us-virt-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) std::abort();
        directory = name;
    }
    uri = uri_of(directory);
    auto opened = open_libvirt(uri, (directory / "nvram").string());
    if (!opened) {
        fmt::print(stderr, "{}\n", opened.error().text());
        std::abort();
    }
    hypervisor = std::move(*opened);
}

EmbedHost::~EmbedHost() {
    if (std::getenv("UNDERSTUDY_TEST_EMBED_ROOT") != nullptr) return;
    std::error_code error;
    std::filesystem::remove_all(directory, error);
}

std::string run(const std::vector<std::string>& command) {
    std::array<int, 2> pipe_ends{};
    if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return {};
    std::vector<char*> arguments;
    for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t child = vfork();
    if (child == 0) {
        dup2(pipe_ends[1], STDOUT_FILENO);
        dup2(pipe_ends[1], STDERR_FILENO);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    close(pipe_ends[1]);
    std::string output;
    std::array<char, 4096> buffer{};
    for (ssize_t count; (count = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;)
        output.append(buffer.data(), static_cast<std::size_t>(count));
    close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << command[0] << ": " << output;
    return output;
}

void make_qcow2(const std::string& path, const std::string& size) {
    run({"qemu-img", "create", "-q", "-f", "qcow2", path, size});
}

void make_overlay(const std::string& path, const std::string& backing, const std::string& format,
                  const std::string& size) {
    run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "-u",
         "-F", format, "-b", backing, path, size});
}

bool reads(const std::string& path, const std::string& format, std::uint64_t offset,
           std::uint64_t length, int pattern) {
    // -U: a running guest holds the file's lock.
    const auto output = run({"qemu-io", "-U", "-r", "-f", format, "-c",
                             fmt::format("read -P {} {} {}", pattern, offset, length), path});
    return output.find("read " + std::to_string(length)) != std::string::npos &&
           output.find("failed") == std::string::npos;
}

bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
}

std::string Guest::definition(const std::string& name, const VmId& id,
                              const std::vector<Disk>& disks, const std::string& more_devices,
                              const std::string& os) {
    std::string devices;
    for (const auto& disk : disks)
        devices += fmt::format(
            "<disk type='file' device='disk'><driver name='qemu' type='{}' discard='unmap'/>"
            "<source file='{}'/><target dev='{}' bus='virtio'/></disk>",
            disk.format, disk.path, disk.target);
    return fmt::format(
        "<domain type='qemu'><name>{}</name><uuid>{}</uuid><memory unit='MiB'>64</memory>"
        "<vcpu>1</vcpu><os {}</os><features><acpi/></features>"
        "<devices>{}{}<memballoon model='none'/><controller type='usb' model='none'/></devices>"
        "</domain>",
        name, id.text(), os.empty() ? "><type arch='x86_64' machine='pc'>hvm</type>" : os.c_str(),
        devices, more_devices);
}

Guest::Guest(const std::string& name, const std::vector<Disk>& disks,
             const std::string& more_devices, const std::string& os)
    : id_(VmId::random()) {
    auto defined =
        EmbedHost::instance().hypervisor->define(definition(name, id_, disks, more_devices, os));
    EXPECT_TRUE(defined) << defined.error().text();
}

Guest::Guest(const VmId& id, const std::string& name, const std::vector<Disk>& disks) : id_(id) {
    auto defined = EmbedHost::instance().hypervisor->define(definition(name, id_, disks, {}, {}));
    EXPECT_TRUE(defined) << defined.error().text();
}

std::unique_ptr<Guest> Guest::existing(const VmId& id) {
    return std::unique_ptr<Guest>(new Guest(id));
}

std::unique_ptr<Guest> Guest::defined_by(const std::string& domain_xml) {
    auto defined = EmbedHost::instance().hypervisor->define(domain_xml);
    EXPECT_TRUE(defined) << defined.error().text();
    const auto document = parse_domain(domain_xml).value_or(pugi::xml_document{});
    const auto id = VmId::parse(text_of(document.child("domain").child("uuid")));
    EXPECT_TRUE(id.has_value());
    return existing(id.value_or(VmId::random()));
}

Guest::~Guest() {
    auto& hypervisor = *EmbedHost::instance().hypervisor;
    auto stopped = hypervisor.stop(id_);
    EXPECT_TRUE(stopped) << stopped.error().text();
    if (auto domain = domain_of(id_)) {
        virDomainManagedSaveRemove(domain.get(), 0);
        virDomainUndefineFlags(domain.get(), VIR_DOMAIN_UNDEFINE_KEEP_NVRAM);
    }
}

void Guest::start() {
    auto started = EmbedHost::instance().hypervisor->start(id_);
    ASSERT_TRUE(started) << started.error().text();
}

std::string Guest::monitor(const std::string& human_command) {
    auto domain = domain_of(id_);
    char* result = nullptr;
    EXPECT_EQ(virDomainQemuMonitorCommand(domain.get(), human_command.c_str(), &result,
                                          VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP),
              0)
        << human_command;
    const Text owned(result);
    return result != nullptr ? result : "";
}

std::string Guest::qmp(const std::string& command) {
    auto domain = domain_of(id_);
    char* result = nullptr;
    EXPECT_EQ(virDomainQemuMonitorCommand(domain.get(), command.c_str(), &result, 0), 0) << command;
    const Text owned(result);
    return result != nullptr ? result : "";
}

void Guest::write(const std::string& target, std::uint64_t offset, std::uint64_t length,
                  int pattern) {
    // vda is virtio-disk0, vdb is virtio-disk1.
    const auto device =
        fmt::format("/machine/peripheral/virtio-disk{}/virtio-backend", target.back() - 'a');
    const auto said = monitor(
        fmt::format("qemu-io -d {} \"write -P {} {} {}\"", device, pattern, offset, length));
    EXPECT_EQ(said, "");
    monitor(fmt::format("qemu-io -d {} flush", device));
}

void Guest::resize(const std::string& target, std::uint64_t bytes) {
    auto domain = domain_of(id_);
    EXPECT_EQ(
        virDomainBlockResize(domain.get(), target.c_str(), bytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES),
        0);
}

void Guest::begin_commit(const std::string& target, const std::string& base,
                         const std::string& top) {
    auto domain = domain_of(id_);
    EXPECT_EQ(virDomainBlockCommit(domain.get(), target.c_str(), base.c_str(), top.c_str(), 0,
                                   VIR_DOMAIN_BLOCK_COMMIT_ACTIVE),
              0);
}

void Guest::define_while_it_runs(const std::string& xml) {
    auto domain = domain_of(id_);
    const DomainHandle defined(
        virDomainDefineXMLFlags(virDomainGetConnect(domain.get()), xml.c_str(), 0));
    EXPECT_TRUE(defined) << virGetLastErrorMessage();
}

void Guest::save_memory() {
    auto domain = domain_of(id_);
    EXPECT_EQ(virDomainManagedSave(domain.get(), 0), 0) << virGetLastErrorMessage();
}

std::string Guest::xml(bool inactive) {
    auto domain = domain_of(id_);
    return domain_xml(domain.get(), inactive ? unsigned{VIR_DOMAIN_XML_INACTIVE} : 0u).value_or("");
}

std::vector<std::string> Guest::chain(const std::string& target) {
    return chain_of(xml(false), target).value_or(std::vector<std::string>{});
}

}  // namespace understudy::libvirt::testing
