#include "storage/qcow2/image/inflate.hpp"

#include <zlib.h>
#include <zstd.h>
#include <memory>

namespace understudy::qcow2 {
namespace {

std::unexpected<Error> undecodable() {
    return fail(ErrorKind::corrupt, "a compressed cluster cannot be decompressed");
}

}  // namespace

Result<> inflate_cluster(std::span<const std::byte> packed, std::span<std::byte> into) {
    z_stream stream{};
    // Raw deflate with a window of 4 KiB: what QEMU writes.
    if (inflateInit2(&stream, -12) != Z_OK) return fail(ErrorKind::internal, "zlib: no memory");
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(into.data());
    stream.avail_out = static_cast<uInt>(into.size());
    const int status = inflate(&stream, Z_FINISH);
    const bool filled = stream.avail_out == 0;
    inflateEnd(&stream);
    if (!filled || (status != Z_STREAM_END && status != Z_BUF_ERROR)) return undecodable();
    return {};
}

Result<> unzstd_cluster(std::span<const std::byte> packed, std::span<std::byte> into) {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                       &ZSTD_freeDCtx);
    if (!context) return fail(ErrorKind::internal, "zstd: no memory");
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos < out.size) {
        const auto in_before = in.pos;
        const auto out_before = out.pos;
        const auto status = ZSTD_decompressStream(context.get(), &out, &in);
        if (ZSTD_isError(status) != 0) return undecodable();
        if (in.pos == in_before && out.pos == out_before) return undecodable();
    }
    return {};
}

}  // namespace understudy::qcow2
