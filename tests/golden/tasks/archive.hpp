#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::golden {

// In files that name others by absolute paths the directory of a stage is always this long, so that
// one can be put in place of another.
inline constexpr std::size_t kRootLength = 100;
std::string placeholder();  // stands for that directory in the archive

// A new directory of that length, removed with everything in it.
class Root {
public:
    Root();
    ~Root();
    Root(const Root&) = delete;
    Root& operator=(const Root&) = delete;
    const std::string& path() const { return path_; }
    void clear() const;

private:
    std::string top_;
    std::string path_;
};

// A tar archive (ustar, with hard links), compressed by zstd, in RAM.
class Archive {
public:
    explicit Archive(const std::string& path);
    std::vector<std::string> cases() const;  // the names of the topmost directories
    // The files of one case under `root`, with its path in them.
    void unpack(const std::string& name, const std::string& root) const;

private:
    void read_entries();

    std::string bytes_;
    std::map<std::string, std::string_view> files_;
};

// The database that the statements in `sql` make.
void make_database(const std::string& sql, const std::string& path);

}  // namespace understudy::golden
