#include "model/json.hpp"

#include "model/json_fields.hpp"

// Snapshots, ownership, VMs, readiness and capabilities as JSON. For each type its fields are named
// once, and to_json and from_json both use that list. The names are stored in catalogs and sent to
// peers, so they stay as they are. On reading, an unknown field is ignored and a missing one keeps
// its default. Pure.

namespace understudy::model {

using detail::read_fields;
using detail::write_fields;
using nlohmann::json;

constexpr auto kSnapshotDisk = [](auto& v, auto field) {
    field("target", v.target);
    field("volume", v.volume);
    field("pool", v.pool);
    field("size", v.size);
};
void to_json(json& j, const SnapshotDisk& v) {
    write_fields(j, v, kSnapshotDisk);
}
void from_json(const json& j, SnapshotDisk& v) {
    read_fields(j, v, kSnapshotDisk);
}

constexpr auto kSnapshot = [](auto& v, auto field) {
    field("id", v.id);
    field("vm", v.vm);
    field("name", v.name);
    field("parent", v.parent);
    field("taken", v.taken);
    field("consistency", v.consistency);
    field("epoch", v.epoch);
    field("origin", v.origin);
    field("disks", v.disks);
};
void to_json(json& j, const Snapshot& v) {
    write_fields(j, v, kSnapshot);
}
void from_json(const json& j, Snapshot& v) {
    read_fields(j, v, kSnapshot);
}

constexpr auto kHold = [](auto& v, auto field) {
    field("snapshot", v.snapshot);
    field("kind", v.kind);
    field("detail", v.detail);
};
void to_json(json& j, const Hold& v) {
    write_fields(j, v, kHold);
}
void from_json(const json& j, Hold& v) {
    read_fields(j, v, kHold);
}

constexpr auto kOwnership = [](auto& v, auto field) {
    field("epoch", v.epoch);
    field("owner", v.owner);
    field("phase", v.phase);
};
void to_json(json& j, const Ownership& v) {
    write_fields(j, v, kOwnership);
}
void from_json(const json& j, Ownership& v) {
    read_fields(j, v, kOwnership);
}

constexpr auto kVmDisk = [](auto& v, auto field) {
    field("target", v.target);
    field("volume", v.volume);
    field("pool", v.pool);
};
void to_json(json& j, const VmDisk& v) {
    write_fields(j, v, kVmDisk);
}
void from_json(const json& j, VmDisk& v) {
    read_fields(j, v, kVmDisk);
}

constexpr auto kVm = [](auto& v, auto field) {
    field("id", v.id);
    field("name", v.name);
    field("ownership", v.ownership);
    field("autostart", v.autostart);
    field("disks", v.disks);
    field("head_parent", v.head_parent);
};
void to_json(json& j, const Vm& v) {
    write_fields(j, v, kVm);
}
void from_json(const json& j, Vm& v) {
    read_fields(j, v, kVm);
}

constexpr auto kReadinessIssue = [](auto& v, auto field) {
    field("severity", v.severity);
    field("key", v.key);
    field("text", v.text);
};
void to_json(json& j, const ReadinessIssue& v) {
    write_fields(j, v, kReadinessIssue);
}
void from_json(const json& j, ReadinessIssue& v) {
    read_fields(j, v, kReadinessIssue);
}

constexpr auto kPoolCapability = [](auto& v, auto field) {
    field("name", v.name);
    field("driver", v.driver);
    field("total", v.total);
    field("free", v.free);
};
void to_json(json& j, const PoolCapability& v) {
    write_fields(j, v, kPoolCapability);
}
void from_json(const json& j, PoolCapability& v) {
    read_fields(j, v, kPoolCapability);
}

constexpr auto kCapabilities = [](auto& v, auto field) {
    field("version", v.version);
    field("features", v.features);
    field("pools", v.pools);
    field("networks", v.networks);
    field("machines", v.machines);
    field("cpu_models", v.cpu_models);
    field("host_arch", v.host_arch);
    field("uefi", v.uefi);
    field("tpm", v.tpm);
    field("kvm", v.kvm);
};
void to_json(json& j, const Capabilities& v) {
    write_fields(j, v, kCapabilities);
}
void from_json(const json& j, Capabilities& v) {
    read_fields(j, v, kCapabilities);
}

}  // namespace understudy::model
