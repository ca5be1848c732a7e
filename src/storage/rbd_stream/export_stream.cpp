#include "storage/rbd_stream/export_stream.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

// Finds the diffs of a file: one in a file of `rbd export-diff`, and several in one of `rbd export
// --export-format 2`, each from the snapshot to which the one before it leads. The whole file is
// walked, headers only, before anything of it is used, and what follows its end is an error.
// Memory: one small entry per diff. Nothing is written or kept.

namespace understudy::rbd_stream {
namespace {

constexpr std::string_view kImageBanner = "rbd image v2\n";
constexpr std::string_view kDiffsBanner = "rbd image diffs v2\n";

bool begins_with(const StreamFile& file, std::string_view banner) {
    std::array<std::byte, 32> found{};
    const auto into = std::span(found).first(banner.size());
    return file.size() >= banner.size() && file.read(0, into) &&
           std::memcmp(into.data(), banner.data(), banner.size()) == 0;
}

Result<Diff> walk_diff(StreamCursor& cursor, Records layout) {
    auto head = UNDERSTUDY_VALUE(read_head(cursor, layout));
    Diff diff{.head = std::move(head)};
    RecordWalk walk(cursor.file(), diff.head);
    ByteOffset reached;
    while (true) {
        auto record = UNDERSTUDY_VALUE(walk.next());
        if (!record) break;
        diff.ascending = diff.ascending && record->extent.offset >= reached;
        reached = record->extent.end();
    }
    cursor = StreamCursor(cursor.file(), walk.at());
    return diff;
}

// Object size, features, striping, metadata: how the image was laid out in its cluster. The disk's
// content does not depend on any of it.
Result<> skip_image_head(StreamCursor& cursor) {
    UNDERSTUDY_TRY(cursor.expect(kImageBanner));
    while (true) {
        auto tag = UNDERSTUDY_VALUE(cursor.u8());
        if (tag == 'E') return {};
        auto length = UNDERSTUDY_VALUE(cursor.le64());
        UNDERSTUDY_TRY(cursor.skip(length));
    }
}

Result<std::vector<Diff>> read_image(StreamCursor& cursor) {
    UNDERSTUDY_TRY(skip_image_head(cursor));
    UNDERSTUDY_TRY(cursor.expect(kDiffsBanner));
    const auto place = cursor.at();
    auto count = UNDERSTUDY_VALUE(cursor.le64());
    if (count == 0 || count > cursor.left() / kDiffBannerV2.size())
        return cursor.file().wrong(place, fmt::format("{} diffs", count));
    std::vector<Diff> diffs;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto begin = cursor.at();
        auto diff = UNDERSTUDY_VALUE(walk_diff(cursor, Records::with_lengths));
        const auto below = diffs.empty() ? std::string() : diffs.back().head.to;
        if (diff.head.from != below || (diff.head.to.empty() && i + 1 < count))
            return cursor.file().wrong(
                begin,
                fmt::format("a diff from '{}' to '{}' that does not follow the one before it",
                            diff.head.from, diff.head.to));
        diffs.push_back(std::move(diff));
    }
    return diffs;
}

}  // namespace

Result<std::vector<Diff>> read_structure(const StreamFile& file) {
    StreamCursor cursor(file, 0);
    Result<std::vector<Diff>> diffs;
    if (begins_with(file, kImageBanner)) {
        diffs = read_image(cursor);
    } else if (begins_with(file, kDiffBannerV1)) {
        auto diff = UNDERSTUDY_VALUE(walk_diff(cursor, Records::plain));
        diffs = std::vector{std::move(diff)};
    } else {
        return fail(Error(ErrorKind::invalid,
                          fmt::format("{} does not begin as `rbd export-diff` or `rbd export "
                                      "--export-format 2` write it",
                                      file.path()))
                        .advising("A plain `rbd export` has no snapshots in it: export again with "
                                  "--export-format 2."));
    }
    if (!diffs) return diffs;
    if (cursor.left() > 0)
        return file.wrong(cursor.at(), fmt::format("{} bytes after the end", cursor.left()));
    return diffs;
}

}  // namespace understudy::rbd_stream
