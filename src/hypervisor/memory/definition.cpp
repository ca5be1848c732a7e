#include "hypervisor/memory/definition.hpp"

#include <fmt/format.h>

#include <sstream>

namespace understudy::memory {
namespace {

Result<ports::DiskDescription> parse_disk(std::istringstream& line) {
    ports::DiskDescription disk;
    std::uint64_t size = 0;
    line >> disk.target >> disk.source.format >> size >> std::ws;
    std::getline(line, disk.source.location);
    if (disk.source.location.empty()) return fail(ErrorKind::invalid, "a disk without location");
    disk.size = ByteSize(size);
    return disk;
}

}  // namespace

std::string format_definition(const MachineDefinition& definition) {
    auto text = fmt::format("vm {}\nuuid {}\n", definition.name, definition.id.text());
    for (const auto& disk : definition.disks)
        text += fmt::format("disk {} {} {} {}\n", disk.target, disk.source.format,
                            disk.size.count(), disk.source.location);
    for (const auto& network : definition.networks) text += fmt::format("network {}\n", network);
    if (!definition.nvram_path.empty()) text += fmt::format("nvram {}\n", definition.nvram_path);
    return text;
}

Result<MachineDefinition> parse_definition(const std::string& text) {
    MachineDefinition definition;
    std::istringstream lines(text);
    for (std::string whole; std::getline(lines, whole);) {
        std::istringstream line(whole);
        std::string word;
        std::string value;
        line >> word >> std::ws;
        if (word == "disk") {
            auto disk = UNDERSTUDY_VALUE(parse_disk(line));
            definition.disks.push_back(std::move(disk));
            continue;
        }
        std::getline(line, value);
        if (word == "vm") {
            definition.name = value;
        } else if (word == "uuid") {
            auto id = UNDERSTUDY_VALUE(VmId::parse(value));
            definition.id = id;
        } else if (word == "network") {
            definition.networks.push_back(value);
        } else if (word == "nvram") {
            definition.nvram_path = value;
        } else {
            return fail(ErrorKind::invalid,
                        fmt::format("malformed VM definition: unknown line '{}'", whole));
        }
    }
    if (definition.name.empty() || definition.id.is_nil())
        return fail(ErrorKind::invalid, "malformed VM definition: no name or no UUID");
    return definition;
}

}  // namespace understudy::memory
