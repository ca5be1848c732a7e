#pragma once

#include "base/error.hpp"

#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::libvirt {

// Definitions come from peers too: larger ones than this are refused before they are parsed.
inline constexpr std::size_t kMaxDefinitionBytes = std::size_t{4} << 20;

// A parsed <domain>; anything else, malformed or absurdly nested text, is `invalid`.
Result<pugi::xml_document> parse_domain(const std::string& xml);
std::string print(const pugi::xml_document& document);

std::string text_of(pugi::xml_node node);  // trimmed
std::string attribute_of(pugi::xml_node node, const char* name);
void set_attribute(pugi::xml_node node, const char* name, const std::string& value);
void set_text(pugi::xml_node parent, const char* child, const std::string& value);
pugi::xml_node child_or_new(pugi::xml_node parent, const char* name);
void remove_children(pugi::xml_node parent, const char* name);

// The children of that name, as a list that stays valid while they are removed.
std::vector<pugi::xml_node> children_of(pugi::xml_node parent, const char* name);
pugi::xml_node devices_of(const pugi::xml_document& document);

}  // namespace understudy::libvirt
