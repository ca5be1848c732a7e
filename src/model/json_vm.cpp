#include "model/json.hpp"

#include "model/json_read.hpp"

namespace understudy::model {

using detail::read;
using detail::to_text;
using nlohmann::json;

void to_json(json& j, const SnapshotDisk& v) {
    j = json{
        {"target", v.target}, {"volume", to_text(v.volume)}, {"pool", v.pool}, {"size", v.size}};
}

void from_json(const json& j, SnapshotDisk& v) {
    read(j, "target", v.target);
    read(j, "volume", v.volume);
    read(j, "pool", v.pool);
    read(j, "size", v.size);
}

void to_json(json& j, const Snapshot& v) {
    j = json{{"id", to_text(v.id)},
             {"vm", to_text(v.vm)},
             {"name", v.name},
             {"parent", to_text(v.parent)},
             {"taken", to_text(v.taken)},
             {"consistency", std::string(to_string(v.consistency))},
             {"epoch", v.epoch},
             {"origin", to_text(v.origin)},
             {"disks", v.disks}};
}

void from_json(const json& j, Snapshot& v) {
    read(j, "id", v.id);
    read(j, "vm", v.vm);
    read(j, "name", v.name);
    read(j, "parent", v.parent);
    read(j, "taken", v.taken);
    read(j, "consistency", v.consistency);
    read(j, "epoch", v.epoch);
    read(j, "origin", v.origin);
    read(j, "disks", v.disks);
}

void to_json(json& j, const Hold& v) {
    j = json{{"snapshot", to_text(v.snapshot)},
             {"kind", std::string(to_string(v.kind))},
             {"detail", v.detail}};
}

void from_json(const json& j, Hold& v) {
    read(j, "snapshot", v.snapshot);
    read(j, "kind", v.kind);
    read(j, "detail", v.detail);
}

void to_json(json& j, const Ownership& v) {
    j = json{{"epoch", v.epoch},
             {"owner", to_text(v.owner)},
             {"phase", std::string(to_string(v.phase))}};
}

void from_json(const json& j, Ownership& v) {
    read(j, "epoch", v.epoch);
    read(j, "owner", v.owner);
    read(j, "phase", v.phase);
}

void to_json(json& j, const VmDisk& v) {
    j = json{{"target", v.target}, {"volume", to_text(v.volume)}, {"pool", v.pool}};
}

void from_json(const json& j, VmDisk& v) {
    read(j, "target", v.target);
    read(j, "volume", v.volume);
    read(j, "pool", v.pool);
}

void to_json(json& j, const Vm& v) {
    j = json{{"id", to_text(v.id)},      {"name", v.name},
             {"ownership", v.ownership}, {"autostart", v.autostart},
             {"disks", v.disks},         {"head_parent", to_text(v.head_parent)}};
}

void from_json(const json& j, Vm& v) {
    read(j, "id", v.id);
    read(j, "name", v.name);
    read(j, "ownership", v.ownership);
    read(j, "autostart", v.autostart);
    read(j, "disks", v.disks);
    read(j, "head_parent", v.head_parent);
}

void to_json(json& j, const ReadinessIssue& v) {
    j = json{{"severity", std::string(to_string(v.severity))}, {"key", v.key}, {"text", v.text}};
}

void from_json(const json& j, ReadinessIssue& v) {
    read(j, "severity", v.severity);
    read(j, "key", v.key);
    read(j, "text", v.text);
}

void to_json(json& j, const PoolCapability& v) {
    j = json{{"name", v.name}, {"driver", v.driver}, {"total", v.total}, {"free", v.free}};
}

void from_json(const json& j, PoolCapability& v) {
    read(j, "name", v.name);
    read(j, "driver", v.driver);
    read(j, "total", v.total);
    read(j, "free", v.free);
}

void to_json(json& j, const Capabilities& v) {
    j = json{{"version", v.version},
             {"features", v.features},
             {"pools", v.pools},
             {"networks", v.networks},
             {"machines", v.machines},
             {"cpu_models", v.cpu_models},
             {"host_arch", v.host_arch},
             {"uefi", v.uefi},
             {"tpm", v.tpm},
             {"kvm", v.kvm}};
}

void from_json(const json& j, Capabilities& v) {
    read(j, "version", v.version);
    read(j, "features", v.features);
    read(j, "pools", v.pools);
    read(j, "networks", v.networks);
    read(j, "machines", v.machines);
    read(j, "cpu_models", v.cpu_models);
    read(j, "host_arch", v.host_arch);
    read(j, "uefi", v.uefi);
    read(j, "tpm", v.tpm);
    read(j, "kvm", v.kvm);
}

}  // namespace understudy::model
