#include "hypervisor/libvirt/glance.hpp"

#include "base/fd.hpp"
#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/picture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>

// Looks at a running guest: its screen, its agent, a TCP port. Each is bounded: a picture by
// kMaxPicture, the agent by 5 s, a connection by 1 s for each of at most 8 addresses and each
// bridge. A connection is bound to a bridge of the guest, so that another machine with the same
// address cannot answer. Nothing is changed or kept.

namespace understudy::libvirt {
namespace {

constexpr int kAgentSeconds = 5;
constexpr int kConnectMs = 1000;
constexpr std::size_t kMostAddresses = 8;  // that are tried, of a guest with more

struct FreeInterfaces {
    void operator()(virDomainInterfacePtr* list) const {
        for (int i = 0; i < count; ++i) virDomainInterfaceFree(list[i]);
        std::free(static_cast<void*>(list));
    }
    int count = 0;
};

std::set<std::string> known_addresses(virDomainPtr domain) {
    std::set<std::string> found;
    for (const auto source :
         {VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP}) {
        virDomainInterfacePtr* list = nullptr;
        const int count =
            virDomainInterfaceAddresses(domain, &list, static_cast<unsigned>(source), 0);
        if (count < 0) {
            virResetLastError();
            continue;
        }
        const std::unique_ptr<virDomainInterfacePtr, FreeInterfaces> owner(list, {count});
        for (int i = 0; i < count; ++i)
            for (unsigned j = 0; j < list[i]->naddrs && found.size() < kMostAddresses; ++j)
                found.insert(list[i]->addrs[j].addr);
    }
    return found;
}

// The host's names of the bridges that its cards are plugged into.
std::set<std::string> bridges_of(const std::string& live) {
    std::set<std::string> found;
    auto document = parse_domain(live);
    if (!document) return found;
    for (const auto interface : devices_of(*document).children("interface"))
        if (auto bridge = attribute_of(interface.child("source"), "bridge"); !bridge.empty())
            found.insert(std::move(bridge));
    return found;
}

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
};

bool parse_address(const std::string& text, std::uint16_t port, const std::string& bridge,
                   Address& into) {
    auto* four = reinterpret_cast<sockaddr_in*>(&into.storage);
    if (inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        into.length = sizeof(sockaddr_in);
        return true;
    }
    auto* six = reinterpret_cast<sockaddr_in6*>(&into.storage);
    if (inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) != 1) return false;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    six->sin6_scope_id = if_nametoindex(bridge.c_str());
    into.length = sizeof(sockaddr_in6);
    return true;
}

// The socket is bound to the bridge. A copy has its original's address, and this host may reach
// that by another way; the original must not be the one that answers.
Result<bool> connects(const Address& to, const std::string& bridge) {
    const Fd socket(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail(errno_error(errno, "open a socket"));
    if (setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, bridge.c_str(),
                   static_cast<socklen_t>(bridge.size())) != 0)
        return fail(errno_error(errno, "bind a socket to " + bridge));
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length) == 0)
        return true;
    if (errno != EINPROGRESS) return false;
    pollfd writable{socket.get(), POLLOUT, 0};
    if (poll(&writable, 1, kConnectMs) != 1) return false;
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

Result<std::string> screenshot(virDomainPtr domain) {
    const auto connection = virDomainGetConnect(domain);
    const StreamHandle stream(virStreamNew(connection, 0));
    if (!stream) return fail(last_error(connection, "open a stream"));
    const Text type(virDomainScreenshot(domain, stream.get(), 0, 0));
    if (!type) return fail(domain_error(domain, "take a screenshot of"));
    std::string picture;
    std::array<char, 65536> part;
    while (true) {
        const int got = virStreamRecv(stream.get(), part.data(), part.size());
        if (got == 0) break;
        if (got > 0) picture.append(part.data(), static_cast<std::size_t>(got));
        if (got > 0 && picture.size() <= kMaxPicture) continue;
        auto error = got < 0 ? domain_error(domain, "take a screenshot of")
                             : Error(ErrorKind::unsupported, "the screenshot is too large");
        virStreamAbort(stream.get());
        return fail(std::move(error));
    }
    if (virStreamFinish(stream.get()) < 0) virResetLastError();  // the picture is here
    return as_png(picture);
}

Result<bool> agent_answers(virDomainPtr domain) {
    auto live = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    auto connected = agent_connected(live);
    if (!connected || !*connected) return connected;
    const Text answer(
        virDomainQemuAgentCommand(domain, R"({"execute":"guest-ping"})", kAgentSeconds, 0));
    if (!answer) virResetLastError();
    return answer != nullptr;
}

Result<bool> answers_on(virDomainPtr domain, const std::string& address, std::uint16_t port) {
    auto live = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    const auto addresses =
        address.empty() ? known_addresses(domain) : std::set<std::string>{address};
    for (const auto& bridge : bridges_of(live))
        for (const auto& text : addresses) {
            Address to;
            if (!parse_address(text, port, bridge, to))
                return fail(ErrorKind::invalid, fmt::format("'{}' is no numeric IP address", text));
            auto connected = connects(to, bridge);
            if (!connected || *connected) return connected;
        }
    return false;
}

}  // namespace understudy::libvirt
