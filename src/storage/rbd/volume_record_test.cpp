#include "storage/rbd/volume_record.hpp"

#include <gtest/gtest.h>

namespace understudy::rbd {
namespace {

VolumeSnapshot listed(const SnapshotId& id, const SnapshotId& parent, const char* image) {
    return {.id = id, .image = image, .size = base::MiB(8), .parent = parent};
}

// a ← b ← c in one image, and d, received on b, in a clone.
struct Family {
    SnapshotId a = SnapshotId::random();
    SnapshotId b = SnapshotId::random();
    SnapshotId c = SnapshotId::random();
    SnapshotId d = SnapshotId::random();
    VolumeRecord record;

    Family() {
        record.label = {"web1", "vda"};
        record.images = {
            {.name = "one", .role = ImageRole::idle, .base = c, .lineage = c},
            {.name = "two", .role = ImageRole::idle, .parent = "one", .base = d, .lineage = d}};
        record.snapshots = {listed(a, {}, "one"), listed(b, a, "one"), listed(c, b, "one"),
                            listed(d, b, "two")};
    }
};

TEST(VolumeRecord, reads_what_it_wrote) {
    Family family;
    family.record.images.push_back({.name = "three",
                                    .adopted = true,
                                    .role = ImageRole::head,
                                    .snapshot = family.a,
                                    .lineage = family.a});
    family.record.images.push_back({.name = "four",
                                    .role = ImageRole::incoming,
                                    .snapshot = SnapshotId::random(),
                                    .base = family.d,
                                    .lineage = family.d,
                                    .size = base::GiB(3)});
    family.record.snapshots.push_back({.id = SnapshotId::random(),
                                       .image = "three",
                                       .state = SnapshotState::unwanted,
                                       .late = true});
    family.record.rollback = family.b;
    family.record.removing = true;
    const auto text = write_record(family.record);
    const auto read = read_record(text);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(write_record(*read), text);
    EXPECT_EQ(read->rollback, family.b);
    EXPECT_TRUE(read->image("three")->adopted);
    EXPECT_EQ(read->image("four")->size, base::GiB(3));
    EXPECT_TRUE(read->snapshots.back().late);
}

TEST(VolumeRecord, says_what_it_cannot_read) {
    const auto kind_of = [](std::string_view text) { return read_record(text).error().kind(); };
    EXPECT_EQ(kind_of("{"), ErrorKind::corrupt);
    EXPECT_EQ(kind_of(R"({"version": 2})"), ErrorKind::unsupported);
    EXPECT_EQ(kind_of(R"({"version": 1, "images": [{"name": "a", "role": "king"}],
                          "snapshots": []})"),
              ErrorKind::corrupt);
    EXPECT_EQ(kind_of(R"({"version": 1, "images": [], "snapshots": [{"image": "a", "size": 1,
                          "id": "8c1a7d6e-0000-4000-8000-000000000001", "state": "listed"}]})"),
              ErrorKind::corrupt);
}

TEST(VolumeRecord, ancestry_skips_what_was_removed) {
    Family family;
    auto& record = family.record;
    EXPECT_TRUE(record.is_ancestor(family.a, family.d));
    EXPECT_FALSE(record.is_ancestor(family.c, family.d));
    record.unlist(family.b);
    EXPECT_EQ(record.listed(family.b), nullptr);
    EXPECT_EQ(record.listed(family.d)->parent, family.a);
    EXPECT_TRUE(record.is_ancestor(family.a, family.c));
    record.unlist(family.a);
    EXPECT_TRUE(record.listed(family.c)->parent.is_nil());
}

TEST(VolumeRecord, a_head_beyond_a_removed_newest_snapshot_is_of_no_worth) {
    Family family;
    family.record.unlist(family.c);
    EXPECT_EQ(family.record.image("one")->role, ImageRole::dirty);
    EXPECT_EQ(family.record.image("one")->lineage, family.b);
    EXPECT_EQ(family.record.image("two")->role, ImageRole::idle);
    EXPECT_EQ(family.record.newest_of("one")->id, family.b);
}

TEST(VolumeRecord, what_may_come_late_holds_no_image) {
    VolumeRecord record;
    record.images = {{.name = "one", .role = ImageRole::dirty}};
    record.snapshots = {{.id = SnapshotId::random(),
                         .image = "one",
                         .state = SnapshotState::unwanted,
                         .late = true}};
    EXPECT_FALSE(record.has_snapshots("one"));
}

}  // namespace
}  // namespace understudy::rbd
