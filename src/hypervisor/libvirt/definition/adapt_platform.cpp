#include "hypervisor/libvirt/definition/adapt_steps.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <string_view>

// The virtual board: hypervisor type, emulator, machine type, CPU, firmware and its variables, a
// kernel from the host, placement on the host. Each function is one step: it keeps what this host
// has, takes the nearest thing that it has, with a warning, or leaves the definition as it is, with
// a blocking issue. adapt_cpu needs the outcome of adapt_hypervisor_type. Pure but for
// `facts.exists`: the document is changed in place.

namespace understudy::libvirt {
namespace {

std::string file_name(const std::string& path) {
    return std::filesystem::path(path).filename().string();
}

// The file of variables fits only code of the same flash size, and secure boot must stay as it was.
// Distributions show both in the image's name: OVMF_CODE_4M.secboot.fd.
struct LoaderKind {
    bool four_mib = false;
    bool secure = false;
    bool operator==(const LoaderKind&) const = default;
};

LoaderKind kind_of_loader(const std::string& path, bool secure_attribute) {
    const auto name = file_name(path);
    const auto has = [&name](std::string_view part) { return name.find(part) != name.npos; };
    return {has("4M") || has(".4m."), secure_attribute || has("secboot") || has(".ms.")};
}

// An image of this host that can be used in place of one that is not here.
std::optional<std::string> equivalent_loader(const HostFacts& facts, const std::string& path,
                                             bool secure) {
    for (const auto& loader : facts.loaders) {
        if (file_name(loader) == file_name(path)) return loader;
        const auto beside = (std::filesystem::path(loader).parent_path() / file_name(path));
        if (facts.exists(beside.string())) return beside.string();
    }
    for (const auto& loader : facts.loaders)
        if (kind_of_loader(loader, false) == kind_of_loader(path, secure)) return loader;
    return std::nullopt;
}

// Lets libvirt choose the image: whether it is for secure boot stays, and the former choice goes.
void choose_automatically(pugi::xml_node os) {
    auto loader = os.child("loader");
    if (!loader) return;
    const auto secure = attribute_of(loader, "secure");
    os.remove_child(loader);
    if (!secure.empty()) set_attribute(os.append_child("loader"), "secure", secure);
}

bool boots_by_uefi(pugi::xml_node os) {
    return attribute_of(os, "firmware") == "efi" ||
           attribute_of(os.child("loader"), "type") == "pflash" || os.child("nvram");
}

void adapt_loader(const Adapting& work, pugi::xml_node os) {
    const bool automatic = attribute_of(os, "firmware") == "efi";
    auto loader = os.child("loader");
    const auto path = text_of(loader);
    if (!path.empty() && work.facts.exists(path)) {
        if (!automatic) return;
        // The same image that was chosen there is here, so it is kept and not chosen anew.
        os.remove_attribute("firmware");
        remove_children(os, "firmware");
        return;
    }
    if (automatic) {
        if (work.facts.loaders.empty())
            work.block("firmware", "the VM boots by UEFI, and this host has none; install ovmf");
        else if (!path.empty()) {
            work.warn("firmware",
                      fmt::format("UEFI image {} is not here; libvirt chooses another", path));
            work.change(fmt::format("UEFI image {} → chosen by libvirt", path));
        }
        choose_automatically(os);
        return;
    }
    const bool secure = attribute_of(loader, "secure") == "yes";
    if (const auto here = equivalent_loader(work.facts, path, secure)) {
        work.warn("firmware", fmt::format("UEFI image {} is not here; {} is used", path, *here));
        work.change(fmt::format("UEFI image: {} → {}", path, *here));
        loader.text().set(here->c_str());
        return;
    }
    work.block("firmware",
               fmt::format("the VM boots with firmware {}, and this host has nothing like it; "
                           "install ovmf, or put that file here",
                           path));
}

}  // namespace

void adapt_hypervisor_type(const Adapting& work) {
    const auto arch = attribute_of(work.domain.child("os").child("type"), "arch");
    if (work.facts.machines.empty()) {
        work.block("arch", fmt::format("no QEMU for {} guests is installed here",
                                       arch.empty() ? work.facts.host_arch : arch));
        return;
    }
    if (attribute_of(work.domain, "type") == "kvm" && !work.facts.kvm) {
        work.warn("kvm", "there is no KVM here: the VM would run many times slower, in emulation");
        work.change("type: kvm → qemu (emulation)");
        set_attribute(work.domain, "type", "qemu");
    }
    const auto emulator = text_of(work.devices().child("emulator"));
    if (emulator.empty() || emulator == work.facts.emulator || work.facts.emulator.empty()) return;
    work.change(fmt::format("emulator: {} → {}", emulator, work.facts.emulator));
    set_text(work.devices(), "emulator", work.facts.emulator);
}

void adapt_machine(const Adapting& work) {
    auto type = work.domain.child("os").child("type");
    const auto wanted = attribute_of(type, "machine");
    if (wanted.empty() || work.facts.machines.empty()) return;
    const auto chosen = choose_machine(work.facts.machines, wanted);
    if (chosen == wanted) return;
    if (chosen.empty()) {
        work.block("machine",
                   fmt::format("machine type {} and its family are unknown to this host's QEMU; "
                               "change the source VM to one of `virsh capabilities` here",
                               wanted));
        return;
    }
    work.warn("machine", fmt::format("machine type {} is not known here; {} is used: the guest "
                                     "may see slightly different hardware",
                                     wanted, chosen));
    work.change(fmt::format("machine type: {} → {}", wanted, chosen));
    set_attribute(type, "machine", chosen);
}

void adapt_cpu(const Adapting& work) {
    auto cpu = work.domain.child("cpu");
    if (!cpu || work.facts.machines.empty()) return;
    const bool emulated = attribute_of(work.domain, "type") != "kvm";
    const auto mode = attribute_of(cpu, "mode");
    if (mode == "host-passthrough" && !work.facts.host_passthrough) {
        work.change("CPU: host-passthrough → maximum");
        set_attribute(cpu, "mode", "maximum");
        remove_children(cpu, "feature");
        return;
    }
    if (mode == "host-passthrough" || mode == "host-model" || mode == "maximum") return;
    const auto model = text_of(cpu.child("model"));
    if (model.empty() || work.facts.usable_cpu_models.contains(model)) return;
    if (work.facts.cpu_models.contains(model) && emulated) {
        work.warn(fmt::format("cpu:{}", model),
                  fmt::format("CPU model {} is emulated here without some of its features", model));
        return;
    }
    work.block(fmt::format("cpu:{}", model),
               fmt::format("this host cannot run CPU model {}; choose a model that both clusters "
                           "have, in the source VM",
                           model));
}

void keep_firmware(const Adapting& work) {
    const auto os = work.domain.child("os");
    if (!boots_by_uefi(os)) return;
    const auto nvram = os.child("nvram");
    const auto file =
        nvram.child("source") ? attribute_of(nvram.child("source"), "file") : text_of(nvram);
    const auto libvirts_own = std::filesystem::path(work.facts.own_nvram_dir) /
                              (text_of(work.domain.child("name")) + "_VARS.fd");
    work.adapted.nvram_path = file.empty() ? libvirts_own.string() : file;
}

void adapt_firmware(const Adapting& work) {
    auto os = work.domain.child("os");
    const auto loader = os.child("loader");
    if (!boots_by_uefi(os)) {
        const auto path = text_of(loader);
        if (!path.empty() && !work.facts.exists(path))
            work.block("firmware",
                       fmt::format("firmware {} is not here; put that file here", path));
        return;
    }
    const auto loader_before = text_of(loader);
    adapt_loader(work, os);
    const auto old = os.child("nvram");
    auto variables_template = attribute_of(old, "template");
    const bool same_loader = text_of(os.child("loader")) == loader_before && !loader_before.empty();
    if (!same_loader || !work.facts.exists(variables_template)) variables_template.clear();

    work.adapted.nvram_path = (std::filesystem::path(work.facts.nvram_dir) /
                               (text_of(work.domain.child("uuid")) + "_VARS.fd"))
                                  .string();
    if (text_of(old) != work.adapted.nvram_path)
        work.change(fmt::format("UEFI variables: in {}", work.adapted.nvram_path));
    remove_children(os, "nvram");
    auto nvram = os.append_child("nvram");
    if (!variables_template.empty()) set_attribute(nvram, "template", variables_template);
    nvram.text().set(work.adapted.nvram_path.c_str());
}

void adapt_kernel(const Adapting& work) {
    const auto os = work.domain.child("os");
    for (const char* part : {"kernel", "initrd", "dtb"}) {
        const auto path = text_of(os.child(part));
        if (!path.empty() && !work.facts.exists(path))
            work.block("kernel",
                       fmt::format("the VM boots {} {} from the host, and it is not here; put "
                                   "that file here",
                                   part, path));
    }
}

void adapt_placement(const Adapting& work) {
    const auto tune = work.domain.child("cputune");
    const bool pinned = tune.child("vcpupin") || tune.child("emulatorpin") ||
                        tune.child("iothreadpin") || work.domain.child("numatune") ||
                        work.domain.child("vcpu").attribute("cpuset");
    if (pinned)
        work.warn("placement",
                  "the VM is pinned to CPUs or NUMA nodes of its old host; that is kept, and may "
                  "not suit this one");
    if (work.domain.child("memoryBacking").child("hugepages"))
        work.warn("hugepages", "the VM's memory is in huge pages; this host must have enough free");
}

}  // namespace understudy::libvirt
