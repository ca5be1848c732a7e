#include "hypervisor/libvirt/definition/adapt_steps.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <string_view>

// Turns a definition into one for a drill, after all other steps: the console is also logged to a
// file, a guest without a screen gets one, displays listen on 127.0.0.1 only, devices that reach
// other machines without being network cards are removed or replaced, and a guest that crashes does
// not stay behind. note_facts reads agent, console and memory from the finished definition, of a
// drill or not. Pure: the document is changed in place.

namespace understudy::libvirt {
namespace {

// Firmware, boot loader and kernel write to the first serial line. Without one, to the first
// console.
pugi::xml_node console_of(const Adapting& work) {
    if (auto serial = work.devices().child("serial")) return serial;
    return work.devices().child("console");
}

void log_console(const Adapting& work) {
    auto console = console_of(work);
    if (!console || work.request.console_log.empty()) return;
    remove_children(console, "log");
    auto log = console.append_child("log");
    set_attribute(log, "file", work.request.console_log);
    set_attribute(log, "append", "on");  // so that the file can be cut short while it grows
    work.change(fmt::format("{}: also to {}", console.name(), work.request.console_log));
}

// Only for a guest without any screen: one that has a screen keeps the same hardware.
void give_a_screen(const Adapting& work) {
    static const std::set<std::string_view> pc{"x86_64", "i686"};
    auto video = work.devices().child("video");
    const bool none = !video || attribute_of(video.child("model"), "type") == "none";
    if (!none || !pc.contains(attribute_of(work.domain.child("os").child("type"), "arch"))) return;
    if (video) work.devices().remove_child(video);
    set_attribute(work.devices().append_child("video").append_child("model"), "type", "vga");
    work.change("video: a VGA card, for the screenshot");
}

// Nobody else can look in, and nothing that others use (a port, a socket) is asked for twice.
void hide_displays(const Adapting& work) {
    for (auto graphics : work.devices().children("graphics")) {
        if (attribute_of(graphics, "type") != "vnc" && attribute_of(graphics, "type") != "spice")
            continue;
        work.change(fmt::format("display: {}, on 127.0.0.1 only", attribute_of(graphics, "type")));
        for (const char* place : {"socket", "port", "tlsPort", "websocket"})
            graphics.remove_attribute(place);
        remove_children(graphics, "listen");
        set_attribute(graphics, "autoport", "yes");
        set_attribute(graphics, "listen", "127.0.0.1");
    }
}

// Devices that talk to other machines without being network cards.
void cut_other_lines(const Adapting& work) {
    for (auto redirected : children_of(work.devices(), "redirdev")) {
        if (attribute_of(redirected, "type") == "spicevmc") continue;
        work.change("redirdev: removed");
        work.devices().remove_child(redirected);
    }
    for (auto rng : work.devices().children("rng")) {
        auto backend = rng.child("backend");
        if (attribute_of(backend, "model") != "egd") continue;
        work.change("rng: egd → /dev/urandom");
        rng.remove_child(backend);
        backend = rng.append_child("backend");
        set_attribute(backend, "model", "random");
        backend.text().set("/dev/urandom");
    }
    if (auto cid = work.devices().child("vsock").child("cid")) {
        cid.remove_attribute("address");
        set_attribute(cid, "auto", "yes");
    }
}

// 0: stated in a way that is not understood here. Units of libvirt's "scaled integers".
ByteSize memory_of(pugi::xml_node domain) {
    static const std::map<std::string, std::uint64_t> units{
        {"b", 1},         {"bytes", 1},   {"", 1 << 10},     {"k", 1 << 10},
        {"KiB", 1 << 10}, {"M", 1 << 20}, {"MiB", 1 << 20},  {"G", 1 << 30},
        {"GiB", 1 << 30}, {"KB", 1'000},  {"MB", 1'000'000}, {"GB", 1'000'000'000}};
    const auto memory = domain.child("memory");
    const auto text = text_of(memory);
    std::uint64_t count = 0;
    std::from_chars(text.data(), text.data() + text.size(), count);
    const auto unit = units.find(attribute_of(memory, "unit"));
    if (unit == units.end() || count > std::numeric_limits<std::uint64_t>::max() / unit->second)
        return {};
    return ByteSize(count * unit->second);
}

}  // namespace

void adapt_rehearsal(const Adapting& work) {
    log_console(work);
    give_a_screen(work);
    hide_displays(work);
    cut_other_lines(work);
    // A guest that crashes must not stay behind as it is, nor fill the host with a dump of its
    // memory.
    const auto on_crash = text_of(work.domain.child("on_crash"));
    if (on_crash.empty() || on_crash == "restart" || on_crash == "destroy") return;
    work.change(fmt::format("on_crash: {} → destroy", on_crash));
    set_text(work.domain, "on_crash", "destroy");
}

void note_facts(const Adapting& work) {
    for (const auto channel : work.devices().children("channel"))
        if (attribute_of(channel.child("target"), "name") == "org.qemu.guest_agent.0")
            work.adapted.has_agent = true;
    const auto log = console_of(work).child("log");
    work.adapted.has_console =
        !work.request.console_log.empty() && attribute_of(log, "file") == work.request.console_log;
    work.adapted.memory = memory_of(work.domain);
}

}  // namespace understudy::libvirt
