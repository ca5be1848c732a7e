#include "mover/content_digest.hpp"
#include "mover/copy_disk.hpp"
#include "mover/fake_disks.hpp"
#include "mover/layer_stack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace understudy::mover {
namespace {

using fake::Bytes;
using fake::Extents;
using fake::ListedExtents;
using model::ExtentKind;
using ::testing::ElementsAre;

model::Extent data(std::uint64_t offset, std::uint64_t length) {
    return {ByteOffset(offset), ByteSize(length), ExtentKind::data};
}
model::Extent zero(std::uint64_t offset, std::uint64_t length) {
    return {ByteOffset(offset), ByteSize(length), ExtentKind::zero};
}
Bytes filled(std::size_t length, int with) {
    return Bytes(length, static_cast<std::byte>(with));
}

// A layer that holds one byte value wherever it has data.
class FlatLayer final : public ports::DiskLayer {
public:
    FlatLayer(std::uint64_t size, Extents extents, int with)
        : size_(size), extents_(std::move(extents)), with_(static_cast<std::byte>(with)) {}
    ByteSize size() const override { return ByteSize(size_); }
    Result<std::unique_ptr<ports::ExtentStream>> extents() override {
        return std::make_unique<ListedExtents>(extents_, ByteOffset(0));
    }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        for (const auto& extent : extents_)
            if (extent.kind == ExtentKind::data && extent.offset <= offset &&
                offset + ByteSize(into.size()) <= extent.end()) {
                std::ranges::fill(into, with_);
                return {};
            }
        return fail(ErrorKind::internal, "no data there");
    }

private:
    std::uint64_t size_;
    Extents extents_;
    std::byte with_;
};

template <class... Layers>
std::vector<std::unique_ptr<ports::DiskLayer>> layers(Layers... each) {
    std::vector<std::unique_ptr<ports::DiskLayer>> made;
    (made.push_back(std::make_unique<FlatLayer>(std::move(each))), ...);
    return made;
}

Extents listed(ports::ExtentStream& stream) {
    Extents found;
    while (true) {
        auto extent = stream.next();
        if (!extent || !*extent) return found;
        if (!found.empty() && found.back().end() == (*extent)->offset &&
            found.back().kind == (*extent)->kind)
            found.back().length += (*extent)->length;
        else
            found.push_back(**extent);
    }
}

std::string content(LayerStack& stack, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length);
    auto read = stack.read(ByteOffset(offset), bytes);
    if (!read) return read.error().text();
    std::string text;
    for (const auto byte : bytes) text += byte == std::byte{0} ? '.' : static_cast<char>(byte);
    return text;
}

TEST(LayerStack, the_topmost_layer_that_knows_a_place_decides_to_the_byte) {
    LayerStack stack(
        layers(FlatLayer(20, {data(0, 10)}, 'a'), FlatLayer(20, {data(3, 2), zero(7, 1)}, 'b'),
               FlatLayer(20, {data(4, 2)}, 'c')),
        nullptr);
    EXPECT_EQ(content(stack, 0, 20), "aaabcca.aa..........");
    EXPECT_EQ(content(stack, 4, 3), "cca") << "going back";
    EXPECT_THAT(listed(**stack.extents()), ElementsAre(data(0, 7), zero(7, 1), data(8, 2)));
    Bytes beyond(2);
    EXPECT_FALSE(stack.read(ByteOffset(19), beyond)) << "behind the end";
}

TEST(LayerStack, what_a_smaller_layer_ended_does_not_come_back_when_the_disk_grows_again) {
    LayerStack stack(layers(FlatLayer(20, {data(0, 20)}, 'a'), FlatLayer(5, {}, 'b'),
                            FlatLayer(20, {data(10, 2)}, 'c')),
                     nullptr);
    EXPECT_EQ(content(stack, 0, 20), "aaaaa.....cc........");
    EXPECT_THAT(listed(**stack.extents()),
                ElementsAre(data(0, 5), zero(5, 5), data(10, 2), zero(12, 8)));
}

TEST(LayerStack, what_no_layer_knows_is_the_bases_as_far_as_that_goes) {
    const Bytes below = filled(8, 'x');
    LayerStack stack(layers(FlatLayer(12, {data(2, 2)}, 'a')),
                     std::make_unique<fake::DiskReader>(below));
    EXPECT_EQ(content(stack, 0, 12), "xxaaxxxx....");
    EXPECT_THAT(listed(**stack.extents()), ElementsAre(data(2, 2)));
}

TEST(ContentDigest, does_not_depend_on_how_the_content_was_cut) {
    const auto bytes = filled(8192, 7);
    ContentDigest whole;
    whole.data(ByteOffset(4096), bytes);
    whole.zero(ByteOffset(12288), ByteSize(8192));
    ContentDigest cut;
    cut.data(ByteOffset(4096), std::span(bytes).first(100));
    cut.data(ByteOffset(4196), std::span(bytes).subspan(100));
    cut.zero(ByteOffset(12288), ByteSize(4096));
    cut.zero(ByteOffset(16384), ByteSize(4096));
    cut.zero(ByteOffset(20480), ByteSize(0));
    EXPECT_EQ(whole.text(), cut.text());
}

TEST(ContentDigest, differs_with_content_place_and_kind) {
    const auto digest = [](std::uint64_t at, int with, std::uint64_t zero_at) {
        ContentDigest made;
        made.data(ByteOffset(at), filled(4096, with));
        if (zero_at > 0) made.zero(ByteOffset(zero_at), ByteSize(4096));
        return made.text();
    };
    const std::set<std::string> all{digest(0, 1, 0), digest(4096, 1, 0), digest(0, 2, 0),
                                    digest(0, 1, 4096), digest(0, 1, 8192)};
    EXPECT_EQ(all.size(), 5U);
}

// What arrives at the other end of a copy.
class Taken final : public ports::Incoming {
public:
    explicit Taken(std::size_t size) : content(filled(size, 0xEE)) {}
    Result<> write(ByteOffset offset, std::span<const std::byte> bytes) override {
        return put(offset, bytes);
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        zeroes += length;
        return put(offset, filled(length.count(), 0));
    }
    Result<> flush() override { return {}; }
    Result<> publish() override { return {}; }
    Result<> discard() override { return {}; }

    Bytes content;
    ByteSize zeroes;

private:
    Result<> put(ByteOffset offset, std::span<const std::byte> bytes) {
        const auto end = offset.count() + bytes.size();
        if (offset.count() % 4096 != 0 || end > content.size() ||
            (end % 4096 != 0 && end != content.size()))
            return fail(ErrorKind::invalid, "off the grid");
        std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(offset.count()));
        return {};
    }
};

Result<Copied> copy(const Bytes& from, Extents extents, bool whole, Taken& into) {
    return copy_disk({ByteSize(from.size()),
                      std::make_unique<ListedExtents>(std::move(extents), ByteOffset(0)),
                      whole,
                      [&from](ByteOffset at, std::span<std::byte> bytes) -> Result<> {
                          std::memcpy(bytes.data(), from.data() + at.count(), bytes.size());
                          return {};
                      },
                      {}},
                     {into, ByteSize(into.content.size())}, [](ByteSize) { return Result<>{}; });
}

TEST(CopyDisk, what_is_listed_arrives_on_the_grid_and_zero_grains_as_zeroes) {
    Bytes from = filled(3 << 20, 5);
    std::fill(from.begin() + 8192, from.begin() + 12288, std::byte{0});
    Taken into(from.size());
    const auto copied =
        copy(from, {data(4096, 2 << 20), zero((2 << 20) + 8192, 4096)}, false, into);
    ASSERT_TRUE(copied) << copied.error().text();
    EXPECT_EQ(copied->data.count(), (2U << 20) - 4096);
    EXPECT_EQ(into.content[0], std::byte{0xEE});
    EXPECT_EQ(into.content[4096], std::byte{5});
    EXPECT_EQ(into.content[8192], std::byte{0});
    EXPECT_EQ(into.content[(2 << 20) + 4095], std::byte{5});
    EXPECT_EQ(into.content[(2 << 20) + 4096], std::byte{0xEE});
    EXPECT_EQ(into.content[(2 << 20) + 8192], std::byte{0});
}

TEST(CopyDisk, of_a_smaller_disk_the_last_grain_is_filled_up_and_of_a_larger_one_the_rest_is_left) {
    const Bytes small = filled(4096 + 512, 5);
    Taken wide(16384);
    ASSERT_TRUE(copy(small, {data(0, small.size())}, true, wide));
    EXPECT_EQ(wide.content[4607], std::byte{5});
    EXPECT_EQ(wide.content[4608], std::byte{0});
    EXPECT_EQ(wide.content[8192], std::byte{0xEE});
    const Bytes large = filled(16384, 5);
    Taken narrow(4608);
    ASSERT_TRUE(copy(large, {data(0, 8192), zero(8192, 8192)}, false, narrow));
    EXPECT_EQ(narrow.content[4607], std::byte{5});
}

TEST(CopyDisk, the_digest_is_the_same_for_the_same_content_whatever_the_listing) {
    Bytes from = filled(65536, 0);
    std::fill(from.begin() + 8192, from.begin() + 12288, std::byte{9});
    Taken one(from.size());
    Taken two(from.size());
    const auto listing = copy(from, {data(0, 65536)}, true, one);
    const auto exact = copy(from, {data(8192, 4096)}, true, two);
    ASSERT_TRUE(listing && exact);
    EXPECT_EQ(listing->digest, exact->digest);
    EXPECT_EQ(listing->data.count(), 4096U);
}

TEST(CopyDisk, an_error_of_the_callers_ends_it) {
    const Bytes from = filled(4 << 20, 5);
    Taken into(from.size());
    int calls = 0;
    const auto copied =
        copy_disk({ByteSize(from.size()),
                   std::make_unique<ListedExtents>(Extents{data(0, from.size())}, ByteOffset(0)),
                   true,
                   [](ByteOffset, std::span<std::byte>) { return Result<>{}; },
                   {}},
                  {into, ByteSize(from.size())}, [&](ByteSize) -> Result<> {
                      if (++calls == 2) return fail(ErrorKind::cancelled, "enough");
                      return {};
                  });
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().kind(), ErrorKind::cancelled);
    EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace understudy::mover
