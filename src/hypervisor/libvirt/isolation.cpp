#include "hypervisor/libvirt/isolation.hpp"

#include "hypervisor/libvirt/definition/xml.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/virterror.h>

#include <filesystem>
#include <pugixml.hpp>

namespace understudy::libvirt {
namespace {

namespace fs = std::filesystem;

// A port that is not a guest's may lead anywhere: a card, a bond, a tunnel, another switch.
Result<std::string> way_out_of_bridge(const std::string& name) {
    if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.'))
        return fail(ErrorKind::not_found, fmt::format("there is no network '{}' here", name));
    const fs::path bridge = fs::path("/sys/class/net") / name;
    std::error_code error;
    if (!fs::is_directory(bridge / "bridge", error))
        return fail(Error(ErrorKind::not_found,
                          fmt::format("there is no network or bridge '{}' here", name))
                        .advising("`virsh net-list --all` shows libvirt's networks."));
    for (const auto& port : fs::directory_iterator(bridge / "brif", error)) {
        const auto device = port.path().filename();
        if (!fs::exists(fs::path("/sys/class/net") / device / "tun_flags", error))
            return fmt::format("{} is plugged into it", device.string());
    }
    return std::string();
}

Result<std::string> way_out(virConnectPtr connection, const std::string& name) {
    const NetworkHandle network(virNetworkLookupByName(connection, name.c_str()));
    if (!network) {
        virResetLastError();  // no such network, or a libvirt without networks: it may be a bridge
        return way_out_of_bridge(name);
    }
    const Text xml(virNetworkGetXMLDesc(network.get(), 0));
    if (!xml) return fail(last_error(connection, "read network " + name));
    return way_out_of(xml.get());
}

}  // namespace

Result<std::string> way_out_of(const std::string& network_xml) {
    pugi::xml_document document;
    if (network_xml.size() > kMaxDefinitionBytes || !document.load_string(network_xml.c_str()))
        return fail(ErrorKind::invalid, "the network's definition cannot be read");
    const auto network = document.child("network");
    if (!network) return fail(ErrorKind::invalid, "the network's definition cannot be read");
    if (const auto forward = network.child("forward")) {
        const auto mode = attribute_of(forward, "mode");
        return fmt::format("it forwards ({})", mode.empty() ? "nat" : mode);
    }
    return std::string();
}

Result<> check_isolated(virConnectPtr connection, const std::string& name) {
    auto out = UNDERSTUDY_VALUE(way_out(connection, name));
    if (out.empty()) return {};
    return fail(Error(ErrorKind::refused, fmt::format("network {} is not isolated: {}", name, out))
                    .advising("Give a libvirt network without <forward>, or a bridge that nothing "
                              "but guests is plugged into."));
}

}  // namespace understudy::libvirt
