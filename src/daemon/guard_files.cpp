#include "daemon/guard_files.hpp"

#include "base/durable_file.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace understudy::daemon {
namespace {

namespace fs = std::filesystem;

class GuardFiles final : public ports::StartGuard {
public:
    explicit GuardFiles(std::string directory) : directory_(std::move(directory)) {}

    Result<> forbid(const VmId& vm, const std::string& why) override {
        std::ifstream file(fs::path(directory_) / vm.text());
        const std::string known{std::istreambuf_iterator<char>(file), {}};
        if (known == why + '\n') return {};
        auto written = base::replace_file(directory_ + "/" + vm.text(), why + '\n', 0600);
        if (!written) return fail(std::move(written.error()).during("forbid a VM's start"));
        return {};
    }

    // Not made durable: if a power loss undoes it, the start stays forbidden until the daemon runs
    // refresh_guard again.
    Result<> allow(const VmId& vm) override {
        std::error_code error;
        fs::remove(fs::path(directory_) / vm.text(), error);
        if (error)
            return fail(ErrorKind::unavailable,
                        fmt::format("remove {}/{}: {}", directory_, vm.text(), error.message()));
        return {};
    }

    Result<std::vector<VmId>> forbidden() override {
        std::vector<VmId> all;
        std::error_code error;
        for (fs::directory_iterator entry(directory_, error), end; !error && entry != end;
             entry.increment(error))
            if (auto id = VmId::parse(entry->path().filename().string())) all.push_back(*id);
        if (error)
            return fail(ErrorKind::unavailable,
                        fmt::format("list {}: {}", directory_, error.message()));
        return all;
    }

private:
    std::string directory_;
};

}  // namespace

Result<std::unique_ptr<ports::StartGuard>> open_guard_files(const std::string& directory) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (!error) fs::permissions(directory, fs::perms::owner_all, error);
    if (error)
        return fail(ErrorKind::unavailable, fmt::format("make {}: {}", directory, error.message()));
    return std::make_unique<GuardFiles>(directory);
}

}  // namespace understudy::daemon
