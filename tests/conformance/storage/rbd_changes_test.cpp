// What the rbd driver tells as changed, under guests that write, trim, zero and resize at random:
// images with and without fast-diff, with small objects, and clones of a template of the user's.
#include "qcow2_fixture.hpp"
#include "rbd_fixture.hpp"

#include <algorithm>
#include <random>

namespace understudy::conformance {
namespace {

using base::KiB;
using base::MiB;

constexpr auto kSize = MiB(4);
constexpr std::uint64_t kSeed = 20261125;

struct Scene {
    std::string name;
    std::string features;
    ByteSize object_size;
    bool clone = false;  // of a template that holds data in half of its objects
    bool to_qcow2 = false;
    int snapshots = 12;
};
void PrintTo(const Scene& scene, std::ostream* out) {
    *out << scene.name;
}

class RandomGuest {
public:
    explicit RandomGuest(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    std::vector<GuestOp> ops(std::uint64_t size, std::uint64_t object) {
        std::vector<GuestOp> made;
        for (auto count = below(12); count > 0; --count) {
            const auto kind = below(10);
            const bool whole_object = below(3) == 0 && object <= size;
            const auto grain = whole_object ? object : (kind < 5 ? 512 : 4096);
            const auto at = below(size / grain) * grain;
            const auto most = std::min<std::uint64_t>(size - at, whole_object ? object : 300 << 10);
            const auto length = whole_object ? most : (1 + below(most / grain)) * grain;
            if (kind < 5)
                made.push_back(write_op(at, length, static_cast<unsigned char>(1 + below(255))));
            else if (kind < 8)
                made.push_back(trim_op(at, length));
            else
                made.push_back(zero_op(at, length));
        }
        return made;
    }

private:
    std::mt19937_64 random_;
};

class RbdChanges : public testing::TestWithParam<Scene> {
protected:
    RbdChanges() {
        rbd::RbdSettings settings{.object_size = GetParam().object_size};
        settings.features = GetParam().features;
        source_ = std::make_unique<RbdFixture>(settings, std::nullopt);
        if (GetParam().to_qcow2)
            target_ = std::make_unique<Qcow2Fixture>("qcow2", std::nullopt);
        else
            target_ = std::make_unique<RbdFixture>(rbd::RbdSettings{}, std::nullopt);
    }

    ports::DiskSource make_disk() {
        if (!GetParam().clone) return source_->make_disk("disk", kSize);
        const auto from = source_->make_disk("template", kSize);
        const auto object = GetParam().object_size.count();
        for (std::uint64_t at = 0; at < kSize.count(); at += 2 * object)
            source_->guest(from, {write_op(at, object * 3 / 4, 0x55)});
        EXPECT_EQ(source_->open("template")->snap_create("golden"), 0);
        librbd::ImageOptions options;
        options.set(RBD_IMAGE_OPTION_CLONE_FORMAT, std::uint64_t{2});
        std::uint64_t features = 0;
        librbd::RBD().features_from_string(GetParam().features, &features);
        options.set(RBD_IMAGE_OPTION_FEATURES, features);
        EXPECT_EQ(librbd::RBD().clone3(source_->io(), "template", "golden", source_->io(), "disk",
                                       options),
                  0);
        return source_->source("disk");
    }

    void check_pair(const VolumeId& volume, const SnapshotId& base, const SnapshotId& until,
                    const std::map<SnapshotId, Bytes>& contents) {
        const auto some = list_changes(source_->pool(), volume, base, until);
        EXPECT_TRUE(with_changes(contents.at(base), some, contents.at(until)) == contents.at(until))
            << base.text() << " to " << until.text();
    }

    std::unique_ptr<RbdFixture> source_;
    std::unique_ptr<StorageFixture> target_;
};

TEST_P(RbdChanges, snapshots_of_a_busy_guest_arrive_equal) {
    RandomGuest guest(kSeed);
    const auto volume = VolumeId::random();
    const auto disk = make_disk();
    auto size = kSize.count();
    must(source_->pool().adopt(volume, kLabel, disk));
    std::vector<SnapshotId> ids;
    std::map<SnapshotId, Bytes> contents;
    for (int number = 0; number < GetParam().snapshots; ++number) {
        SCOPED_TRACE("snapshot " + std::to_string(number));
        if (number % 6 == 5) {
            size = kSize.count() - MiB(1).count() + guest.below(8) * KiB(256).count() + 512;
            source_->resize(disk, ByteSize(size));
        }
        source_->guest(disk, guest.ops(size, GetParam().object_size.count()));
        const auto id = SnapshotId::random();
        take_in_steps(source_->pool(), volume, id, ByteSize(size));
        contents[id] = source_->read_disk(disk);
        const auto base = ids.empty() ? std::optional<SnapshotId>() : ids.back();
        copy_snapshot(source_->pool(), target_->pool(), volume, base, id);
        EXPECT_TRUE(read_snapshot(target_->pool(), volume, id) == contents[id]);
        if (number % 5 == 4) {
            const auto all = list_changes(source_->pool(), volume, {}, id);
            EXPECT_TRUE(with_changes({}, all, contents[id]) == contents[id]);
            check_pair(volume, ids[guest.below(ids.size())], id, contents);
        }
        if (number == 8) {  // back in time, and on from there
            must(source_->pool().activate(volume, ids[4], ports::ActivationKind::rollback));
            must(source_->pool().activate(volume, ids[4], ports::ActivationKind::promote));
            EXPECT_TRUE(source_->read_disk(disk) == contents[ids[4]]);
            size = contents[ids[4]].size();
            ids.resize(5);
        } else {
            ids.push_back(id);
        }
        if (HasFailure()) return;
    }
    expect_snapshots(target_->pool(), volume, contents);
}

class RbdImages : public RbdChanges {};

// Received on several bases, so that the content lies in clones of clones, and then flattened.
TEST_P(RbdImages, changes_hold_across_the_images_of_a_volume) {
    RandomGuest guest(kSeed + 1);
    auto& pool = source_->pool();
    const auto volume = VolumeId::random();
    std::vector<SnapshotId> ids{SnapshotId::random()};
    std::map<SnapshotId, Bytes> contents{{ids[0], filled(kSize, 9)}};
    receive_content(pool, volume, {}, ids[0], contents[ids[0]]);
    std::map<SnapshotId, SnapshotId> parents;
    for (int number = 0; number < 10; ++number) {
        const auto base = ids[guest.below(2) == 0 ? ids.size() - 1 : guest.below(ids.size())];
        const auto id = SnapshotId::random();
        auto content = contents[base];
        const auto incoming =
            must(pool.receive(volume, kLabel, base, id, ByteSize(content.size())));
        for (const auto& op : guest.ops(content.size(), GetParam().object_size.count())) {
            const auto fill = filled(op.length, op.pattern);
            const bool write = op.kind == GuestOp::Kind::write;
            must(write ? incoming->write(op.offset, fill) : incoming->zero(op.offset, op.length));
            std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(op.offset.count()),
                        op.length.count(), write ? std::byte{op.pattern} : std::byte{0});
        }
        must(incoming->publish());
        contents[id] = content;
        parents[id] = base;
        ids.push_back(id);
    }
    const auto check_all = [&] {
        for (const auto& [id, content] : contents) {
            const auto all = list_changes(pool, volume, {}, id);
            EXPECT_TRUE(with_changes({}, all, content) == content) << id.text();
            for (auto base = parents.find(id); base != parents.end();
                 base = parents.find(base->second))
                if (contents.contains(base->second)) check_pair(volume, base->second, id, contents);
        }
    };
    check_all();
    for (int removed = 0; removed < 5; ++removed) {
        const auto gone = ids[guest.below(ids.size())];
        must(pool.remove_snapshot(volume, gone));
        contents.erase(gone);
        std::erase(ids, gone);
    }
    expect_snapshots(pool, volume, contents);
    check_all();
    must(pool.forget(volume, true));
    EXPECT_TRUE(source_->traces(volume).empty());
}

constexpr const char* kFull = "layering,exclusive-lock,object-map,fast-diff,deep-flatten";
constexpr const char* kPlain = "layering,deep-flatten";

std::string scene_name(const testing::TestParamInfo<Scene>& scene) {
    return scene.param.name;
}

// Forty where it is hardest: a clone with fast-diff, to another driver.
INSTANTIATE_TEST_SUITE_P(rbd, RbdChanges,
                         testing::Values(Scene{"full", kFull, MiB(4)},
                                         Scene{"full_small", kFull, KiB(128), false, true},
                                         Scene{"plain_small", kPlain, KiB(256)},
                                         Scene{"clone", kFull, KiB(256), true, true, 40},
                                         Scene{"plain_clone", kPlain, KiB(512), true}),
                         scene_name);
INSTANTIATE_TEST_SUITE_P(rbd, RbdImages,
                         testing::Values(Scene{"full", kFull, MiB(1)},
                                         Scene{"plain", kPlain, KiB(256)}),
                         scene_name);

}  // namespace
}  // namespace understudy::conformance
