#include "daemon/state_dir.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace understudy::daemon {

Result<> make_state_dir(const std::string& path) {
    std::error_code error;
    const bool made = std::filesystem::create_directories(path, error);
    // Whatever the umask; one that was there is the operator's, or systemd's.
    if (made && !error) std::filesystem::permissions(path, std::filesystem::perms(0711), error);
    if (error) return fail(errno_error(error.value(), fmt::format("make {}", path)));
    return {};
}

}  // namespace understudy::daemon
