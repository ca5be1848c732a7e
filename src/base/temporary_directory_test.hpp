#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

// For the tests of all rooms.

namespace understudy::base {

// A new directory of its own, by its canonical path. It is removed with all that is in it.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string made = (std::filesystem::temp_directory_path() / "understudy.XXXXXX").string();
        if (::mkdtemp(made.data()) == nullptr) std::abort();
        path_ = std::filesystem::canonical(made).string();
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

}  // namespace understudy::base
