#include "base/shell_word.hpp"
#include "hypervisor/libvirt/definition/adapt_steps.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <set>
#include <string_view>

// Network cards: each is plugged into the network or bridge that the operator's map names, or into
// the one of the same name here. In a drill it is unplugged, or plugged into the isolated network
// alone. check_apart refuses an isolated network that the VM itself belongs to. Cards that were
// passed through are removed with the other host devices (adapt_devices.cpp). Pure: the document is
// changed in place.

namespace understudy::libvirt {
namespace {

// The card stays in its slot, so that the guest finds its hardware as it was, but it is unplugged:
// QEMU drops every packet while the link is down, and a guest cannot plug it in. (type='null' would
// say it better, but libvirt 9.0.0 crashes when it starts a domain with one.)
void unplug(pugi::xml_node interface) {
    static const std::set<std::string_view> kept{"mac",  "model", "address", "alias",
                                                 "boot", "rom",   "mtu"};
    auto child = interface.first_child();
    while (child) {
        const auto next = child.next_sibling();
        if (!kept.contains(child.name())) interface.remove_child(child);
        child = next;
    }
    interface.remove_attribute("managed");
    interface.remove_attribute("trustGuestRxFilters");
    set_attribute(interface, "type", "user");
    set_attribute(interface.append_child("link"), "state", "down");
}

// The name that the operator maps: a libvirt network, a bridge, or a host's network card.
std::string name_there(pugi::xml_node interface) {
    const auto type = attribute_of(interface, "type");
    const auto source = interface.child("source");
    if (type == "network") return attribute_of(source, "network");
    if (type == "bridge") return attribute_of(source, "bridge");
    if (type == "direct") return attribute_of(source, "dev");
    return {};
}

void plug_into(pugi::xml_node interface, const std::string& type, const std::string& here) {
    set_attribute(interface, "type", type);
    remove_children(interface, "source");
    set_attribute(interface.prepend_child("source"), type.c_str(), here);
    // These describe a port of the switch that the card was on.
    for (const char* child : {"virtualport", "target", "vlan", "actual"})
        remove_children(interface, child);
}

// As `unplug`, but on a network of its own. The card keeps its MAC address: a guest knows its card
// by that, and no other card with it is on this network.
void isolate(const Adapting& work, pugi::xml_node interface) {
    const auto& name = work.request.isolated_network;
    const bool network = work.facts.networks.contains(name);
    if (!network && !work.facts.bridges.contains(name))
        work.block(
            fmt::format("network:{}", name),
            fmt::format("there is no network or bridge {} here; see `virsh net-list --all`", name));
    unplug(interface);
    remove_children(interface, "link");
    plug_into(interface, network ? "network" : "bridge", name);
}

void connect(const Adapting& work, pugi::xml_node interface, const std::string& there) {
    const auto mapped = work.request.networks.find(there);
    const bool is_mapped = mapped != work.request.networks.end();
    const auto& here = is_mapped ? mapped->second : there;
    const bool network = work.facts.networks.contains(here);
    const bool bridge = work.facts.bridges.contains(here);
    if (!network && !bridge) {
        work.block(fmt::format("network:{}", there),
                   is_mapped
                       ? fmt::format("network {} is mapped to {}, which is not here; see `virsh "
                                     "net-list --all`, or map it to another with `understudy peer "
                                     "map PEER network {}=HERE`",
                                     there, here, base::shell_word(there))
                       : fmt::format("there is no network {} here; say which one to use with "
                                     "`understudy peer map PEER network {}=HERE`",
                                     there, base::shell_word(there)));
        return;
    }
    const auto type = attribute_of(interface, "type");
    // If a network and a bridge both have that name, a card on a bridge stays on a bridge.
    const std::string new_type = bridge && (type == "bridge" || !network) ? "bridge" : "network";
    if (here == there && new_type == type) return;
    work.change(fmt::format("network {} {} → {} {}", type, there, new_type, here));
    plug_into(interface, new_type, here);
}

}  // namespace

Result<> check_apart(const Adapting& work) {
    const auto& apart = work.request.isolated_network;
    for (const auto interface : work.devices().children("interface")) {
        const auto there = name_there(interface);
        const auto mapped = work.request.networks.find(there);
        if (apart.empty() ||
            apart != (mapped == work.request.networks.end() ? there : mapped->second))
            continue;
        return fail(
            Error(ErrorKind::refused, fmt::format("{} is a network of the VM itself", apart))
                .advising("A copy goes into one that nothing else is in."));
    }
    return {};
}

void adapt_interfaces(const Adapting& work) {
    for (auto interface : children_of(work.devices(), "interface")) {
        const auto type = attribute_of(interface, "type");
        if (type == "hostdev" || type == "vdpa") continue;  // with the host devices
        if (work.request.cut_off && !work.request.isolated_network.empty()) {
            work.change(fmt::format("network card on {} {} → {}, on its own", type,
                                    name_there(interface), work.request.isolated_network));
            isolate(work, interface);
            continue;
        }
        if (work.request.new_id) remove_children(interface, "mac");  // libvirt makes a new one
        if (work.request.cut_off) {
            work.change(
                fmt::format("network card on {} {}: unplugged", type, name_there(interface)));
            unplug(interface);
            continue;
        }
        if (const auto there = name_there(interface); !there.empty())
            connect(work, interface, there);
        else if (type != "user" && type != "null")
            work.warn(fmt::format("network:{}", type),
                      fmt::format("a network card of type '{}' is kept as it is; check that what "
                                  "it refers to is here",
                                  type));
    }
}

}  // namespace understudy::libvirt
