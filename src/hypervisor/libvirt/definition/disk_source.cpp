#include "hypervisor/libvirt/definition/disk_source.hpp"

#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <string_view>

// A disk's <source>, read and written: a file, or an RBD image with its monitors and its login.
// put_source leaves nothing of the former source that would not fit the new one (layers, mirror,
// encryption, login), and keeps what else the operator wrote about a file. why_unsupported names
// the first reason why a disk cannot travel. Pure: no I/O; the document is changed in place.

namespace understudy::libvirt {
namespace {

bool is_rbd(pugi::xml_node disk) {
    return attribute_of(disk, "type") == "network" &&
           attribute_of(disk.child("source"), "protocol") == "rbd";
}

// libvirt moved <auth> into <source>, and still reads it in its old place.
pugi::xml_node auth_of(pugi::xml_node disk) {
    const auto inner = disk.child("source").child("auth");
    return inner ? inner : disk.child("auth");
}

std::string monitor_in(pugi::xml_node host) {
    auto name = attribute_of(host, "name");
    if (name.find(':') != std::string::npos && !name.starts_with('[')) name = "[" + name + "]";
    const auto port = attribute_of(host, "port");
    return port.empty() ? name : fmt::format("{}:{}", name, port);
}

void add_monitor(pugi::xml_node source, std::string_view monitor) {
    auto name = monitor;
    std::string_view port;
    const auto colon = monitor.rfind(':');
    const bool bracketed = monitor.starts_with('[');
    // A bare IPv6 address has several colons and no port.
    if (colon != std::string_view::npos &&
        (bracketed ? monitor[colon - 1] == ']' : monitor.find(':') == colon)) {
        name = monitor.substr(0, colon);
        port = monitor.substr(colon + 1);
    }
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    auto host = source.append_child("host");
    set_attribute(host, "name", std::string(name));
    if (!port.empty()) set_attribute(host, "port", std::string(port));
}

void add_rbd(pugi::xml_node source, const ports::DiskSource& image) {
    set_attribute(source, "protocol", "rbd");
    set_attribute(source, "name", image.location);
    for (const auto& monitor : image.monitors) add_monitor(source, monitor);
    // libvirt takes no user without a secret. Without both, QEMU logs in as the user that ceph.conf
    // gives it.
    if (image.user.empty() || image.secret.empty()) return;
    auto auth = source.append_child("auth");
    set_attribute(auth, "username", image.user);
    auto secret = auth.append_child("secret");
    set_attribute(secret, "type", "ceph");
    set_attribute(secret, "uuid", image.secret);
}

// A new, empty <source> where the old one was.
pugi::xml_node fresh_source(pugi::xml_node disk) {
    const auto old = disk.child("source");
    if (!old) return disk.append_child("source");
    auto fresh = disk.insert_child_before("source", old);
    disk.remove_child(old);
    return fresh;
}

std::string why_image_unsupported(pugi::xml_node disk) {
    const auto source = disk.child("source");
    const auto image = location_of(disk);
    if (image.find('/') == std::string::npos) return "it names no RBD image (POOL/IMAGE)";
    if (source.child("snapshot") || image.find('@') != std::string::npos)
        return fmt::format("it is a snapshot of the RBD image {}; only an image itself travels",
                           image);
    if (const auto format = format_of(disk); format != "raw")
        return fmt::format("it is {} inside an RBD image; only raw ones travel", format);
    return {};
}

std::string why_file_unsupported(pugi::xml_node disk) {
    if (location_of(disk).empty()) return "it has no source file";
    const auto format = format_of(disk);
    if (format == "qcow2" || format == "raw") return {};
    return fmt::format("its format is '{}'; only qcow2 and raw travel", format);
}

}  // namespace

std::string location_of(pugi::xml_node disk) {
    const auto source = disk.child("source");
    return attribute_of(source, is_rbd(disk) ? "name" : "file");
}

std::string format_of(pugi::xml_node disk) {
    const auto format = attribute_of(disk.child("driver"), "type");
    return format.empty() ? "raw" : format;  // libvirt's default: it never probes a disk
}

ports::DiskSource source_of(pugi::xml_node disk) {
    ports::DiskSource source;
    if (const auto type = attribute_of(disk, "type"); !type.empty()) source.type = type;
    source.format = format_of(disk);
    source.location = location_of(disk);
    if (!is_rbd(disk)) return source;
    for (const auto host : disk.child("source").children("host"))
        source.monitors.push_back(monitor_in(host));
    source.user = attribute_of(auth_of(disk), "username");
    source.secret = attribute_of(auth_of(disk).child("secret"), "uuid");
    return source;
}

std::string why_unsupported(pugi::xml_node disk) {
    constexpr std::string_view kKinds = "only disks in qcow2 or raw files and RBD images travel";
    const auto type = attribute_of(disk, "type");
    const auto source = disk.child("source");
    if (type == "block")
        return fmt::format("it is the block device {}; {}", attribute_of(source, "dev"), kKinds);
    if (type == "network" && !is_rbd(disk))
        return fmt::format("it is a network disk ({}); {}", attribute_of(source, "protocol"),
                           kKinds);
    if (type == "volume")
        return "it is given as a libvirt pool's volume; give its file or image itself instead "
               "(type='file' or type='network')";
    if (type != "file" && type != "network")
        return fmt::format("it is of type '{}'; {}", type, kKinds);
    if (attribute_of(disk, "device") == "lun") return "it is a passed-through SCSI LUN";
    if (auto why = is_rbd(disk) ? why_image_unsupported(disk) : why_file_unsupported(disk);
        !why.empty())
        return why;
    if (disk.child("shareable")) return "it is shared with other VMs (<shareable/>)";
    if (disk.child("readonly")) return "it is read-only (<readonly/>) and cannot take a new layer";
    if (disk.child("transient")) return "it is thrown away at shutdown (<transient/>)";
    if (disk.child("encryption") || source.child("encryption"))
        return "it is encrypted with a key that only this host's libvirt has";
    if (source.child("slices")) return "it is a slice of a larger file";
    return {};
}

Result<> put_source(pugi::xml_node disk, const ports::DiskSource& source) {
    const bool image = source.type == "network";
    if (!image && source.type != "file")
        return fail(ErrorKind::unsupported,
                    fmt::format("sources of type '{}' are not known here", source.type));
    auto driver = disk.child("driver");
    if (!driver) driver = disk.prepend_child("driver");
    set_attribute(driver, "name", "qemu");
    set_attribute(driver, "type", source.format);
    if (source.format != "qcow2") remove_children(driver, "metadata_cache");
    // For a file, what else is said about it stays (labels, what to do if it is missing).
    const bool was_file = attribute_of(disk, "type") == "file";
    auto place = !image && was_file ? child_or_new(disk, "source") : fresh_source(disk);
    if (image) {
        add_rbd(place, source);
    } else {
        for (const char* inner : {"slices", "encryption"}) remove_children(place, inner);
        set_attribute(place, "file", source.location);
    }
    set_attribute(disk, "type", source.type);
    for (const char* other : {"backingStore", "mirror", "auth"}) remove_children(disk, other);
    return {};
}

bool is_ceph_login(pugi::xml_node secret) {
    const auto auth = secret.parent();
    if (std::string_view(auth.name()) != "auth") return false;
    const auto above = auth.parent();
    return is_rbd(std::string_view(above.name()) == "source" ? above.parent() : above);
}

}  // namespace understudy::libvirt
