#include "archive.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>

namespace understudy::golden {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 512;   // of tar
constexpr std::size_t kPiece = 4096;  // of zeroes that are not written

std::string_view field(std::string_view header, std::size_t at, std::size_t length) {
    const auto text = header.substr(at, length);
    return text.substr(0, text.find('\0'));
}

std::string decompressed(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string packed{std::istreambuf_iterator<char>(file), {}};
    const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
        throw std::runtime_error(path + " is no zstd file that tells its size");
    std::string bytes(size, '\0');
    const auto got = ZSTD_decompress(bytes.data(), bytes.size(), packed.data(), packed.size());
    if (ZSTD_isError(got) != 0 || got != bytes.size())
        throw std::runtime_error(path + " cannot be decompressed");
    return bytes;
}

std::string with_root(std::string_view bytes, const std::string& root) {
    std::string text(bytes);
    const auto wanted = placeholder();
    for (auto at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at))
        text.replace(at, wanted.size(), root);
    return text;
}

// Holes stay holes.
void write_file(const std::string& path, std::string_view bytes) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes.size())) == 0;
    for (std::size_t at = 0; done && at < bytes.size(); at += kPiece) {
        const auto piece = bytes.substr(at, kPiece);
        if (piece.find_first_not_of('\0') == std::string_view::npos) continue;
        done = ::pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(at)) ==
               static_cast<ssize_t>(piece.size());
    }
    if (fd >= 0) ::close(fd);
    if (!done) throw std::runtime_error("write " + path);
}

}  // namespace

std::string placeholder() {
    std::string text = "/golden";
    text.resize(kRootLength, '_');
    return text;
}

Root::Root() {
    std::string wanted = (fs::temp_directory_path() / "golden-XXXXXX").string();
    if (::mkdtemp(wanted.data()) == nullptr) throw std::runtime_error("mkdtemp " + wanted);
    top_ = wanted;
    if (top_.size() + 2 > kRootLength)
        throw std::runtime_error(top_ + " is too long a path: set TMPDIR to a shorter one");
    path_ = top_ + "/" + std::string(kRootLength - top_.size() - 1, '_');
    fs::create_directory(path_);
}

Root::~Root() {
    std::error_code ignored;
    fs::remove_all(top_, ignored);
}

void Root::clear() const {
    fs::remove_all(path_);
    fs::create_directory(path_);
}

Archive::Archive(const std::string& path) : bytes_(decompressed(path)) {
    read_entries();
}

void Archive::read_entries() {
    const std::string_view all = bytes_;
    for (std::size_t at = 0; at + kBlock <= all.size();) {
        const auto header = all.substr(at, kBlock);
        if (header[0] == '\0') return;
        const auto prefix = std::string(field(header, 345, 155));
        const auto name = (prefix.empty() ? "" : prefix + "/") + std::string(field(header, 0, 100));
        const auto size = std::stoul(std::string(field(header, 124, 12)), nullptr, 8);
        const char type = header[156];
        if (type == '0') files_[name] = all.substr(at + kBlock, size);
        if (type == '1') files_[name] = files_.at(std::string(field(header, 157, 100)));
        at += kBlock + (size + kBlock - 1) / kBlock * kBlock;
    }
}

std::vector<std::string> Archive::cases() const {
    std::set<std::string> names;
    for (const auto& [name, bytes] : files_) names.insert(name.substr(0, name.find('/')));
    names.erase("shared");  // what several cases have
    return {names.begin(), names.end()};
}

void Archive::unpack(const std::string& name, const std::string& root) const {
    const auto prefix = name + "/";
    for (auto at = files_.lower_bound(prefix); at != files_.end(); ++at) {
        if (!at->first.starts_with(prefix)) break;
        const auto path = fs::path(root) / at->first.substr(prefix.size());
        fs::create_directories(path.parent_path());
        // Exports are carried about with sums of their files: those stay as they were.
        const bool is_carried = at->first.find("/files/") != std::string::npos;
        const auto bytes = is_carried ? std::string(at->second) : with_root(at->second, root);
        if (path.extension() == ".sql")
            make_database(bytes, fs::path(path).replace_extension(".db").string());
        else
            write_file(path.string(), bytes);
    }
}

void make_database(const std::string& sql, const std::string& path) {
    sqlite3* opened = nullptr;
    const int result = sqlite3_open(path.c_str(), &opened);
    const std::unique_ptr<sqlite3, int (*)(sqlite3*)> database(opened, sqlite3_close);
    if (result != SQLITE_OK ||
        sqlite3_exec(opened, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
        throw std::runtime_error(path + ": " + sqlite3_errmsg(opened));
}

}  // namespace understudy::golden
