#include "storage/qcow2/image/header.hpp"

#include "storage/qcow2/image/format.hpp"
#include "storage/qcow2/image/test_tools.hpp"
#include "storage/qcow2/image/writer.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <array>

namespace understudy::qcow2 {
namespace {

using namespace understudy::qcow2::testing;

class ImageHeader : public ::testing::Test {
protected:
    void SetUp() override {
        run_tool({"qemu-img", "create", "-q", "-f", "raw", dir / "base", "4M"});
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "-o",
                  "extended_l2=on", path});
        run_qemu_io(path, {"write -P 1 64k 100k", "write -z 1M 64k"});
        intact = read_file(path);
    }

    ErrorKind kind_with_32(std::size_t at, std::uint32_t value) {
        std::array<std::byte, 4> bytes{};
        store_be32(bytes.data(), value);
        return kind_with(at, bytes);
    }
    ErrorKind kind_with_64(std::size_t at, std::uint64_t value) {
        std::array<std::byte, 8> bytes{};
        store_be64(bytes.data(), value);
        return kind_with(at, bytes);
    }
    ErrorKind kind_with(std::size_t at, std::span<const std::byte> bytes) {
        write_file(path, intact);
        patch_file(path, at, bytes);
        auto info = probe_image(path, "qcow2");
        EXPECT_FALSE(info) << "byte " << at;
        return info ? ErrorKind::internal : info.error().kind();
    }

    const TemporaryDirectory dir;
    const std::string path = dir / "disk.qcow2";
    Bytes intact;
};

TEST_F(ImageHeader, tells_what_qemu_wrote) {
    auto info = probe_image(path, "qcow2");
    ASSERT_TRUE(info) << info.error().text();
    EXPECT_EQ(info->size, base::MiB(4));
    EXPECT_EQ(info->version, 3U);
    EXPECT_EQ(info->cluster_bits, 16U);
    EXPECT_TRUE(info->extended_l2);
    EXPECT_FALSE(info->dirty);
    EXPECT_FALSE(info->has_internal_snapshots);
    EXPECT_EQ(info->backing, (BackingFile{"base", "raw"}));
}

TEST_F(ImageHeader, tells_internal_snapshots) {
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", path, "1M"});
    run_tool({"qemu-img", "snapshot", "-c", "one", path});
    auto info = probe_image(path, "qcow2");
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->has_internal_snapshots);
    EXPECT_EQ(info->version, 2U);
}

TEST_F(ImageHeader, takes_contents_for_what_the_caller_says) {
    auto info = probe_image(path, "raw");  // a guest wrote a qcow2 header onto its raw disk
    ASSERT_TRUE(info);
    EXPECT_EQ(info->size.count(), intact.size());
    EXPECT_FALSE(info->backing);
    EXPECT_EQ(probe_image(path, "vmdk").error().kind(), ErrorKind::unsupported);
}

TEST_F(ImageHeader, refuses_what_it_cannot_read) {
    EXPECT_EQ(kind_with_32(kVersionAt, 4), ErrorKind::unsupported);
    EXPECT_EQ(kind_with_32(kCryptAt, 2), ErrorKind::unsupported);
    EXPECT_EQ(kind_with_64(kIncompatibleAt, 1U << 5), ErrorKind::unsupported);
    EXPECT_EQ(kind_with_64(kIncompatibleAt, kExternalDataBit), ErrorKind::unsupported);
    const auto other = dir / "other";
    for (const auto* backing : {"json:{\"driver\":\"null-co\"}", "nbd://localhost/disk"}) {
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", "raw",
                  other, "1M"});
        EXPECT_EQ(probe_image(other, "qcow2").error().kind(), ErrorKind::unsupported) << backing;
    }
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "a.vmdk", "-F", "vmdk", other,
              "1M"});
    EXPECT_EQ(probe_image(other, "qcow2").error().kind(), ErrorKind::unsupported);
}

TEST_F(ImageHeader, refuses_malformed_fields) {
    EXPECT_EQ(kind_with_32(0, 0x12345678), ErrorKind::corrupt);
    EXPECT_EQ(kind_with_64(kIncompatibleAt, kCorruptBit), ErrorKind::corrupt);
    EXPECT_EQ(kind_with_64(kIncompatibleAt, kCompressionBit), ErrorKind::corrupt);
    for (const auto bits : {0U, 8U, 22U, 63U, 64U, ~0U}) {
        EXPECT_EQ(kind_with_32(kClusterBitsAt, bits), ErrorKind::corrupt);
    }
    EXPECT_EQ(kind_with_64(kSizeAt, ~0ULL), ErrorKind::corrupt);
    EXPECT_EQ(kind_with_64(kSizeAt, 1ULL << 50), ErrorKind::corrupt);  // more than its L1 table
    for (const auto entries : {0U, 1U << 23, ~0U}) {
        EXPECT_EQ(kind_with_32(kL1EntriesAt, entries), ErrorKind::corrupt);
    }
    for (const auto offset : {0ULL, 4096ULL, 1ULL << 40, ~0ULL, ~0xffffULL}) {
        EXPECT_EQ(kind_with_64(kL1OffsetAt, offset), ErrorKind::corrupt);
    }
    for (const auto offset : {1ULL, 65535ULL, 65536ULL, ~0ULL}) {
        EXPECT_EQ(kind_with_64(kBackingOffsetAt, offset), ErrorKind::corrupt);
    }
    EXPECT_EQ(kind_with_32(kBackingLengthAt, 1024), ErrorKind::corrupt);
    for (const auto length : {0U, 103U, 105U, 65544U, ~0U}) {
        EXPECT_EQ(kind_with_32(kHeaderLengthAt, length), ErrorKind::corrupt);
    }
    EXPECT_EQ(kind_with_32(kRefcountOrderAt, 7), ErrorKind::corrupt);
    EXPECT_EQ(kind_with_32(kHeaderLengthWritten + 4, ~0U), ErrorKind::corrupt);  // an extension
}

TEST_F(ImageHeader, refuses_a_file_cut_anywhere_in_it) {
    for (std::size_t length = 0; length < 600; length += length < 120 ? 1 : 37) {
        write_file(path, std::span(intact).first(length));
        EXPECT_EQ(probe_image(path, "qcow2").error().kind(), ErrorKind::corrupt) << length;
    }
}

// Whatever the bytes are, there is an answer. The sanitizers see what an assertion cannot see.
TEST_F(ImageHeader, and_tables_of_any_bytes_give_an_answer) {
    std::mt19937_64 random(1);
    int refused = 0;
    for (int round = 0; round < 1500; ++round) {
        auto image = intact;
        const auto first = round % 2 == 0 ? 0 : 1 << 16;  // the header, or the tables behind it
        const auto span = round % 2 == 0 ? 160 : image.size() - (1 << 16);
        for (int flips = 0; flips < 4; ++flips) {
            image[first + random() % span] = static_cast<std::byte>(random());
        }
        write_file(path, image);
        auto chain = LayerChain::open(path, "qcow2");
        if (chain && (*chain)->size() <= base::MiB(64)) {
            Bytes into((*chain)->size().count());
            if (!(*chain)->read(ByteOffset(0), into)) ++refused;
            (*chain)->prefetch(ByteOffset(0), (*chain)->size());
            auto stream = (*chain)->extents(1, ByteOffset(0), Zeroes::listed);
            for (auto next = stream->next(); next && *next;) next = stream->next();
        } else {
            ++refused;
        }
        (void)ImageWriter::reopen(path);
    }
    EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace understudy::qcow2
