#pragma once

#include "base/temporary_directory_test.hpp"

#include <endian.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace understudy::rbd_stream::testing {

inline std::string from_hex(const std::string& hex) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return bytes;
}

inline std::string le64(std::uint64_t value) {
    const auto stored = htole64(value);
    return {reinterpret_cast<const char*>(&stored), sizeof stored};
}

inline std::string name(const std::string& text) {
    const auto stored = htole32(static_cast<std::uint32_t>(text.size()));
    return std::string(reinterpret_cast<const char*>(&stored), sizeof stored) + text;
}

// A place for one file in a directory of its own. The directory is removed with this object.
class File {
public:
    File() = default;
    explicit File(const std::string& bytes) { write(bytes); }

    std::string path() const { return directory_ / "disk.rbd"; }
    void write(const std::string& bytes) {
        std::ofstream(path(), std::ios::binary | std::ios::trunc) << bytes;
    }
    bool exists() const { return std::filesystem::exists(path()); }
    std::string bytes() const {
        std::ifstream in(path(), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    unsigned mode() const {
        struct stat status{};
        return ::stat(path().c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
    }

private:
    base::TemporaryDirectory directory_;
};

}  // namespace understudy::rbd_stream::testing
