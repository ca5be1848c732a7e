#include "storage/qcow2/volume_record.hpp"

#include <gtest/gtest.h>

namespace understudy::qcow2 {
namespace {

VolumeLayer layer(std::string file, std::string parent, LayerRole role) {
    return {.file = std::move(file),
            .format = "qcow2",
            .adopted = false,
            .parent = std::move(parent),
            .size = ByteSize(1 << 20),
            .role = role,
            .snapshot = role == LayerRole::unnamed ? SnapshotId() : SnapshotId::random(),
            .base = {}};
}

VolumeRecord sample() {
    VolumeRecord record;
    record.label = {.vm_name = "wéb \"1\"\n", .disk_target = "vda"};
    record.layers.push_back(layer("/disks/a b.qcow2", "", LayerRole::unnamed));
    record.layers.back().adopted = true;
    record.layers.push_back(layer("b.qcow2", "/disks/a b.qcow2", LayerRole::snapshot));
    record.layers.push_back(layer("c.qcow2", "b.qcow2", LayerRole::head));
    record.layers.push_back(layer("d.qcow2", "b.qcow2", LayerRole::incoming));
    record.layers.back().base = record.layers[1].snapshot;
    record.merge =
        PendingMerge{.base = "/disks/a b.qcow2", .top = "b.qcow2", .live = true, .seal = "7.5"};
    return record;
}

TEST(Qcow2VolumeRecord, survives_being_written_and_read) {
    const auto record = sample();
    const auto text = write_record(record);
    const auto read = read_record(text);
    ASSERT_TRUE(read.has_value()) << read.error().text();
    EXPECT_EQ(write_record(*read), text);
    EXPECT_EQ(read->label.vm_name, record.label.vm_name);
    EXPECT_EQ(read->layers[0].file, "/disks/a b.qcow2");
    EXPECT_TRUE(read->layers[0].adopted);
    EXPECT_EQ(read->layers[3].base, record.layers[1].snapshot);
    EXPECT_TRUE(read->merge->live);
    EXPECT_EQ(read->merge->seal, "7.5");
}

TEST(Qcow2VolumeRecord, a_finished_merge_puts_the_base_where_the_top_was) {
    auto record = sample();
    const auto held = record.layers[1].snapshot;
    record.finish_merge();
    ASSERT_EQ(record.layers.size(), 3U);
    EXPECT_EQ(record.find(LayerRole::snapshot, held)->file, "/disks/a b.qcow2");
    EXPECT_TRUE(record.layers[0].adopted);
    EXPECT_EQ(record.children_of("/disks/a b.qcow2").size(), 2U);
    EXPECT_FALSE(record.merge.has_value());
    EXPECT_TRUE(record.is_under_head("/disks/a b.qcow2"));
    EXPECT_FALSE(record.is_under_head("d.qcow2"));
}

TEST(Qcow2VolumeRecord, damage_and_newer_versions_are_told_apart) {
    const auto text = write_record(sample());
    const auto with = [&](const std::string& from, const std::string& to) {
        auto changed = text;
        changed.replace(changed.find(from), from.size(), to);
        const auto read = read_record(changed);
        return read ? std::string("read") : std::string(base::to_string(read.error().kind()));
    };
    EXPECT_EQ(with("\"version\": 1", "\"version\": 2"), "unsupported");
    EXPECT_EQ(with("\"version\"", "\"varsion\""), "corrupt");
    EXPECT_EQ(with("\"role\": \"head\"", "\"role\": \"tail\""), "corrupt");
    EXPECT_EQ(with("\"file\": \"c.qcow2\"", "\"file\": \"../c.qcow2\""), "corrupt");
    EXPECT_EQ(with("\"file\": \"c.qcow2\"", "\"file\": \"d.qcow2\""), "corrupt");
    EXPECT_EQ(with("\"parent\": \"b.qcow2\"", "\"parent\": \"x.qcow2\""), "corrupt");
    EXPECT_EQ(with("\"top\": \"b.qcow2\"", "\"top\": \"x.qcow2\""), "corrupt");
    EXPECT_FALSE(read_record(text.substr(0, text.size() / 2)).has_value());
    EXPECT_FALSE(read_record("").has_value());
}

}  // namespace
}  // namespace understudy::qcow2
