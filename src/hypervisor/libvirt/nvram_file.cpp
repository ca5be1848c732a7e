#include "hypervisor/libvirt/nvram_file.hpp"

#include "base/durable_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

namespace understudy::libvirt {
namespace {

constexpr std::size_t kMaxNvramBytes = std::size_t{64} << 20;

}  // namespace

Result<std::string> read_nvram_file(const std::string& path) {
    auto bytes = base::read_file(path, kMaxNvramBytes);
    if (!bytes && bytes.error().kind() == ErrorKind::corrupt)
        return fail(ErrorKind::unsupported,
                    bytes.error().what() + ": too large for UEFI variables");
    if (!bytes) return error_of(bytes);
    return std::move(*bytes).value_or(std::string());
}

Result<> remove_nvram_file(const std::string& path) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT)
        return fail(errno_error(errno, "remove " + path));
    return {};
}

Result<> write_nvram_file(const std::string& path, const std::string& bytes) {
    if (!path.starts_with('/'))
        return fail(ErrorKind::invalid, fmt::format("'{}' is not an absolute path", path));
    if (bytes.size() > kMaxNvramBytes)
        return fail(ErrorKind::invalid,
                    fmt::format("{} bytes of UEFI variables are too many", bytes.size()));
    // QEMU under its own user must reach the file, which libvirt gives to it when the VM starts.
    UNDERSTUDY_TRY(base::make_directories(base::parent_of(path), 0711));
    return base::replace_file(path, bytes, 0600);
}

}  // namespace understudy::libvirt
