#include "storage/rbd_stream/format.hpp"

#include "storage/rbd_stream/stream_test_tools.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::rbd_stream {
namespace {

using ::testing::ElementsAre;
using testing::File;
using testing::from_hex;
using ::testing::HasSubstr;
using testing::le64;
using testing::name;

// Made by `rbd export-diff` and `rbd export --export-format 2` of Ceph 16.2.15, of an image of
// 32 KiB with objects of 4 KiB; snapshot `two` is protected, and written to after it.
const std::string kFull = from_hex(
    "72626420646966662076310a74030000006f6e65730080000000000000770000000000000000100000000000"
    "0000111111111111111111111111111111117700100000000000001000000000000000222222222222222222"
    "2222222222222277002000000000000010000000000000003333333333333333333333333333333365");
const std::string kIncrement = from_hex(
    "72626420646966662076310a66030000006f6e65740300000074776f73008000000000000077080000000000"
    "00001000000000000000444444444444444444444444444444447a0010000000000000100000000000000065");
const std::string kImage = from_hex(
    "72626420696d6167652076320a4f08000000000000000c000000000000005408000000000000003d00000000"
    "000000550800000000000000001000000000000043080000000000000001000000000000004572626420696d"
    "6167652064696666732076320a030000000000000072626420646966662076320a7407000000000000000300"
    "00006f6e65700800000000000000007308000000000000000080000000000000772000000000000000000000"
    "0000000000100000000000000011111111111111111111111111111111772000000000000000001000000000"
    "0000100000000000000022222222222222222222222222222222772000000000000000002000000000000010"
    "00000000000000333333333333333333333333333333336572626420646966662076320a6607000000000000"
    "00030000006f6e657407000000000000000300000074776f7008000000000000000173080000000000000000"
    "8000000000000077200000000000000008000000000000001000000000000000444444444444444444444444"
    "444444447a1000000000000000001000000000000010000000000000006572626420646966662076320a6607"
    "000000000000000300000074776f730800000000000000008000000000000077200000000000000000200000"
    "0000000010000000000000005555555555555555555555555555555577200000000000000000400000000000"
    "0010000000000000006666666666666666666666666666666665");

std::string shown(const ports::Extent& extent) {
    return (extent.kind == model::ExtentKind::data ? "data " : "zero ") +
           std::to_string(extent.offset.count()) + "+" + std::to_string(extent.length.count());
}

std::vector<std::string> extents(ports::DiskLayer& layer) {
    std::vector<std::string> found;
    auto stream = layer.extents();
    while (stream) {
        auto extent = (*stream)->next();
        if (!extent || !*extent) break;
        found.push_back(shown(**extent));
    }
    return found;
}

std::string content(ports::DiskLayer& layer, std::uint64_t offset, std::size_t length) {
    std::string bytes(length, '?');
    auto read = layer.read(ByteOffset(offset), std::as_writable_bytes(std::span(bytes)));
    return read ? bytes : read.error().text();
}

using Layers = std::vector<std::unique_ptr<ports::DiskLayer>>;

Result<Layers> open(const std::string& bytes, const ports::WantedMoment& wanted) {
    const File file(bytes);
    return rbd_format()->open(file.path(), wanted);
}

TEST(RbdStream, reads_a_full_diff_of_the_real_tool) {
    auto layers = open(kFull, {true, "", "one"});
    ASSERT_TRUE(layers) << layers.error().text();
    ASSERT_EQ(layers->size(), 1U);
    EXPECT_EQ((*layers)[0]->size(), base::KiB(32));
    EXPECT_THAT(extents(*(*layers)[0]), ElementsAre("data 0+16", "data 4096+16", "data 8192+16"));
    EXPECT_EQ(content(*(*layers)[0], 8192, 16), std::string(16, '\x33'));
    EXPECT_EQ(content(*(*layers)[0], 3, 5), std::string(5, '\x11')) << "also going back";
}

TEST(RbdStream, reads_an_increment_of_the_real_tool) {
    auto layers = open(kIncrement, {false, "one", "two"});
    ASSERT_TRUE(layers) << layers.error().text();
    EXPECT_THAT(extents(*layers->front()), ElementsAre("data 8+16", "zero 4096+16"));
}

TEST(RbdStream, takes_the_named_snapshot_out_of_an_export_and_no_later_one) {
    auto one = open(kImage, {true, "", "one"});
    ASSERT_TRUE(one) << one.error().text();
    EXPECT_EQ(one->size(), 1U);
    auto two = open(kImage, {true, "", "two"});
    ASSERT_TRUE(two) << two.error().text();
    ASSERT_EQ(two->size(), 2U);
    EXPECT_THAT(extents(*(*two)[0]), ElementsAre("data 0+16", "data 4096+16", "data 8192+16"));
    EXPECT_THAT(extents(*(*two)[1]), ElementsAre("data 8+16", "zero 4096+16"));
    EXPECT_EQ(content(*(*two)[1], 8, 16), std::string(16, '\x44'));
}

TEST(RbdStream, says_which_moments_a_file_holds_when_it_is_not_the_one_that_is_wanted) {
    const auto other = open(kImage, {true, "", "three"});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(other.error().text(), HasSubstr("'three'; it holds 'one', 'two'"));
    const auto base = open(kIncrement, {false, "zero", "two"});
    ASSERT_FALSE(base);
    EXPECT_THAT(base.error().text(), HasSubstr("since 'one', not since 'zero'"));
    EXPECT_FALSE(open(kIncrement, {true, "", "two"})) << "an increment taken for a whole disk";
    EXPECT_FALSE(open(kFull, {false, "zero", "one"})) << "a whole disk taken for an increment";
}

TEST(RbdStream, every_truncation_is_an_error_that_names_the_file) {
    const std::vector<std::pair<std::string, ports::WantedMoment>> files{
        {kFull, {true, "", "one"}},
        {kIncrement, {false, "one", "two"}},
        {kImage, {true, "", "one"}}};
    File file;
    for (const auto& [bytes, wanted] : files)
        for (std::size_t length = 0; length < bytes.size(); ++length) {
            file.write(bytes.substr(0, length));
            const auto opened = rbd_format()->open(file.path(), wanted);
            ASSERT_FALSE(opened) << length << " of " << bytes.size();
            EXPECT_THAT(opened.error().kind(),
                        ::testing::AnyOf(ErrorKind::corrupt, ErrorKind::invalid));
            EXPECT_THAT(opened.error().text(), HasSubstr(file.path()));
        }
}

TEST(RbdStream, no_flipped_byte_of_a_structure_is_more_than_an_error) {
    File file;
    for (const auto& original : {kFull, kIncrement, kImage})
        for (std::size_t at = 0; at < original.size(); ++at) {
            auto bytes = original;
            bytes[at] = static_cast<char>(~bytes[at]);
            file.write(bytes);
            auto opened = rbd_format()->open(file.path(), {true, "", "two"});
            if (!opened) continue;
            for (auto& layer : *opened)
                for (const auto& extent : extents(*layer)) EXPECT_NE(extent, "");
        }
}

struct Broken {
    const char* what;
    std::string bytes;
    const char* text;
};
void PrintTo(const Broken& broken, std::ostream* out) {
    *out << broken.what;
}

class BrokenStream : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenStream, is_refused_with_the_place_before_anything_is_read) {
    const auto opened = open(GetParam().bytes, {true, "", "x"});
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), HasSubstr(GetParam().text));
}

const std::string kV1 = "rbd diff v1\n";
const std::string kSized = kV1 + "t" + name("x") + "s" + le64(8192);
const std::string kV2 = "rbd image v2\nErbd image diffs v2\n";
const std::string kHuge(8, '\xFF');
const std::string kPart = "rbd diff v2\n";

INSTANTIATE_TEST_SUITE_P(
    Streams, BrokenStream,
    ::testing::Values(
        Broken{"a plain export", std::string(4096, 'x'), "--export-format 2"},
        Broken{"a name of 4 GiB", kV1 + "t\xFF\xFF\xFF\xFF", "at byte 13: a name of 4294967295"},
        Broken{"data of 16 EiB", kSized + "w" + le64(0) + kHuge, "bytes at 0 of a disk of 8192"},
        Broken{"data behind the disk", kSized + "w" + le64(8192) + le64(1) + "a" + "e",
               "1 bytes at 8192"},
        Broken{"an offset that wraps", kSized + "z" + kHuge + le64(2) + "e", "of a disk of 8192"},
        Broken{"data longer than the file", kSized + "w" + le64(0) + le64(8192) + "abc",
               "8192 bytes are said to follow, there are 3"},
        Broken{"no size", kV1 + "t" + name("x") + "e", "does not say the disk's size"},
        Broken{"two sizes", kSized + "s" + le64(8192) + "e", "a disk of 8192 bytes"},
        Broken{"a size that is no whole sector", kV1 + "s" + le64(100) + "e", "a disk of 100"},
        Broken{"a size of 16 EiB", kV1 + "s" + kHuge + "e", "a disk of 18446744073709551615"},
        Broken{"metadata among data", kSized + "z" + le64(0) + le64(1) + "t" + name("y") + "e",
               "a record 't' among the data"},
        Broken{"an unknown record in v1", kV1 + "Q", "an unknown kind, 'Q'"},
        Broken{"bytes after the end", kSized + "e" + "e", "1 bytes after the end"},
        Broken{"a name given twice", kV1 + "t" + name("x") + "t" + name("x"), "given twice"},
        Broken{"an empty name", kV1 + "t" + name(""), "is empty"},
        Broken{"as many diffs as fit nowhere", kV2 + kHuge, "18446744073709551615 diffs"},
        Broken{"no diffs", kV2 + le64(0), "0 diffs"},
        Broken{"a diff that follows no other",
               kV2 + le64(1) + kPart + "f" + le64(5) + name("a") + "s" + le64(8) + le64(512) + "e",
               "does not follow"},
        Broken{"a live head that is not the last",
               kV2 + le64(2) + kPart + "s" + le64(8) + le64(512) + "e" + kPart + "s" + le64(8) +
                   le64(512) + "e",
               "does not follow"},
        Broken{"a record that says another length",
               kV2 + le64(1) + kPart + "s" + le64(9) + le64(512) + "e" + "padding",
               "a record of 8 bytes that says it has 9"},
        Broken{"an image header longer than the file", "rbd image v2\nM" + kHuge, "at byte 22"}));

TEST(RbdStream, records_that_do_not_ascend_are_put_in_order_and_later_ones_win) {
    const auto bytes = kSized + "w" + le64(4096) + le64(4) + "late" + "w" + le64(0) + le64(8) +
                       "beginner" + "z" + le64(2) + le64(2) + "w" + le64(4098) + le64(1) + "X" +
                       "e";
    auto layers = open(bytes, {true, "", "x"});
    ASSERT_TRUE(layers) << layers.error().text();
    auto& layer = *layers->front();
    EXPECT_THAT(extents(layer), ElementsAre("data 0+2", "zero 2+2", "data 4+4", "data 4096+2",
                                            "data 4098+1", "data 4099+1"));
    EXPECT_EQ(content(layer, 4, 4), "nner");
    EXPECT_EQ(content(layer, 4096, 4), "laXe");
}

TEST(RbdStream, unknown_records_of_v2_are_passed_over_by_their_length) {
    const auto bytes = kV2 + le64(1) + kPart + "t" + le64(5) + name("x") + "?" + le64(3) + "abc" +
                       "s" + le64(8) + le64(512) + "z" + le64(16) + le64(0) + le64(512) + "!" +
                       le64(1) + "d" + "e";
    auto layers = open(bytes, {true, "", "x"});
    ASSERT_TRUE(layers) << layers.error().text();
    EXPECT_THAT(extents(*layers->front()), ElementsAre("zero 0+512"));
}

SnapshotId snapshot(std::uint64_t number) {
    return SnapshotId(base::uuid_from_random(number, number));
}

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

TEST(RbdStream, writes_a_whole_disk_byte_for_byte_as_the_format_says) {
    const File file;
    const auto format = rbd_format();
    auto incoming = format->create({file.path(), base::KiB(32), snapshot(1), std::nullopt});
    ASSERT_TRUE(incoming) << incoming.error().text();
    ASSERT_TRUE((*incoming)->write(ByteOffset(0), bytes_of("some")));
    ASSERT_TRUE((*incoming)->zero(ByteOffset(4096), ByteSize(4096)));
    ASSERT_TRUE((*incoming)->write(ByteOffset(8192), bytes_of("more")));
    ASSERT_TRUE((*incoming)->publish());
    ASSERT_TRUE((*incoming)->publish()) << "again";
    EXPECT_EQ(file.bytes(), kV1 + "t" + name(format->name_of(snapshot(1))) + "s" + le64(32768) +
                                "w" + le64(0) + le64(4) + "some" + "w" + le64(8192) + le64(4) +
                                "more" + "e");
    EXPECT_EQ(file.mode(), 0600U);
    EXPECT_FALSE((*incoming)->write(ByteOffset(0), bytes_of("late")));
}

TEST(RbdStream, writes_an_increment_with_its_zeroes_and_reads_it_back) {
    const File file;
    const auto format = rbd_format();
    auto incoming = format->create(
        {file.path(), base::KiB(32), snapshot(2), ports::NewDiskFile::Base{snapshot(1), ""}});
    ASSERT_TRUE(incoming) << incoming.error().text();
    ASSERT_TRUE((*incoming)->zero(ByteOffset(4096), ByteSize(8192)));
    ASSERT_TRUE((*incoming)->publish());
    EXPECT_EQ(file.bytes(), kV1 + "f" + name(format->name_of(snapshot(1))) + "t" +
                                name(format->name_of(snapshot(2))) + "s" + le64(32768) + "z" +
                                le64(4096) + le64(8192) + "e");
    auto layers = format->open(file.path(),
                               {false, format->name_of(snapshot(1)), format->name_of(snapshot(2))});
    ASSERT_TRUE(layers) << layers.error().text();
    EXPECT_THAT(extents(*layers->front()), ElementsAre("zero 4096+8192"));
}

TEST(RbdStream, a_file_that_is_there_is_not_written_over_and_a_discarded_one_is_gone) {
    const File file("precious");
    EXPECT_FALSE(rbd_format()->create({file.path(), base::KiB(4), snapshot(1), std::nullopt}));
    EXPECT_EQ(file.bytes(), "precious");
    const File other;
    auto incoming = rbd_format()->create({other.path(), base::KiB(4), snapshot(1), std::nullopt});
    ASSERT_TRUE(incoming);
    EXPECT_FALSE((*incoming)->write(ByteOffset(4096), bytes_of("x"))) << "behind the disk";
    ASSERT_TRUE((*incoming)->discard());
    EXPECT_FALSE(other.exists());
}

}  // namespace
}  // namespace understudy::rbd_stream
