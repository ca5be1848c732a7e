#include "storage/qcow2/image/layer_chain.hpp"

#include "storage/qcow2/image/test_tools.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <algorithm>
#include <thread>

namespace understudy::qcow2 {
namespace {

using namespace understudy::qcow2::testing;

struct Flavour {
    std::string name;
    std::string options;
    std::uint64_t size = 0;
};

void PrintTo(const Flavour& flavour, std::ostream* out) {
    *out << flavour.options;
}

class EveryFlavour : public ::testing::TestWithParam<Flavour> {};

std::string name_of(const ::testing::TestParamInfo<Flavour>& info) {
    return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    LayerChain, EveryFlavour,
    ::testing::Values(Flavour{"version_2", "compat=0.10", 40 << 20},
                      Flavour{"clusters_of_512_bytes", "cluster_size=512", 4 << 20},
                      Flavour{"clusters_of_4_KiB", "cluster_size=4k", 20 << 20},
                      Flavour{"usual", "lazy_refcounts=on", (40 << 20) + 512},
                      Flavour{"clusters_of_2_MiB", "cluster_size=2M", 40 << 20},
                      Flavour{"smallest_subclusters", "extended_l2=on,cluster_size=16k", 20 << 20},
                      Flavour{"understudys_own", "extended_l2=on,cluster_size=128k",
                              (40 << 20) + 1536},
                      Flavour{"largest_subclusters", "extended_l2=on,cluster_size=2M", 40 << 20}),
    name_of);

std::uint64_t seed_of(const Flavour& flavour) {
    return flavour.size + flavour.options.size();
}

TEST_P(EveryFlavour, reads_what_qemu_reads) {
    const TemporaryDirectory dir;
    const auto& flavour = GetParam();
    const auto image = dir / "disk.qcow2";
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", flavour.options, image,
              std::to_string(flavour.size)});
    std::mt19937_64 random(seed_of(flavour));
    run_qemu_io(image, random_writes(random, flavour.size, 60));
    EXPECT_TRUE(as_we_read(image) == as_qemu_reads(dir, image));
}

TEST_P(EveryFlavour, reads_a_grown_chain_of_four_layers_on_raw) {
    const TemporaryDirectory dir;
    const auto& flavour = GetParam();
    const auto bottom_size = flavour.size / 2 / 512 * 512 + 512;
    write_file(dir / "bottom.raw", pattern(bottom_size, 7));
    std::mt19937_64 random(seed_of(flavour));
    std::string below = "bottom.raw";
    for (int layer = 1; layer <= 3; ++layer) {
        const auto size = layer == 1 ? bottom_size + 4096 + 512 : flavour.size;
        const auto image = dir / fmt::format("layer{}", layer);
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", flavour.options, "-b", below,
                  "-F", layer == 1 ? "raw" : "qcow2", image, std::to_string(size)});
        run_qemu_io(image, random_writes(random, size, 12));
        below = fmt::format("layer{}", layer);
    }
    auto chain = LayerChain::open(dir / "layer3", "qcow2");
    ASSERT_TRUE(chain) << chain.error().text();
    EXPECT_EQ((*chain)->depth(), 4U);
    EXPECT_EQ((*chain)->path_of(3), dir / "bottom.raw");
    EXPECT_EQ((*chain)->info_of(3).format, "raw");
    EXPECT_TRUE(as_we_read(**chain) == as_qemu_reads(dir, dir / "layer3"));
}

TEST(LayerChain, reads_a_preallocated_image) {
    const TemporaryDirectory dir;
    const auto image = dir / "disk.qcow2";
    run_tool(
        {"qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", image, "8M"});
    run_qemu_io(image, {"write -P 3 1M 5000", "write -z 1028k 4k"});
    EXPECT_TRUE(as_we_read(image) == as_qemu_reads(dir, image));
}

class EveryCompression : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(LayerChain, EveryCompression,
                         ::testing::Values("compression_type=zlib", "compression_type=zstd",
                                           "compression_type=zlib,cluster_size=512",
                                           "compression_type=zstd,cluster_size=2M",
                                           "compression_type=zstd,extended_l2=on"));

TEST_P(EveryCompression, reads_compressed_clusters) {
    const TemporaryDirectory dir;
    auto content = pattern(6 << 20, 3);
    for (std::size_t at = 0; at < content.size(); at += 3000) {  // compresses to about a half
        std::ranges::fill(
            std::span(content).subspan(at).first(std::min<std::size_t>(1500, content.size() - at)),
            std::byte{7});
    }
    write_file(dir / "content.raw", content);
    const auto image = dir / "disk.qcow2";
    run_tool({"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", GetParam(),
              dir / "content.raw", image});
    run_qemu_io(image, {"write -P 9 1M 70000", "discard 2M 1M"});
    auto expected = as_qemu_reads(dir, image);
    EXPECT_FALSE(expected == content);
    EXPECT_TRUE(as_we_read(image) == expected);
}

TEST(LayerChain, reads_from_many_threads_at_once) {
    const TemporaryDirectory dir;
    const auto image = dir / "disk.qcow2";
    constexpr std::uint64_t kSize = 16 << 20;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", image,
              std::to_string(kSize)});
    std::mt19937_64 random(5);
    run_qemu_io(image, random_writes(random, kSize, 40));
    const auto expected = as_qemu_reads(dir, image);
    auto chain = LayerChain::open(image, "qcow2");
    ASSERT_TRUE(chain) << chain.error().text();
    std::vector<int> equal(4);
    std::vector<std::jthread> threads;
    for (auto& result : equal) {
        threads.emplace_back([&chain, &expected, &result] {
            (*chain)->prefetch(ByteOffset(0), ByteSize(kSize));
            result = as_we_read(**chain) == expected ? 1 : 0;
        });
    }
    threads.clear();
    EXPECT_EQ(equal, std::vector<int>(4, 1));
}

TEST(LayerChain, shows_whole_sectors_of_a_raw_file) {
    const TemporaryDirectory dir;
    write_file(dir / "disk.raw", pattern(10'000, 1));
    const auto ours = as_we_read(dir / "disk.raw", "raw");
    EXPECT_EQ(ours.size(), 10'240U);
    EXPECT_TRUE(ours == as_qemu_reads(dir, dir / "disk.raw", "raw"));
}

TEST(LayerChain, refuses_reads_outside_of_the_disk) {
    const TemporaryDirectory dir;
    write_file(dir / "disk.raw", pattern(4096, 1));
    auto chain = LayerChain::open(dir / "disk.raw", "raw");
    ASSERT_TRUE(chain);
    Bytes bytes(1024);
    EXPECT_EQ((*chain)->read(ByteOffset(3584), bytes).error().kind(), ErrorKind::invalid);
    EXPECT_EQ((*chain)->read(ByteOffset(~0ULL), bytes).error().kind(), ErrorKind::invalid);
}

TEST(LayerChain, refuses_a_loop) {
    const TemporaryDirectory dir;
    for (const auto* name : {"a", "b"}) {
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b",
                  std::string(name) == "a" ? "b" : "a", dir / name, "1M"});
    }
    auto chain = LayerChain::open(dir / "a", "qcow2");
    ASSERT_FALSE(chain);
    EXPECT_EQ(chain.error().kind(), ErrorKind::corrupt);
}

TEST(LayerChain, never_guesses_the_format_of_a_backing_file) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", dir / "base", "1M"});
    // An old image: it has a backing file and does not state that file's format.
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", dir / "top"});
    auto image = read_file(dir / "top");
    const std::byte extension[] = {std::byte{0xe2}, std::byte{0x79}, std::byte{0x2a},
                                   std::byte{0xca}};
    const auto found = std::ranges::search(image, extension);
    ASSERT_FALSE(found.empty());
    found.front() = std::byte{0x11};
    write_file(dir / "top", image);
    auto chain = LayerChain::open(dir / "top", "qcow2");
    ASSERT_FALSE(chain);
    EXPECT_EQ(chain.error().kind(), ErrorKind::unsupported);
    EXPECT_NE(chain.error().text().find("rebase"), std::string::npos) << chain.error().text();
}

TEST(LayerChain, names_a_missing_layer) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "gone.raw",
              dir / "top", "1M"});
    auto chain = LayerChain::open(dir / "top", "qcow2");
    ASSERT_FALSE(chain);
    EXPECT_EQ(chain.error().kind(), ErrorKind::not_found);
    EXPECT_NE(chain.error().text().find(dir / "gone.raw"), std::string::npos);
}

TEST(LayerChain, does_not_hang_on_a_fifo) {
    const TemporaryDirectory dir;
    const auto path = dir / "fifo";
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    auto chain = LayerChain::open(path, "raw");
    ASSERT_FALSE(chain);
    EXPECT_EQ(chain.error().kind(), ErrorKind::unsupported);
}

TEST(LayerChain, tells_a_cut_off_file_from_zeroes) {
    const TemporaryDirectory dir;
    const auto image = dir / "disk.qcow2";
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", image, "4M"});
    run_qemu_io(image, {"write -P 5 0 4M"});
    auto bytes = read_file(image);
    bytes.resize(bytes.size() - (1 << 20));
    write_file(image, bytes);
    auto chain = LayerChain::open(image, "qcow2");
    ASSERT_TRUE(chain);
    Bytes into(4 << 20);
    EXPECT_EQ((*chain)->read(ByteOffset(0), into).error().kind(), ErrorKind::corrupt);
}

}  // namespace
}  // namespace understudy::qcow2
