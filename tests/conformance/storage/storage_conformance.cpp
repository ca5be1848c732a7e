#include "storage_conformance.hpp"

#include <algorithm>
#include <cstring>
#include <ostream>
#include <set>

namespace understudy::conformance {
namespace {

constexpr std::uint64_t kReadStep = 300'000;  // off every grid

std::span<const std::byte> part(const Bytes& bytes, ByteOffset offset, ByteSize length) {
    return std::span(bytes).subspan(offset.count(), length.count());
}

}  // namespace

GuestOp write_op(std::uint64_t offset, std::uint64_t length, unsigned char pattern) {
    return {GuestOp::Kind::write, ByteOffset(offset), ByteSize(length), pattern};
}
GuestOp zero_op(std::uint64_t offset, std::uint64_t length) {
    return {GuestOp::Kind::zero, ByteOffset(offset), ByteSize(length), 0};
}
GuestOp trim_op(std::uint64_t offset, std::uint64_t length) {
    return {GuestOp::Kind::trim, ByteOffset(offset), ByteSize(length), 0};
}

GuestDisk::GuestDisk(StorageFixture& fixture, const std::string& name, ByteSize size)
    : fixture_(fixture), original_(fixture.make_disk(name, size)) {
    must(fixture_.pool().adopt(id_, kLabel, original_));
}

ports::DiskSource GuestDisk::head() {
    const auto head = must(fixture_.pool().head(id_));
    if (!head) throw std::runtime_error("the volume has no head");
    return *head;
}

SnapshotId GuestDisk::take() {
    const auto id = SnapshotId::random();
    auto content = fixture_.read_disk(head());
    take_in_steps(fixture_.pool(), id_, id, ByteSize(content.size()));
    contents_[id] = std::move(content);
    return id;
}

void take_in_steps(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id,
                   ByteSize size) {
    must(pool.prepare_snapshot(volume, id, size));
    must(pool.take_snapshot(volume, id));
    must(pool.commit_snapshot(volume, id));
}

Bytes read_snapshot(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id) {
    const auto reader = must(pool.open_snapshot(volume, id));
    Bytes bytes(reader->size().count(), std::byte{0xEE});
    for (std::uint64_t at = 0; at < bytes.size(); at += kReadStep) {
        const auto length = std::min(kReadStep, bytes.size() - at);
        reader->prefetch(ByteOffset(at), ByteSize(length));
        must(reader->read(ByteOffset(at), std::span(bytes).subspan(at, length)));
    }
    return bytes;
}

std::vector<ports::Extent> list_changes(ports::StoragePool& pool, const VolumeId& volume,
                                        std::optional<SnapshotId> base, const SnapshotId& until,
                                        ByteOffset from) {
    const auto size = must(pool.stat(volume, until)).size.count();
    const auto stream = must(pool.changes(volume, base, until, from));
    const auto grain = model::kGrain.count();
    std::vector<ports::Extent> extents;
    auto end = from.count();
    while (const auto extent = must(stream->next())) {
        EXPECT_GE(extent->offset.count(), end) << "extents ascend and do not overlap";
        EXPECT_GT(extent->length.count(), 0U);
        EXPECT_EQ(extent->offset.count() % grain, 0U);
        end = extent->end().count();
        EXPECT_LE(end, size);
        EXPECT_TRUE(end % grain == 0 || end == size) << "ends at " << end;
        extents.push_back(*extent);
    }
    EXPECT_FALSE(must(stream->next()).has_value()) << "stays at its end";
    return extents;
}

std::uint64_t bytes_in(const std::vector<ports::Extent>& extents, model::ExtentKind kind) {
    std::uint64_t bytes = 0;
    for (const auto& extent : extents)
        if (extent.kind == kind) bytes += extent.length.count();
    return bytes;
}

Bytes with_changes(Bytes content, const std::vector<ports::Extent>& extents,
                   const Bytes& snapshot) {
    content.resize(snapshot.size());
    for (const auto& extent : extents) {
        auto* into = content.data() + extent.offset.count();
        if (extent.kind == model::ExtentKind::zero)
            std::memset(into, 0, extent.length.count());
        else
            std::memcpy(into, snapshot.data() + extent.offset.count(), extent.length.count());
    }
    return content;
}

void write_extents(ports::Incoming& incoming, const std::vector<ports::Extent>& extents,
                   const Bytes& content) {
    for (const auto& extent : extents) {
        if (extent.kind == model::ExtentKind::zero) {
            must(incoming.zero(extent.offset, extent.length));
            continue;
        }
        for (auto at = extent.offset; at < extent.end(); at = at + base::MiB(1)) {
            const auto length = std::min(base::MiB(1), extent.end() - at);
            must(incoming.write(at, part(content, at, length)));
        }
    }
}

void copy_snapshot(ports::StoragePool& from, ports::StoragePool& to, const VolumeId& volume,
                   std::optional<SnapshotId> base, const SnapshotId& id) {
    const auto content = read_snapshot(from, volume, id);
    const auto extents = list_changes(from, volume, base, id);
    const auto incoming = must(to.receive(volume, kLabel, base, id, ByteSize(content.size())));
    write_extents(*incoming, extents, content);
    must(incoming->flush());
    must(incoming->publish());
}

void receive_content(ports::StoragePool& pool, const VolumeId& volume,
                     std::optional<SnapshotId> base, const SnapshotId& id, const Bytes& content) {
    const auto size = ByteSize(content.size());
    const auto incoming = must(pool.receive(volume, kLabel, base, id, size));
    write_extents(*incoming, {{ByteOffset(0), size, model::ExtentKind::data}}, content);
    must(incoming->publish());
}

Bytes filled(ByteSize size, unsigned char pattern) {
    return Bytes(size.count(), std::byte{pattern});
}

void expect_snapshots(ports::StoragePool& pool, const VolumeId& volume,
                      const std::map<SnapshotId, Bytes>& expected) {
    const auto listed = must(pool.snapshots(volume));
    std::set<SnapshotId> wanted;
    for (const auto& [id, content] : expected) wanted.insert(id);
    EXPECT_EQ(std::set<SnapshotId>(listed.begin(), listed.end()), wanted);
    EXPECT_EQ(listed.size(), wanted.size());
    for (const auto& [id, content] : expected) {
        EXPECT_EQ(must(pool.stat(volume, id)).size.count(), content.size());
        EXPECT_TRUE(read_snapshot(pool, volume, id) == content) << "snapshot " << id.text();
    }
}

namespace {

// Images without fast-diff differ from others within their driver only.
bool is_worth_pairing(const std::string& one, const std::string& other) {
    return one != "rbd_plain" || other.starts_with("rbd") || other == "qcow2";
}

}  // namespace

std::vector<StoragePairParam> storage_pairs() {
    std::vector<StoragePairParam> pairs;
    for (const auto& source : storage_kinds())
        for (const auto& target : storage_kinds())
            if (is_worth_pairing(source.name, target.name) &&
                is_worth_pairing(target.name, source.name))
                pairs.emplace_back(source, target);
    return pairs;
}

void PrintTo(const StorageKind& kind, std::ostream* out) {
    *out << kind.name;
}

std::string kind_name(const testing::TestParamInfo<StorageKind>& info) {
    return info.param.name;
}
std::string pair_name(const testing::TestParamInfo<StoragePairParam>& info) {
    return info.param.first.name + "_to_" + info.param.second.name;
}

}  // namespace understudy::conformance
