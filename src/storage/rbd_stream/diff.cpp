#include "storage/rbd_stream/diff.hpp"

#include <fmt/format.h>

#include <limits>

// Reads one diff: read_head takes its banner and its metadata, RecordWalk then takes its records of
// data and zeroes, up to its end. Version 1 has plain records; in version 2 each record states its
// length, and a record of another kind is skipped by that. Each length is checked against the file,
// and each place against the disk, before it is used. Nothing is written or kept.

namespace understudy::rbd_stream {
namespace {

constexpr std::uint64_t kSector = 512;

std::string shown(std::uint8_t tag) {
    return tag > ' ' && tag < 0x7F ? fmt::format("'{}'", static_cast<char>(tag))
                                   : fmt::format("0x{:02x}", tag);
}

bool begins_data(std::uint8_t tag) {
    return tag == 'w' || tag == 'z' || tag == 'e';
}

// In v2: how many bytes follow the tag, checked against the file. Nothing in v1.
Result<std::optional<std::uint64_t>> length_of(StreamCursor& cursor, Records layout) {
    if (layout == Records::plain) return std::nullopt;
    const auto place = cursor.at();
    auto length = cursor.le64();
    if (!length) return error_of(length);
    if (*length > cursor.left())
        return cursor.file().wrong(
            place, fmt::format("a record of {} bytes, where {} are left", *length, cursor.left()));
    return *length;
}

Result<> check_length(const StreamCursor& cursor, std::uint64_t place,
                      const std::optional<std::uint64_t>& stated, std::uint64_t expected) {
    if (!stated || *stated == expected) return {};
    return cursor.file().wrong(
        place, fmt::format("a record of {} bytes that says it has {}", expected, *stated));
}

Result<> read_metadata(StreamCursor& cursor, std::uint8_t tag, std::uint64_t place, DiffHead& head,
                       bool& has_size) {
    auto length = UNDERSTUDY_VALUE(length_of(cursor, head.layout));
    if (tag == 'f' || tag == 't') {
        auto name = UNDERSTUDY_VALUE(cursor.text());
        UNDERSTUDY_TRY(check_length(cursor, place, length, sizeof(std::uint32_t) + name.size()));
        auto& into = tag == 'f' ? head.from : head.to;
        if (name.empty() || !into.empty())
            return cursor.file().wrong(place, "a snapshot's name is empty or given twice");
        into = std::move(name);
        return {};
    }
    if (tag == 's') {
        auto size = UNDERSTUDY_VALUE(cursor.le64());
        UNDERSTUDY_TRY(check_length(cursor, place, length, sizeof(std::uint64_t)));
        constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (has_size || size > kMost || size % kSector != 0)
            return cursor.file().wrong(place, fmt::format("a disk of {} bytes", size));
        head.size = ByteSize(size);
        has_size = true;
        return {};
    }
    // `p` says in one byte whether the snapshot is protected. Ceph 16 states a length of eight for
    // it.
    if (tag == 'p' && length) return cursor.skip(1);
    if (length) return cursor.skip(*length);
    return cursor.file().wrong(place, fmt::format("a record of an unknown kind, {}", shown(tag)));
}

}  // namespace

Result<DiffHead> read_head(StreamCursor& cursor, Records layout) {
    DiffHead head;
    head.layout = layout;
    UNDERSTUDY_TRY(cursor.expect(layout == Records::plain ? kDiffBannerV1 : kDiffBannerV2));
    bool has_size = false;
    while (true) {
        const auto place = cursor.at();
        auto tag = UNDERSTUDY_VALUE(cursor.u8());
        if (begins_data(tag)) {
            if (!has_size)
                return cursor.file().wrong(place, "the diff does not say the disk's size");
            head.records_at = place;
            return head;
        }
        UNDERSTUDY_TRY(read_metadata(cursor, tag, place, head, has_size));
    }
}

Result<std::optional<Record>> RecordWalk::record(std::uint8_t tag, std::uint64_t place) {
    auto stated = UNDERSTUDY_VALUE(length_of(cursor_, layout_));
    if (tag != 'w' && tag != 'z') {
        if (!stated || tag == 'f' || tag == 't' || tag == 's')
            return cursor_.file().wrong(place,
                                        fmt::format("a record {} among the data", shown(tag)));
        UNDERSTUDY_TRY(cursor_.skip(*stated));
        return std::nullopt;
    }
    auto offset = UNDERSTUDY_VALUE(cursor_.le64());
    auto length = UNDERSTUDY_VALUE(cursor_.le64());
    const auto size = size_.count();
    if (offset > size || length > size - offset)
        return cursor_.file().wrong(
            place, fmt::format("{} bytes at {} of a disk of {} bytes", length, offset, size));
    const bool data = tag == 'w';
    UNDERSTUDY_TRY(
        check_length(cursor_, place, stated, 2 * sizeof(std::uint64_t) + (data ? length : 0)));
    Record found{{ByteOffset(offset), ByteSize(length),
                  data ? model::ExtentKind::data : model::ExtentKind::zero},
                 cursor_.at()};
    if (data) UNDERSTUDY_TRY(cursor_.skip(length));
    return found;
}

Result<std::optional<Record>> RecordWalk::next() {
    while (!ended_) {
        const auto place = cursor_.at();
        auto tag = UNDERSTUDY_VALUE(cursor_.u8());
        if (tag == 'e') {
            ended_ = true;
            break;
        }
        auto found = record(tag, place);
        if (!found) return found;
        if (*found && (*found)->extent.length.count() > 0) return found;
    }
    return std::nullopt;
}

}  // namespace understudy::rbd_stream
