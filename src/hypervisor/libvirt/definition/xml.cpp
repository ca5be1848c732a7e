#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <sstream>

// Parses and prints definitions, and the small steps on them that others use. parse_domain refuses
// what is too long before it parses it, and what is malformed, nested too deeply or no <domain>,
// since a definition may come from a peer. Pure: no I/O.

namespace understudy::libvirt {
namespace {

// libvirt nests one <backingStore> for each layer of a disk, and writes up to 200 of them
// (QEMU_DOMAIN_STORAGE_SOURCE_CHAIN_MAX_DEPTH); libxml2, with which it reads, stops at 256.
constexpr int kMaxDepth = 512;

struct DepthLimit : pugi::xml_tree_walker {
    bool for_each(pugi::xml_node&) override { return depth() < kMaxDepth; }
};

}  // namespace

Result<pugi::xml_document> parse_domain(const std::string& xml) {
    if (xml.size() > kMaxDefinitionBytes)
        return fail(ErrorKind::invalid,
                    fmt::format("a VM definition of {} bytes is longer than the allowed {}",
                                xml.size(), kMaxDefinitionBytes));
    pugi::xml_document document;
    const auto parsed = document.load_buffer(xml.data(), xml.size());
    if (!parsed)
        return fail(ErrorKind::invalid, fmt::format("malformed VM definition: {} at byte {}",
                                                    parsed.description(), parsed.offset));
    DepthLimit limit;
    if (!document.traverse(limit))
        return fail(ErrorKind::invalid, "a VM definition nested too deeply");
    if (!document.child("domain"))
        return fail(ErrorKind::invalid, "a VM definition without a <domain> element");
    return document;
}

std::string print(const pugi::xml_document& document) {
    std::ostringstream out;
    document.save(out, "  ", pugi::format_indent | pugi::format_no_declaration);
    return out.str();
}

std::string text_of(pugi::xml_node node) {
    const std::string_view text = node.text().get();
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return {};
    return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

std::string attribute_of(pugi::xml_node node, const char* name) {
    return node.attribute(name).value();
}

void set_attribute(pugi::xml_node node, const char* name, const std::string& value) {
    auto attribute = node.attribute(name);
    if (!attribute) attribute = node.append_attribute(name);
    attribute.set_value(value.c_str());
}

void set_text(pugi::xml_node parent, const char* child, const std::string& value) {
    child_or_new(parent, child).text().set(value.c_str());
}

pugi::xml_node child_or_new(pugi::xml_node parent, const char* name) {
    if (const auto child = parent.child(name)) return child;
    return parent.append_child(name);
}

void remove_children(pugi::xml_node parent, const char* name) {
    while (parent.remove_child(name)) {
    }
}

std::vector<pugi::xml_node> children_of(pugi::xml_node parent, const char* name) {
    std::vector<pugi::xml_node> found;
    for (const auto child : parent.children(name)) found.push_back(child);
    return found;
}

pugi::xml_node devices_of(const pugi::xml_document& document) {
    return document.child("domain").child("devices");
}

}  // namespace understudy::libvirt
