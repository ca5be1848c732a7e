#include "model/extent.hpp"
#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/image/test_tools.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <nlohmann/json.hpp>

namespace understudy::qcow2 {
namespace {

using namespace understudy::qcow2::testing;
using model::Extent;
using model::ExtentKind;

constexpr std::uint64_t kGrain = 4096;

std::vector<Extent> list(const LayerChain& chain, std::size_t layers, std::uint64_t from = 0,
                         Zeroes zeroes = Zeroes::listed) {
    std::vector<Extent> extents;
    auto stream = chain.extents(layers, ByteOffset(from), zeroes);
    while (true) {
        auto next = stream->next();
        EXPECT_TRUE(next) << next.error().text();
        if (!next || !*next) return extents;
        extents.push_back(**next);
    }
}

// One letter per 4 KiB: '.' left out, 'z' zero, 'd' data. Checks the listing's own promises.
std::string grains(const std::vector<Extent>& extents, std::uint64_t size) {
    std::string map((size + kGrain - 1) / kGrain, '.');
    std::uint64_t last_end = 0;
    for (const auto& extent : extents) {
        const auto begin = extent.offset.count();
        const auto end = extent.end().count();
        EXPECT_GE(begin, last_end);
        EXPECT_LT(begin, end);
        EXPECT_EQ(begin % kGrain, 0U);
        EXPECT_TRUE(end % kGrain == 0 || end == size) << end;
        std::fill(map.begin() + static_cast<std::ptrdiff_t>(begin / kGrain),
                  map.begin() + static_cast<std::ptrdiff_t>((end + kGrain - 1) / kGrain),
                  extent.kind == ExtentKind::data ? 'd' : 'z');
        last_end = end;
    }
    EXPECT_LE(last_end, size);
    return map;
}

// The same from the output of `qemu-img map`, by the rules that LayerChain::extents states.
std::string grains_by_qemu(const std::string& image, const std::string& format, std::size_t layers,
                           std::uint64_t size, bool tell_zeroes) {
    const auto map =
        nlohmann::json::parse(run_tool({"qemu-img", "map", "--output=json", "-f", format, image}));
    std::string sectors(size / 512, '.');
    for (const auto& entry : map) {
        if (entry.at("depth").get<std::size_t>() >= layers || !entry.value("present", true)) {
            continue;
        }
        const bool zero = entry.at("zero").get<bool>() || !entry.at("data").get<bool>();
        const auto begin = entry.at("start").get<std::size_t>() / 512;
        const auto count = entry.at("length").get<std::size_t>() / 512;
        const char letter = !zero ? 'd' : tell_zeroes ? 'z' : '.';
        std::fill_n(sectors.begin() + static_cast<std::ptrdiff_t>(begin), count, letter);
    }
    std::string result;
    for (std::size_t at = 0; at < sectors.size(); at += 8) {
        const auto grain = sectors.substr(at, 8);
        const bool mixed = grain.find_first_not_of(grain[0]) != std::string::npos;
        result += mixed ? 'd' : grain[0];
    }
    return result;
}

struct ChainShape {
    std::string name;
    std::string options;
    std::string bottom_format;
};

void PrintTo(const ChainShape& shape, std::ostream* out) {
    *out << shape.name;
}

class EveryChain : public ::testing::TestWithParam<ChainShape> {};
INSTANTIATE_TEST_SUITE_P(
    LayerChain, EveryChain,
    ::testing::Values(ChainShape{"usual", "cluster_size=64k", "raw"},
                      ChainShape{"tiny_clusters", "cluster_size=512", "qcow2"},
                      ChainShape{"small_clusters", "cluster_size=2k", "raw"},
                      ChainShape{"subclusters", "extended_l2=on,cluster_size=128k", "qcow2"},
                      ChainShape{"small_subclusters", "extended_l2=on,cluster_size=16k", "raw"}),
    [](const auto& instance) { return instance.param.name; });

TEST_P(EveryChain, lists_what_qemu_maps_at_every_depth) {
    const TemporaryDirectory dir;
    const auto& shape = GetParam();
    constexpr std::uint64_t kSize = (12 << 20) + 512;
    std::mt19937_64 random(shape.name.size());
    run_tool({"qemu-img", "create", "-q", "-f", shape.bottom_format, dir / "layer0",
              std::to_string(kSize)});
    if (shape.bottom_format == "raw") {
        patch_file(dir / "layer0", 1 << 20, pattern(300'000, 1));
        patch_file(dir / "layer0", 6 << 20, pattern(5'000, 1));
    } else {
        run_qemu_io(dir / "layer0", random_writes(random, kSize, 10));
    }
    for (int layer = 1; layer <= 3; ++layer) {
        const auto image = dir / fmt::format("layer{}", layer);
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", shape.options, "-b",
                  fmt::format("layer{}", layer - 1), "-F",
                  layer == 1 ? shape.bottom_format : "qcow2", image, std::to_string(kSize)});
        run_qemu_io(image, random_writes(random, kSize, 10));
    }
    auto chain = LayerChain::open(dir / "layer3", "qcow2");
    ASSERT_TRUE(chain) << chain.error().text();
    for (std::size_t layers = 1; layers <= 4; ++layers) {
        const auto expected = grains_by_qemu(dir / "layer3", "qcow2", layers, kSize, layers < 4);
        const auto extents = list(**chain, layers);
        EXPECT_EQ(grains(extents, kSize), expected) << layers << " layers";
        EXPECT_NE(expected.find('d'), std::string::npos);
        for (const auto from : {kGrain, std::uint64_t{3} << 20, kSize}) {
            const auto tail = grains(list(**chain, layers, from), kSize);
            const auto kept = std::min<std::size_t>(tail.size(), (from + kGrain - 1) / kGrain);
            EXPECT_EQ(tail, std::string(kept, '.') + expected.substr(kept)) << "from " << from;
        }
    }
}

TEST(LayerChainExtents, leave_holes_of_a_raw_disk_out) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "raw", dir / "disk", "10M"});
    patch_file(dir / "disk", 1 << 20, pattern(70'000, 1));
    auto chain = LayerChain::open(dir / "disk", "raw");
    ASSERT_TRUE(chain);
    const auto map = grains(list(**chain, 1, 0, Zeroes::left_out), 10 << 20);
    EXPECT_EQ(map, grains_by_qemu(dir / "disk", "raw", 1, 10 << 20, false));
    EXPECT_GE(std::ranges::count(map, 'd'), 18);
    EXPECT_LT(std::ranges::count(map, 'd'), 100);  // filesystems differ in their own grain
}

TEST(LayerChainExtents, tell_trims_as_zeroes_against_a_base_only) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", dir / "base", "4M"});
    run_qemu_io(dir / "base", {"write -P 1 0 4M"});
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k",
              "-b", "base", "-F", "qcow2", dir / "top"});
    run_qemu_io(dir / "top", {"write -P 2 8k 4k", "discard 1M 1M", "write -z 2560k 4k"});
    auto chain = LayerChain::open(dir / "top", "qcow2");
    ASSERT_TRUE(chain);
    const std::vector<Extent> changes{
        {ByteOffset(8192), ByteSize(4096), ExtentKind::data},
        {ByteOffset(1 << 20), base::MiB(1), ExtentKind::zero},
        {ByteOffset(2560 << 10), ByteSize(4096), ExtentKind::zero},
    };
    EXPECT_EQ(list(**chain, 1), changes);
    const auto whole = grains(list(**chain, 2, 0, Zeroes::left_out), 4 << 20);
    EXPECT_EQ(std::ranges::count(whole, '.'), 257);
    EXPECT_EQ(std::ranges::count(whole, 'z'), 0);
}

// A disk that was grown above the base: what was never written there is zero on both sides, so it
// is no change.
TEST(LayerChainExtents, do_not_tell_what_a_disk_gained_by_growing) {
    const TemporaryDirectory dir;
    write_file(dir / "base", pattern((1 << 20) + 1024, 1));
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base",
              "-F", "raw", dir / "middle"});
    run_qemu_io(dir / "middle", {fmt::format("write -P 1 {} 1024", 1 << 20)});
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "middle",
              "-F", "qcow2", dir / "top", "4M"});
    run_qemu_io(dir / "top", {"write -P 2 2M 4k"});
    auto chain = LayerChain::open(dir / "top", "qcow2");
    ASSERT_TRUE(chain);
    const std::vector<Extent> in_top{{ByteOffset(2 << 20), ByteSize(4096), ExtentKind::data}};
    EXPECT_EQ(list(**chain, 1), in_top);
    const std::vector<Extent> in_both{{ByteOffset(1 << 20), ByteSize(4096), ExtentKind::data},
                                      in_top[0]};
    EXPECT_EQ(list(**chain, 2), in_both);
    EXPECT_TRUE(as_we_read(**chain) == as_qemu_reads(dir, dir / "top"));
}

TEST(LayerChainExtents, of_a_huge_empty_disk_come_at_once) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k",
              dir / "disk", "64T"});
    run_qemu_io(dir / "disk", {"write -P 1 50T 4k"});
    auto chain = LayerChain::open(dir / "disk", "qcow2");
    ASSERT_TRUE(chain) << chain.error().text();
    const std::vector<Extent> expected{{ByteOffset(50ULL << 40), ByteSize(4096), ExtentKind::data}};
    EXPECT_EQ(list(**chain, 1, 0, Zeroes::left_out), expected);
}

TEST(LayerChainExtents, are_merged_up_to_one_gibibyte) {
    const TemporaryDirectory dir;
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k",
              "-u", "-b", "nothing", "-F", "qcow2", dir / "top", "5G"});
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", dir / "nothing", "5G"});
    run_qemu_io(dir / "top", {"write -z 512M 1536M", "write -z 2G 1G", "write -P 1 3G 4k"});
    auto chain = LayerChain::open(dir / "top", "qcow2");
    ASSERT_TRUE(chain) << chain.error().text();
    const std::vector<Extent> expected{
        {ByteOffset(512ULL << 20), base::GiB(1), ExtentKind::zero},
        {ByteOffset(1536ULL << 20), base::GiB(1), ExtentKind::zero},
        {ByteOffset(2560ULL << 20), base::MiB(512), ExtentKind::zero},
        {ByteOffset(3ULL << 30), ByteSize(4096), ExtentKind::data},
    };
    EXPECT_EQ(list(**chain, 1), expected);
}

TEST(LayerChainExtents, outlive_their_chain) {
    const TemporaryDirectory dir;
    write_file(dir / "disk", pattern(8192, 1));
    std::unique_ptr<ports::ExtentStream> stream;
    {
        auto chain = LayerChain::open(dir / "disk", "raw");
        ASSERT_TRUE(chain);
        stream = (*chain)->extents(1, ByteOffset(0), Zeroes::left_out);
    }
    auto extent = stream->next();
    ASSERT_TRUE(extent);
    EXPECT_EQ((*extent)->length, ByteSize(8192));
}

}  // namespace
}  // namespace understudy::qcow2
