#include "hypervisor/libvirt/nvram_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace understudy::libvirt {
namespace {

constexpr std::size_t kMaxNvramBytes = std::size_t{64} << 20;

class File {
public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int get() const { return descriptor_; }

private:
    int descriptor_;
};

std::unexpected<Error> failed(const char* what, const std::string& path) {
    return fail(errno_error(errno, fmt::format("{} {}", what, path)));
}

Result<> write_all(int file, const std::string& bytes, const std::string& path) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto count = write(file, bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failed("write", path);
        done += static_cast<std::size_t>(count);
    }
    if (fsync(file) != 0) return failed("sync", path);
    return {};
}

// QEMU under its own user must reach the file, which libvirt gives to it when the VM starts.
Result<> make_passable(const std::filesystem::path& directory) {
    std::error_code error;
    const bool made = std::filesystem::create_directories(directory, error);
    if (made && !error)
        std::filesystem::permissions(directory, std::filesystem::perms(0711), error);
    if (error) return fail(errno_error(error.value(), "make " + directory.string()));
    return {};
}

}  // namespace

Result<std::string> read_nvram_file(const std::string& path) {
    const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0 && errno == ENOENT) return std::string{};
    if (file.get() < 0) return failed("open", path);
    struct stat info{};
    if (fstat(file.get(), &info) != 0) return failed("look at", path);
    if (!S_ISREG(info.st_mode))
        return fail(ErrorKind::unsupported, fmt::format("{} is not a plain file", path));
    if (static_cast<std::uint64_t>(info.st_size) > kMaxNvramBytes)
        return fail(ErrorKind::unsupported, fmt::format("{} has {} bytes: too large for UEFI "
                                                        "variables",
                                                        path, info.st_size));
    std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto count = read(file.get(), bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failed("read", path);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return bytes;
}

Result<> remove_nvram_file(const std::string& path) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
    return {};
}

Result<> write_nvram_file(const std::string& path, const std::string& bytes) {
    const std::filesystem::path target(path);
    if (!target.is_absolute())
        return fail(ErrorKind::invalid, fmt::format("'{}' is not an absolute path", path));
    if (bytes.size() > kMaxNvramBytes)
        return fail(ErrorKind::invalid,
                    fmt::format("{} bytes of UEFI variables are too many", bytes.size()));
    UNDERSTUDY_TRY(make_passable(target.parent_path()));
    const auto temporary = path + ".new";
    unlink(temporary.c_str());
    {
        const File file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (file.get() < 0) return failed("make", temporary);
        UNDERSTUDY_TRY(write_all(file.get(), bytes, temporary));
    }
    if (rename(temporary.c_str(), path.c_str()) != 0) return failed("rename to", path);
    const File directory(open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || fsync(directory.get()) != 0)
        return failed("sync", target.parent_path().string());
    return {};
}

}  // namespace understudy::libvirt
