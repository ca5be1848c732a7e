#include "hypervisor/libvirt/definition/adapt_steps.hpp"
#include "hypervisor/libvirt/definition/obstacles.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string_view>

// Devices: serial lines, consoles and channels, displays, the TPM, what was passed through from the
// old host, and arguments for QEMU itself. A device that cannot be had here is replaced (a line
// becomes a terminal, a display listens on 127.0.0.1) or removed, with an issue. A copy with a new
// UUID gets none of the original's files, sockets and display ports. Pure but for `facts.exists`:
// the document is changed in place.

namespace understudy::libvirt {
namespace {

void become_pty(pugi::xml_node device) {
    set_attribute(device, "type", "pty");
    remove_children(device, "source");
    remove_children(device, "protocol");
    remove_children(device, "log");
}

void adapt_character_device(const Adapting& work, pugi::xml_node device) {
    const auto type = attribute_of(device, "type");
    const auto path = attribute_of(device.child("source"), "path");
    const std::string name = device.name();
    const auto parent = std::filesystem::path(path).parent_path().string();
    if (const auto log = attribute_of(device.child("log"), "file"); !log.empty()) {
        const auto log_parent = std::filesystem::path(log).parent_path().string();
        if (work.request.new_id || !work.facts.exists(log_parent)) {
            work.change(fmt::format("{}: no log in {}", name, log));
            remove_children(device, "log");
        }
    }
    if (type == "unix" && name == "channel") {
        // libvirt keeps such sockets in a directory of its own, named after the running VM. A path
        // in the definition is the old host's, or that of the original, which still runs here.
        const bool automatic = path.find("/channel/target/") != std::string::npos;
        const bool agent = attribute_of(device.child("target"), "name") == "org.qemu.guest_agent.0";
        if (path.empty() ||
            (!automatic && !agent && !work.request.new_id && work.facts.exists(parent)))
            return;
        if (!automatic) work.change(fmt::format("channel: {} → chosen by libvirt", path));
        remove_children(device, "source");
        return;
    }
    const bool refers = type == "file" || type == "dev" || type == "pipe" || type == "unix";
    const bool missing =
        refers && !work.facts.exists(type == "dev" || type == "pipe" ? path : parent);
    const bool talks = type == "tcp" || type == "udp";
    if (missing) {
        work.warn(fmt::format("{}:{}", name, path),
                  fmt::format("the VM's {} goes to {}, which cannot be opened here; it goes to a "
                              "terminal instead (`virsh console`)",
                              name, path));
    } else if (!(work.request.new_id && refers) && !(work.request.cut_off && talks)) {
        return;
    }
    work.change(fmt::format("{}: {} {} → pty", name, type, path));
    become_pty(device);
}

template <class KeyOf>
void remove_all(const Adapting& work, const char* element, const std::string& why, KeyOf key_of) {
    for (const auto device : children_of(work.devices(), element)) {
        const std::string key = key_of(device);
        if (key.empty()) continue;
        work.block(key, why);
        work.change(fmt::format("{}: removed", key));
        work.devices().remove_child(device);
    }
}

void adapt_tpm(const Adapting& work) {
    for (const auto tpm : children_of(work.devices(), "tpm")) {
        const bool emulated = attribute_of(tpm.child("backend"), "type") == "emulator";
        const bool stays = emulated && work.facts.tpm_emulator && secrets_in(tpm).empty();
        work.block("tpm", stays ? "the VM comes up with a fresh TPM: what is sealed to the old one "
                                  "(BitLocker, LUKS) asks for its recovery key"
                                : "the VM comes up without its TPM, which cannot be had here; for "
                                  "an emulated one install swtpm");
        work.change(stays ? "TPM: fresh" : "TPM: removed");
        if (!stays) work.devices().remove_child(tpm);
    }
}

}  // namespace

void adapt_character_devices(const Adapting& work) {
    for (const char* element : {"serial", "console", "parallel", "channel"})
        for (const auto device : children_of(work.devices(), element))
            adapt_character_device(work, device);
}

void adapt_graphics(const Adapting& work) {
    static const std::set<std::string> anywhere{"",   "0.0.0.0", "127.0.0.1",
                                                "::", "::1",     "localhost"};
    for (auto graphics : children_of(work.devices(), "graphics")) {
        const auto type = attribute_of(graphics, "type");
        if (!work.facts.graphics.empty() && !work.facts.graphics.contains(type))
            work.block(
                fmt::format("graphics:{}", type),
                fmt::format("this host's QEMU has no {} display; use vnc in the source VM", type));
        if (work.request.new_id && !attribute_of(graphics, "port").empty()) {
            set_attribute(graphics, "autoport", "yes");  // the original has its port
            graphics.remove_attribute("port");
            graphics.remove_attribute("tlsPort");
        }
        const auto address = attribute_of(graphics, "listen");
        if (anywhere.contains(address) || work.facts.addresses.contains(address)) continue;
        work.warn("graphics-address",
                  fmt::format("the display listens on {}, which is not this host's; it listens on "
                              "127.0.0.1",
                              address));
        work.change(fmt::format("display: {} → 127.0.0.1", address));
        set_attribute(graphics, "listen", "127.0.0.1");
        for (auto listen : graphics.children("listen"))
            if (attribute_of(listen, "address") == address)
                set_attribute(listen, "address", "127.0.0.1");
    }
}

void adapt_untravelled_devices(const Adapting& work) {
    adapt_tpm(work);
    const auto by_address = [](pugi::xml_node device) {
        return fmt::format("hostdev:{}", hostdev_address(device));
    };
    remove_all(work, "hostdev", "a device of the old host was passed through to the VM",
               by_address);
    remove_all(work, "interface", "a network card of the old host was passed through to the VM",
               [&](pugi::xml_node device) {
                   const auto type = attribute_of(device, "type");
                   return type == "hostdev" || type == "vdpa" ? by_address(device) : "";
               });
    remove_all(work, "filesystem", "a directory of the old host was shared with the VM",
               [](pugi::xml_node device) {
                   return fmt::format("filesystem:{}", attribute_of(device.child("target"), "dir"));
               });
    remove_all(work, "memory", "the VM had persistent memory of the old host",
               [](pugi::xml_node device) -> std::string {
                   const auto kind = attribute_of(device, "model");
                   return kind == "nvdimm" || kind == "virtio-pmem" ? "memory-device" : "";
               });
    if (work.domain.child("launchSecurity"))
        work.block("launch-security",
                   "the VM's memory was encrypted for its old host (<launchSecurity>)");
    for (const auto& secret : secrets_in(work.domain))
        work.block(fmt::format("secret:{}", secret),
                   fmt::format("the definition refers to libvirt secret {}, which did not travel; "
                               "define it here",
                               secret));
}

// Arguments that libvirt passes to QEMU without reading them. Nobody knows what they open.
void adapt_qemu_arguments(const Adapting& work) {
    auto child = work.domain.first_child();
    while (child) {
        const auto next = child.next_sibling();
        const std::string_view name = child.name();
        if (name.ends_with(":commandline")) {
            if (work.request.cut_off) {
                work.change("QEMU arguments of its own: removed, they could reach the network");
                pugi::xml_node(work.domain).remove_child(child);
            } else {
                work.warn("qemu-arguments",
                          "the definition hands arguments of its own to QEMU; they are kept, and "
                          "may not suit this host");
            }
        }
        child = next;
    }
}

}  // namespace understudy::libvirt
