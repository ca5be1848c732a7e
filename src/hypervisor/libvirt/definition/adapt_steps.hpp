#pragma once

#include "hypervisor/libvirt/definition/host_facts.hpp"
#include "ports/hypervisor.hpp"

#include <pugixml.hpp>
#include <string>

// The steps of adapt_definition(). Each changes the document in place and reports into `adapted`.
namespace understudy::libvirt {

struct Adapting {
    pugi::xml_node domain;
    const ports::AdaptRequest& request;
    const HostFacts& facts;
    ports::Adapted& adapted;

    pugi::xml_node devices() const { return domain.child("devices"); }
    void change(std::string words) const { adapted.changes.push_back(std::move(words)); }
    void block(std::string key, std::string text) const {
        adapted.issues.push_back({model::Severity::blocks, std::move(key), std::move(text)});
    }
    void warn(std::string key, std::string text) const {
        adapted.issues.push_back({model::Severity::warns, std::move(key), std::move(text)});
    }
};

void check_images(const Adapting& work);           // whether disks in Ceph can be reached
void adapt_hypervisor_type(const Adapting& work);  // kvm or qemu, emulator, architecture
void adapt_machine(const Adapting& work);
void adapt_cpu(const Adapting& work);  // after adapt_hypervisor_type
void adapt_firmware(const Adapting& work);
void keep_firmware(const Adapting& work);  // only notes where its variables are
void adapt_kernel(const Adapting& work);
void adapt_placement(const Adapting& work);
// refused: the isolated network of a rehearsal is one that the VM itself belongs to.
Result<> check_apart(const Adapting& work);
void adapt_interfaces(const Adapting& work);
void adapt_character_devices(const Adapting& work);
void adapt_graphics(const Adapting& work);
void adapt_untravelled_devices(const Adapting& work);  // TPM, host devices, shared folders, …
void adapt_qemu_arguments(const Adapting& work);
// After all others. It makes a copy for a rehearsal that nobody notices but the one who watches it.
void adapt_rehearsal(const Adapting& work);
void note_facts(const Adapting& work);  // has_agent, has_console, memory

}  // namespace understudy::libvirt
