#include "model/json.hpp"

#include "model/json_fields.hpp"

// Comparisons, content bases and drills as JSON. For each type its fields are named once, and
// to_json and from_json both use that list. The names are stored in catalogs and sent to peers, so
// they stay as they are. On reading, an unknown field is ignored and a missing one keeps its
// default. Pure.

namespace understudy::model {

using detail::read_fields;
using detail::write_fields;
using nlohmann::json;

constexpr auto kByteRange = [](auto& v, auto field) {
    field("offset", v.offset);
    field("length", v.length);
};
void to_json(json& j, const ByteRange& v) {
    write_fields(j, v, kByteRange);
}
void from_json(const json& j, ByteRange& v) {
    read_fields(j, v, kByteRange);
}

constexpr auto kVolumeBase = [](auto& v, auto field) {
    field("volume", v.volume);
    field("snapshot", v.snapshot);
};
void to_json(json& j, const VolumeBase& v) {
    write_fields(j, v, kVolumeBase);
}
void from_json(const json& j, VolumeBase& v) {
    read_fields(j, v, kVolumeBase);
}

constexpr auto kDiskRange = [](auto& v, auto field) {
    field("target", v.target);
    field("offset", v.offset);
    field("length", v.length);
    field("why", v.why);
};
void to_json(json& j, const DiskRange& v) {
    write_fields(j, v, kDiskRange);
}
void from_json(const json& j, DiskRange& v) {
    read_fields(j, v, kDiskRange);
}

constexpr auto kVerification = [](auto& v, auto field) {
    field("vm", v.vm);
    field("snapshot", v.snapshot);
    field("source", v.source);
    field("ended", v.ended);
    field("equal", v.equal);
    field("compared", v.compared);
    field("differing", v.differing);
    field("ranges_found", v.ranges_found);
    field("ranges", v.ranges);
};
void to_json(json& j, const Verification& v) {
    write_fields(j, v, kVerification);
}
void from_json(const json& j, Verification& v) {
    read_fields(j, v, kVerification);
}

constexpr auto kDrill = [](auto& v, auto field) {
    field("vm", v.vm);
    field("snapshot", v.snapshot);
    field("snapshot_name", v.snapshot_name);
    field("ended", v.ended);
    field("passed", v.passed);
    field("boot_ms", v.boot_ms);
    field("ready_ms", v.ready_ms);
    field("check", v.check);
    field("outcome", v.outcome);
    field("node", v.node);
    field("evidence", v.evidence);
};
void to_json(json& j, const Drill& v) {
    write_fields(j, v, kDrill);
}
void from_json(const json& j, Drill& v) {
    read_fields(j, v, kDrill);
}

}  // namespace understudy::model
