#pragma once

#include "model/extent.hpp"
#include "storage/rbd_stream/stream_file.hpp"

#include <optional>
#include <string>

namespace understudy::rbd_stream {

inline constexpr std::string_view kDiffBannerV1 = "rbd diff v1\n";
inline constexpr std::string_view kDiffBannerV2 = "rbd diff v2\n";

// How records are laid out: in v2 each one but the end says its length.
enum class Records { plain, with_lengths };

// What a diff says of itself before its data.
struct DiffHead {
    Records layout = Records::plain;
    std::string from;              // empty: from nothing
    std::string to;                // empty: the live head
    ByteSize size;                 // of the image at its end
    std::uint64_t records_at = 0;  // offset in the file
};

// Reads a diff's banner and metadata.
Result<DiffHead> read_head(StreamCursor& cursor, Records layout);

struct Record {
    model::Extent extent;
    std::uint64_t data_at = 0;  // of a data record: offset in the file
};

// A diff's data records in the order in which they stand, each within the image and the file.
class RecordWalk {
public:
    RecordWalk(const StreamFile& file, const DiffHead& head)
        : cursor_(file, head.records_at), layout_(head.layout), size_(head.size) {}

    // Nothing: the diff is over, and at() is behind its end. Empty records are left out.
    Result<std::optional<Record>> next();
    std::uint64_t at() const { return cursor_.at(); }

private:
    Result<std::optional<Record>> record(std::uint8_t tag, std::uint64_t place);

    StreamCursor cursor_;
    Records layout_;
    ByteSize size_;
    bool ended_ = false;
};

}  // namespace understudy::rbd_stream
