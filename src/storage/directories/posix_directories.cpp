#include "storage/directories/posix_directories.hpp"

#include "base/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

// Directories of exports on this node's file systems. make, remove and put_in_place sync the parent
// directory before they return, and write_text syncs its file. An export appears by one rename:
// put_in_place first syncs the directory itself. A crash before that leaves it under its former
// name, and the task's next attempt removes it. Only regular files are read, and no file is opened
// through a link. Memory: sum() reads 4 MiB at a time.

namespace understudy::directories {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPiece = std::size_t{4} << 20;

Result<Fd> open_regular(const std::string& path) {
    // O_NONBLOCK: if a FIFO lies there, open() must not hang the daemon.
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd) return fail(errno_error(errno, "open " + path));
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) return fail(errno_error(errno, "examine " + path));
    if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, path + " is not a regular file");
    return fd;
}

std::string hex(std::span<const unsigned char> bytes) {
    std::string text;
    for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
    return text;
}

class Sha256 {
public:
    Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
        UNDERSTUDY_INVARIANT(
            context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
            "no SHA-256");
    }
    void add(std::span<const char> bytes) {
        UNDERSTUDY_INVARIANT(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1,
                             "SHA-256");
    }
    std::string text() {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int length = 0;
        UNDERSTUDY_INVARIANT(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1, "SHA-256");
        return hex(std::span<const unsigned char>(digest, length));
    }

private:
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

class PosixDirectories final : public ports::Directories {
public:
    Result<std::string> resolve(const std::string& path) override {
        auto plain = fs::path(path).lexically_normal();
        if (!plain.has_filename()) plain = plain.parent_path();  // of a path that ends in '/'
        if (!plain.is_absolute() || !plain.has_filename())
            return fail(ErrorKind::invalid,
                        fmt::format("'{}' is not the absolute path of a directory", path));
        std::error_code error;
        const auto parent = fs::canonical(plain.parent_path(), error);
        if (error)
            return fail(errno_error(error.value(), "look at " + plain.parent_path().string()));
        const auto found = parent / plain.filename();
        const auto whole = fs::canonical(found, error);
        return error ? found.string() : whole.string();
    }

    Result<bool> is_free(const std::string& path) override {
        struct stat status{};
        if (::lstat(path.c_str(), &status) != 0) {
            if (errno == ENOENT) return true;
            return fail(errno_error(errno, "look at " + path));
        }
        if (!S_ISDIR(status.st_mode)) return false;
        auto names = UNDERSTUDY_VALUE(list(path));
        return names.empty();
    }

    Result<std::vector<std::string>> list(const std::string& path) override {
        std::vector<std::string> names;
        std::error_code error;
        for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error))
            names.push_back(at->path().filename().string());
        if (error) return fail(errno_error(error.value(), "list " + path));
        std::sort(names.begin(), names.end());
        return names;
    }

    Result<> make(const std::string& path) override {
        if (::mkdir(path.c_str(), 0700) != 0) return fail(errno_error(errno, "make " + path));
        return base::sync_path(base::parent_of(path));
    }

    Result<> remove(const std::string& path) override {
        struct stat status{};
        if (::lstat(path.c_str(), &status) != 0) {
            if (errno == ENOENT) return {};
            return fail(errno_error(errno, "look at " + path));
        }
        auto names = UNDERSTUDY_VALUE(list(path));
        for (const auto& name : names) {
            const auto file = path + "/" + name;
            if (::unlink(file.c_str()) != 0 && errno != ENOENT)
                return fail(errno_error(errno, "delete " + file));
        }
        if (::rmdir(path.c_str()) != 0 && errno != ENOENT)
            return fail(errno_error(errno, "delete " + path));
        return base::sync_path(base::parent_of(path));
    }

    Result<> put_in_place(const std::string& from, const std::string& to) override {
        UNDERSTUDY_TRY(base::sync_path(from));
        if (::rename(from.c_str(), to.c_str()) != 0) {
            if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
                return fail(ErrorKind::refused, to + " exists and is not empty");
            return fail(errno_error(errno, fmt::format("rename {} to {}", from, to)));
        }
        return base::sync_path(base::parent_of(to));
    }

    Result<> write_text(const std::string& path, const std::string& text) override {
        const Fd fd(
            ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!fd) return fail(errno_error(errno, "make " + path));
        UNDERSTUDY_TRY(base::write_all(fd, text, path));
        return base::sync_all(fd, path);
    }

    Result<std::string> read_text(const std::string& path, std::size_t limit) override {
        auto fd = UNDERSTUDY_VALUE(open_regular(path));
        return base::read_whole(fd, path, limit);
    }

    Result<ports::FileSum> sum(const std::string& path,
                               const std::function<Result<>(ByteSize)>& go_on) override {
        auto fd = UNDERSTUDY_VALUE(open_regular(path));
        Sha256 digest;
        ByteSize size;
        std::vector<char> piece(kPiece);
        while (true) {
            auto got = UNDERSTUDY_VALUE(base::read_up_to(fd, piece, path));
            digest.add(std::span(piece).first(got));
            size += ByteSize(got);
            UNDERSTUDY_TRY(go_on(ByteSize(got)));
            if (got < piece.size()) return ports::FileSum{size, digest.text()};
        }
    }
};

}  // namespace

std::unique_ptr<ports::Directories> posix_directories() {
    return std::make_unique<PosixDirectories>();
}

}  // namespace understudy::directories
