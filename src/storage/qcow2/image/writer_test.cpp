#include "storage/qcow2/image/writer.hpp"

#include "storage/qcow2/image/test_tools.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <filesystem>
#include <iterator>

namespace understudy::qcow2 {
namespace {

using namespace understudy::qcow2::testing;

constexpr std::uint64_t kGrain = 4096;
constexpr std::uint64_t kCluster = 128 << 10;

void ok(const Result<>& result) {
    EXPECT_TRUE(result) << result.error().text();
}

std::unique_ptr<ImageWriter> opened(Result<std::unique_ptr<ImageWriter>> writer) {
    EXPECT_TRUE(writer) << writer.error().text();
    return writer ? std::move(*writer) : nullptr;
}

void check_by_qemu(const std::string& image) {
    const auto output = run_tool({"qemu-img", "check", "-f", "qcow2", image});
    EXPECT_NE(output.find("No errors"), std::string::npos) << output;
}

class Qcow2Writer : public ::testing::Test {
protected:
    const TemporaryDirectory dir;
    const std::string path = dir / "disk.qcow2";
};

TEST_F(Qcow2Writer, writes_what_qemu_reads) {
    constexpr std::uint64_t kSize = (9 << 20) + 512;
    auto writer = opened(ImageWriter::create(path, ByteSize(kSize), std::nullopt));
    ASSERT_TRUE(writer);
    Bytes expected(kSize);
    for (const auto& [offset, length] : std::vector<std::pair<std::size_t, std::size_t>>{
             {0, 1 << 20}, {5 << 20, 4096}, {(5 << 20) + 3 * 4096, 200 << 10}, {9 << 20, 512}}) {
        const auto data = pattern(length, offset);
        std::ranges::copy(data, expected.begin() + static_cast<std::ptrdiff_t>(offset));
        ok(writer->write(ByteOffset(offset), data));
    }
    ok(writer->finish());
    check_by_qemu(path);
    EXPECT_TRUE(as_qemu_reads(dir, path) == expected);
    EXPECT_TRUE(as_we_read(path) == expected);
}

TEST_F(Qcow2Writer, hides_what_is_below_with_zeroes) {
    write_file(dir / "base", pattern(8 << 20, 1));
    auto writer = opened(ImageWriter::create(path, base::MiB(10), BackingFile{"base", "raw"}));
    ASSERT_TRUE(writer);
    auto expected = read_file(dir / "base");
    expected.resize(10 << 20);
    const auto zero = [&](std::size_t offset, std::size_t length) {
        ok(writer->zero(ByteOffset(offset), ByteSize(length)));
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
    };
    zero(kGrain, kGrain);
    zero(1 << 20, 1 << 20);
    zero((4 << 20) - kGrain, 3 * kGrain);
    zero((8 << 20) - kCluster, 2 * kCluster);
    const auto before = std::filesystem::file_size(path);
    ok(writer->finish());
    check_by_qemu(path);
    EXPECT_TRUE(as_qemu_reads(dir, path) == expected);
    // One L2 table and one refcount block; not a byte of data.
    EXPECT_EQ(std::filesystem::file_size(path), before + 2 * kCluster);
}

TEST_F(Qcow2Writer, forgets_what_is_zeroed_again) {
    auto writer = opened(ImageWriter::create(path, base::MiB(4), std::nullopt));
    ASSERT_TRUE(writer);
    ok(writer->write(ByteOffset(0), pattern(2 << 20, 1)));
    ok(writer->flush());
    ok(writer->zero(ByteOffset(kGrain), base::MiB(1)));
    ok(writer->write(ByteOffset(2 * kGrain), pattern(kGrain, 2)));
    ok(writer->finish());
    check_by_qemu(path);
    auto expected = pattern(2 << 20, 1);
    expected.resize(4 << 20);
    std::fill_n(expected.begin() + kGrain, 1 << 20, std::byte{0});
    std::ranges::copy(pattern(kGrain, 2), expected.begin() + 2 * kGrain);
    EXPECT_TRUE(as_qemu_reads(dir, path) == expected);
}

TEST_F(Qcow2Writer, is_marked_dirty_until_it_is_finished) {
    auto writer = opened(ImageWriter::create(path, base::MiB(4), std::nullopt));
    ASSERT_TRUE(writer);
    ok(writer->write(ByteOffset(0), pattern(kGrain, 1)));
    ok(writer->flush());
    EXPECT_TRUE(probe_image(path, "qcow2")->dirty);
    ok(writer->finish());
    EXPECT_FALSE(probe_image(path, "qcow2")->dirty);
    ok(writer->write(ByteOffset(kCluster), pattern(kGrain, 2)));
    EXPECT_TRUE(probe_image(path, "qcow2")->dirty);
    ok(writer->finish());
    check_by_qemu(path);
}

TEST_F(Qcow2Writer, may_be_finished_reopened_and_finished_again) {
    {
        auto writer = opened(ImageWriter::create(path, base::MiB(4), std::nullopt));
        ASSERT_TRUE(writer);
        ok(writer->write(ByteOffset(0), pattern(1 << 20, 1)));
        ok(writer->finish());
    }
    const auto finished = read_file(path);
    {
        auto writer = opened(ImageWriter::reopen(path));
        ASSERT_TRUE(writer);
        ok(writer->finish());
        EXPECT_TRUE(read_file(path) == finished);
        ok(writer->write(ByteOffset(3 << 20), pattern(1 << 20, 2)));
    }
    auto writer = opened(ImageWriter::reopen(path));
    ASSERT_TRUE(writer);
    ok(writer->write(ByteOffset(3 << 20), pattern(1 << 20, 2)));
    ok(writer->finish());
    check_by_qemu(path);
    auto expected = pattern(1 << 20, 1);
    expected.resize(3 << 20);
    std::ranges::copy(pattern(1 << 20, 2), std::back_inserter(expected));
    EXPECT_TRUE(as_qemu_reads(dir, path) == expected);
}

// 100 tables are touched, and 64 fit into memory.
TEST_F(Qcow2Writer, keeps_tables_that_do_not_fit_into_memory) {
    auto writer = opened(ImageWriter::create(path, base::GiB(100), std::nullopt));
    ASSERT_TRUE(writer);
    for (int round = 0; round < 2; ++round) {
        for (std::uint64_t gib = 0; gib < 100; ++gib) {
            const auto at = ByteOffset((gib << 30) + static_cast<std::uint64_t>(round) * kCluster);
            ok(writer->write(at, pattern(kGrain, gib)));
        }
    }
    ok(writer->finish());
    check_by_qemu(path);
    auto chain = LayerChain::open(path, "qcow2");
    ASSERT_TRUE(chain);
    for (std::uint64_t gib = 0; gib < 100; ++gib) {
        for (const auto at : {gib << 30, (gib << 30) + kCluster}) {
            Bytes into(kGrain);
            ok((*chain)->read(ByteOffset(at), into));
            EXPECT_TRUE(into == pattern(kGrain, gib)) << at;
        }
    }
}

TEST_F(Qcow2Writer, refuses_a_path_that_exists) {
    write_file(path, pattern(10, 1));
    auto writer = ImageWriter::create(path, base::MiB(4), std::nullopt);
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().kind(), ErrorKind::invalid);
    EXPECT_EQ(read_file(path), pattern(10, 1));
    EXPECT_FALSE(std::filesystem::exists(path + kTemporarySuffix));
    EXPECT_EQ(RawWriter::create(path, base::MiB(4)).error().kind(), ErrorKind::invalid);
}

TEST_F(Qcow2Writer, refuses_what_lies_off_the_grid_or_outside) {
    auto writer = opened(ImageWriter::create(path, ByteSize((1 << 20) + 512), std::nullopt));
    ASSERT_TRUE(writer);
    EXPECT_EQ(writer->write(ByteOffset(512), pattern(kGrain, 1)).error().kind(),
              ErrorKind::invalid);
    EXPECT_EQ(writer->write(ByteOffset(0), pattern(512, 1)).error().kind(), ErrorKind::invalid);
    EXPECT_EQ(writer->zero(ByteOffset(1 << 20), ByteSize(1024)).error().kind(), ErrorKind::invalid);
    EXPECT_EQ(writer->zero(ByteOffset(kGrain), ByteSize(~0ULL)).error().kind(), ErrorKind::invalid);
    ok(writer->zero(ByteOffset(1 << 20), ByteSize(512)));
    ok(writer->write(ByteOffset(1 << 20), pattern(512, 1)));
    EXPECT_EQ(ImageWriter::create(dir / "odd", ByteSize(1000), std::nullopt).error().kind(),
              ErrorKind::invalid);
    EXPECT_EQ(
        ImageWriter::create(dir / "nbd", base::MiB(1), BackingFile{"nbd:x", "raw"}).error().kind(),
        ErrorKind::invalid);
}

TEST_F(Qcow2Writer, does_not_reopen_what_it_did_not_make) {
    EXPECT_EQ(ImageWriter::reopen(path).error().kind(), ErrorKind::not_found);
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", path, "4M"});
    EXPECT_EQ(ImageWriter::reopen(path).error().kind(), ErrorKind::corrupt);
    write_file(path, pattern(1 << 20, 1));
    EXPECT_EQ(ImageWriter::reopen(path).error().kind(), ErrorKind::corrupt);
}

TEST_F(Qcow2Writer, resumes_after_kill_at_its_last_flush) {
    {
        auto writer = opened(ImageWriter::create(path, base::MiB(8), std::nullopt));
        ASSERT_TRUE(writer);
        ok(writer->write(ByteOffset(0), pattern(1 << 20, 1)));
        ok(writer->flush());
        ok(writer->write(ByteOffset(4 << 20), pattern(1 << 20, 2)));  // never flushed
    }
    auto writer = opened(ImageWriter::reopen(path));
    ASSERT_TRUE(writer);
    auto expected = pattern(1 << 20, 1);
    expected.resize(8 << 20);
    EXPECT_TRUE(as_we_read(path) == expected);
    ok(writer->write(ByteOffset(6 << 20), pattern(kGrain, 3)));
    std::ranges::copy(pattern(kGrain, 3), expected.begin() + (6 << 20));
    ok(writer->finish());
    check_by_qemu(path);
    EXPECT_TRUE(as_qemu_reads(dir, path) == expected);
    // Header, L1, refcount table, L2 table, 8 + 1 clusters of data, a refcount block: no leak.
    EXPECT_EQ(std::filesystem::file_size(path), 14 * kCluster);
}

TEST_F(Qcow2Writer, makes_overlays_that_qemu_writes_into) {
    write_file(dir / "base", pattern(4 << 20, 1));
    ok(create_overlay(path, base::MiB(6), BackingFile{"base", "raw"}));
    check_by_qemu(path);
    EXPECT_EQ(probe_image(path, "qcow2")->backing, (BackingFile{"base", "raw"}));
    run_qemu_io(path, {"write -P 9 1M 64k", "write -z 2M 64k", "write -P 8 5M 1M"});
    check_by_qemu(path);
    auto expected = read_file(dir / "base");
    expected.resize(6 << 20);
    std::fill_n(expected.begin() + (1 << 20), 64 << 10, std::byte{9});
    std::fill_n(expected.begin() + (2 << 20), 64 << 10, std::byte{0});
    std::fill_n(expected.begin() + (5 << 20), 1 << 20, std::byte{8});
    EXPECT_TRUE(as_we_read(path) == expected);

    auto again = create_overlay(path, base::MiB(6), BackingFile{"base", "raw"});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::invalid);
    EXPECT_TRUE(as_we_read(path) == expected);
    ok(create_overlay(path, base::MiB(4), BackingFile{"base", "raw"}, IfExists::replace));
    EXPECT_TRUE(as_we_read(path) == read_file(dir / "base"));
}

TEST_F(Qcow2Writer, makes_overlays_of_every_size) {
    for (const auto* size : {"512", "64G", "20T"}) {
        const auto bytes = base::parse_size(size);
        ASSERT_TRUE(bytes);
        ok(create_overlay(path, *bytes, BackingFile{"no such file", "raw"}, IfExists::replace));
        run_tool({"qemu-img", "rebase", "-f", "qcow2", "-u", "-b", "", path});
        check_by_qemu(path);
    }
}

TEST_F(Qcow2Writer, of_raw_files_keeps_holes) {
    {
        auto writer = RawWriter::create(path, ByteSize((64 << 20) + 512));
        ASSERT_TRUE(writer) << writer.error().text();
        ok((*writer)->write(ByteOffset(1 << 20), pattern(1 << 20, 1)));
        ok((*writer)->flush());
    }
    auto writer = RawWriter::reopen(path);
    ASSERT_TRUE(writer) << writer.error().text();
    EXPECT_EQ((*writer)->size(), ByteSize((64 << 20) + 512));
    ok((*writer)->write(ByteOffset(64 << 20), pattern(512, 2)));
    ok((*writer)->zero(ByteOffset((1 << 20) + 100), ByteSize(10'000)));
    EXPECT_FALSE((*writer)->write(ByteOffset(64 << 20), pattern(513, 2)));
    ok((*writer)->finish());
    Bytes expected((64 << 20) + 512);
    std::ranges::copy(pattern(1 << 20, 1), expected.begin() + (1 << 20));
    std::ranges::copy(pattern(512, 2), expected.begin() + (64 << 20));
    std::fill_n(expected.begin() + (1 << 20) + 100, 10'000, std::byte{0});
    EXPECT_TRUE(read_file(path) == expected);
    auto chain = LayerChain::open(path, "raw");
    ASSERT_TRUE(chain);
    auto first = (*chain)->extents(1, ByteOffset(0), Zeroes::left_out)->next();
    ASSERT_TRUE(first && *first);
    EXPECT_GT((*first)->offset, ByteOffset(0));
}

}  // namespace
}  // namespace understudy::qcow2
