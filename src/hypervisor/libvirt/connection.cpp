#include "hypervisor/libvirt/connection.hpp"

#include "base/durable_file.hpp"
#include "hypervisor/libvirt/embed_status.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>

// The connection to libvirt, and libvirt's event loop. The first get() of the process starts the
// loop in a thread that runs until the process ends. get() gives a live connection: a dead one is
// closed and opened again. For an embedded driver it first writes the driver's settings, if there
// are none, and removes what starts that were cut off have left (embed_status). Thread-safe.
// Nothing else is kept.

namespace understudy::libvirt {
namespace {

constexpr std::string_view kEmbed = "qemu:///embed?root=";
constexpr int kKeepAliveSeconds = 5;
constexpr unsigned kKeepAliveCount = 3;

// The settings that an embedded QEMU driver needs on a host without virtlogd, cgroup delegation and
// confinement. They are written once; a file that exists is the operator's and stays.
constexpr std::string_view kEmbedSettings =
    "user = \"root\"\ngroup = \"root\"\nstdio_handler = \"file\"\n"
    "security_driver = \"none\"\ndynamic_ownership = 0\n"
    "cgroup_controllers = []\nnamespaces = []\n";

void ignore_error(void*, virErrorPtr) {}

// libvirt's event loop: timers, keep-alives and, if embedded, the guests' monitors. There is one
// per process, and it runs until the process ends, because libvirt cannot unregister it.
bool start_event_loop() {
    // Calls return their errors. The embedded driver's log would repeat them on stderr.
    setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
    if (virInitialize() != 0) return false;
    virSetErrorFunc(nullptr, ignore_error);
    if (virEventRegisterDefaultImpl() != 0) return false;
    std::thread([] {
        while (true) virEventRunDefaultImpl();
    }).detach();
    return true;
}

Result<> write_embed_settings(const std::filesystem::path& root) {
    std::error_code error;
    const auto file = root / "etc" / "qemu.conf";
    if (std::filesystem::exists(file, error)) return {};
    std::filesystem::create_directories(file.parent_path(), error);
    if (error) return fail(errno_error(error.value(), "make " + file.parent_path().string()));
    return base::replace_file(file.string(), kEmbedSettings, 0644);
}

std::optional<char> percent_decoded(std::string_view digits) {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + 2, value, 16);
    if (error != std::errc{} || end != digits.data() + 2) return std::nullopt;
    return static_cast<char>(value);
}

}  // namespace

std::string embed_root(const std::string& uri) {
    if (!uri.starts_with(kEmbed)) return {};
    const auto rest = std::string_view(uri).substr(kEmbed.size());
    const auto encoded = rest.substr(0, rest.find('&'));
    std::string root;
    for (std::size_t i = 0; i < encoded.size(); ++i) {
        if (encoded[i] == '%' && i + 2 < encoded.size()) {
            if (const auto decoded = percent_decoded(encoded.substr(i + 1, 2))) {
                root += *decoded;
                i += 2;
                continue;
            }
        }
        root += encoded[i];
    }
    return root;
}

Result<ConnectionHandle> Connection::get() {
    static const bool event_loop_runs = start_event_loop();
    if (!event_loop_runs) return fail(ErrorKind::internal, "libvirt's event loop did not start");

    const std::scoped_lock lock(mutex_);
    if (connection_ && virConnectIsAlive(connection_.get()) != 1) connection_.reset();
    if (!connection_) {
        const auto root = embed_root(uri_);
        if (!root.empty()) {
            UNDERSTUDY_TRY(write_embed_settings(root));
            UNDERSTUDY_TRY(forget_half_started(root));
        }
        connection_.reset(virConnectOpen(uri_.c_str()));
        if (!connection_) {
            auto error = last_error(nullptr, fmt::format("connect to libvirt at {}", uri_));
            if (error.kind() == ErrorKind::invalid) return fail(std::move(error));
            return fail(
                Error(ErrorKind::unavailable, error.what())
                    .advising(
                        root.empty()
                            ? "See `systemctl status libvirtd` (or virtqemud)."
                            : "Another process may be using this directory: a root has one."));
        }
        // An embedded or test driver has no keep-alive; that is not an error.
        virConnectSetKeepAlive(connection_.get(), kKeepAliveSeconds, kKeepAliveCount);
        virResetLastError();
    }
    virConnectRef(connection_.get());
    return ConnectionHandle(connection_.get());
}

Result<DomainHandle> find_domain(virConnectPtr connection, const VmId& vm) {
    DomainHandle domain(virDomainLookupByUUID(connection, vm.bytes().data()));
    if (!domain) return fail(last_error(connection, fmt::format("look up VM {}", vm.text())));
    return domain;
}

Result<std::string> domain_xml(virDomainPtr domain, unsigned flags) {
    const Text text(virDomainGetXMLDesc(domain, flags));
    if (!text) return fail(domain_error(domain, "read the definition of"));
    return std::string(text.get());
}

Result<bool> is_active(virDomainPtr domain) {
    const int active = virDomainIsActive(domain);
    if (active < 0) return fail(domain_error(domain, "look at"));
    return active == 1;
}

}  // namespace understudy::libvirt
