// Putting right what is stored for a frozen snapshot.
#include "storage_conformance.hpp"

#include <algorithm>

namespace understudy::conformance {
namespace {

using base::MiB;
using ports::ActivationKind;

// A replica's two snapshots: the second one is as the first but for its second MiB.
struct Replica {
    explicit Replica(ports::StoragePool& pool) {
        first_content = filled(kDiskSize, 1);
        second_content = first_content;
        std::fill_n(second_content.begin() + (1 << 20), 1 << 20, std::byte{2});
        receive_content(pool, volume, {}, first, first_content);
        const auto incoming = must(pool.receive(volume, kLabel, first, second, kDiskSize));
        must(incoming->write(ByteOffset(1 << 20), filled(MiB(1), 2)));
        must(incoming->publish());
    }
    std::map<SnapshotId, Bytes> contents() const {
        return {{first, first_content}, {second, second_content}};
    }

    const VolumeId volume = VolumeId::random();
    const SnapshotId first = SnapshotId::random();
    const SnapshotId second = SnapshotId::random();
    Bytes first_content;
    Bytes second_content;
};

void put(Bytes& content, std::uint64_t offset, std::uint64_t length, unsigned char pattern) {
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{pattern});
}

TEST_P(StorageConformance, mending_puts_right_what_a_snapshot_holds_and_leaves_the_older_ones) {
    Replica replica(pool());
    const auto traces = fixture().traces(replica.volume).size();
    {
        const auto mend = must(pool().mend(replica.volume, replica.second));
        must(mend->write(ByteOffset((1 << 20) + 4096), filled(ByteSize(4096), 7)));
        must(mend->write(ByteOffset(6 << 20), filled(MiB(1), 8)));  // held by a lower layer
        must(mend->zero(ByteOffset(4 << 20), MiB(1)));
        must(mend->write(ByteOffset(kDiskSize.count() - 4096), filled(ByteSize(4096), 9)));
        must(mend->flush());
        expect_snapshots(pool(), replica.volume, replica.contents());
        must(mend->publish());
        must(mend->publish());
    }
    put(replica.second_content, (1 << 20) + 4096, 4096, 7);
    put(replica.second_content, 6 << 20, 1 << 20, 8);
    put(replica.second_content, 4 << 20, 1 << 20, 0);
    put(replica.second_content, kDiskSize.count() - 4096, 4096, 9);
    expect_snapshots(pool(), replica.volume, replica.contents());
    fixture().crash();
    expect_snapshots(pool(), replica.volume, replica.contents());
    EXPECT_EQ(fixture().traces(replica.volume).size(), traces) << "nothing is left over";
    // And it is a base as it was before.
    const auto extents = list_changes(pool(), replica.volume, replica.first, replica.second);
    EXPECT_TRUE(with_changes(replica.first_content, extents, replica.second_content) ==
                replica.second_content);
    const auto third = SnapshotId::random();
    auto content = replica.second_content;
    put(content, 0, 4096, 5);
    const auto incoming =
        must(pool().receive(replica.volume, kLabel, replica.second, third, kDiskSize));
    must(incoming->write(ByteOffset(0), filled(ByteSize(4096), 5)));
    must(incoming->publish());
    auto expected = replica.contents();
    expected[third] = content;
    expect_snapshots(pool(), replica.volume, expected);
    must(pool().remove_snapshot(replica.volume, replica.second));
    expected.erase(replica.second);
    expect_snapshots(pool(), replica.volume, expected);
}

TEST_P(StorageConformance, what_was_mended_and_not_published_leaves_no_trace) {
    Replica replica(pool());
    const auto traces = fixture().traces(replica.volume).size();
    {
        const auto mend = must(pool().mend(replica.volume, replica.second));
        must(mend->write(ByteOffset(0), filled(MiB(1), 7)));
        must(mend->flush());
    }
    expect_snapshots(pool(), replica.volume, replica.contents());
    {
        const auto mend = must(pool().mend(replica.volume, replica.second));
        must(mend->write(ByteOffset(0), filled(MiB(1), 7)));
        must(mend->discard());
        must(mend->discard());
    }
    expect_snapshots(pool(), replica.volume, replica.contents());
    {
        const auto mend = must(pool().mend(replica.volume, replica.second));
        must(mend->write(ByteOffset(0), filled(MiB(1), 8)));
        must(mend->publish());
    }
    put(replica.second_content, 0, 1 << 20, 8);
    expect_snapshots(pool(), replica.volume, replica.contents());
    EXPECT_EQ(fixture().traces(replica.volume).size(), traces);
}

TEST_P(StorageConformance, mending_an_older_snapshot_mends_those_that_show_it_or_says_it_cannot) {
    Replica replica(pool());
    auto mend = pool().mend(replica.volume, replica.first);
    if (in_place() && pool().driver() != "memory") {
        ASSERT_EQ(error_kind_of(mend), ErrorKind::unsupported);
        EXPECT_NE(mend.error().text().find("Send a newer snapshot"), std::string::npos);
        expect_snapshots(pool(), replica.volume, replica.contents());
        return;
    }
    must((*mend)->write(ByteOffset(0), filled(MiB(2), 7)));
    must((*mend)->publish());
    put(replica.first_content, 0, 2 << 20, 7);
    put(replica.second_content, 0, 1 << 20, 7);  // its second MiB is its own
    expect_snapshots(pool(), replica.volume, replica.contents());
}

TEST_P(StorageConformance, nothing_is_mended_under_a_vm_or_a_rehearsal) {
    Replica replica(pool());
    const auto drill = must(pool().activate(replica.volume, replica.second, ActivationKind::drill));
    EXPECT_EQ(error_kind_of(pool().mend(replica.volume, replica.second)), ErrorKind::refused);
    must(pool().deactivate(replica.volume, drill));
    {
        // Nor when it comes while the mend is under way.
        const auto mend = must(pool().mend(replica.volume, replica.second));
        must(mend->write(ByteOffset(0), filled(MiB(1), 7)));
        if (!in_place()) {
            const auto other =
                must(pool().activate(replica.volume, replica.second, ActivationKind::drill));
            EXPECT_EQ(error_kind_of(mend->publish()), ErrorKind::refused);
            must(pool().deactivate(replica.volume, other));
        }
    }
    must(pool().activate(replica.volume, replica.second, ActivationKind::promote));
    EXPECT_EQ(error_kind_of(pool().mend(replica.volume, replica.second)), ErrorKind::refused);
    EXPECT_EQ(error_kind_of(pool().mend(replica.volume, SnapshotId::random())),
              ErrorKind::not_found);
    EXPECT_EQ(error_kind_of(pool().mend(VolumeId::random(), replica.second)), ErrorKind::not_found);
    expect_snapshots(pool(), replica.volume, replica.contents());
}

TEST_P(StorageConformance, what_is_being_read_is_not_mended) {
    Replica replica(pool());
    const auto reader = must(pool().open_snapshot(replica.volume, replica.second));
    auto mend = pool().mend(replica.volume, replica.second);
    if (mend) {  // readers of this driver keep what they opened
        must((*mend)->write(ByteOffset(0), filled(MiB(1), 7)));
        must((*mend)->publish());
        Bytes bytes(4096);
        must(reader->read(ByteOffset(0), bytes));
        EXPECT_EQ(bytes[0], std::byte{1});
        return;
    }
    EXPECT_EQ(error_kind_of(mend), ErrorKind::unavailable);
}

}  // namespace
}  // namespace understudy::conformance
