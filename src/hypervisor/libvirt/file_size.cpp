#include "hypervisor/libvirt/file_size.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>

namespace understudy::libvirt {
namespace {

// Format: qemu's docs/interop/qcow2.txt. The magic, then at byte 24 the size, big-endian.
constexpr std::array<unsigned char, 4> kMagic{'Q', 'F', 'I', 0xfb};
constexpr std::size_t kSizeAt = 24;

Result<ByteSize> size_in_qcow2(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(base::errno_error(errno, fmt::format("open {}", path)));
    std::array<char, kSizeAt + 8> header{};
    file.read(header.data(), header.size());
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(header[at]); };
    bool good = file.good();
    for (std::size_t i = 0; i < kMagic.size(); ++i) good = good && byte(i) == kMagic[i];
    if (!good) return fail(ErrorKind::invalid, fmt::format("{} is no qcow2 file", path));
    std::uint64_t size = 0;
    for (std::size_t i = kSizeAt; i < header.size(); ++i) size = size << 8 | byte(i);
    return ByteSize(size);
}

}  // namespace

Result<ByteSize> size_in_file(const std::string& path, const std::string& format) {
    if (format == "qcow2") return size_in_qcow2(path);
    if (format != "raw")
        return fail(ErrorKind::unsupported, fmt::format("{} is of format '{}'", path, format));
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) return fail(base::errno_error(error.value(), fmt::format("look at {}", path)));
    return ByteSize(size);
}

}  // namespace understudy::libvirt
