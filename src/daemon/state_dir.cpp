#include "daemon/state_dir.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace understudy::daemon {

Result<> make_state_dir(const std::string& path) {
    std::error_code error;
    const bool made = std::filesystem::create_directories(path, error);
    // Sets the mode whatever the umask is. A directory that was there keeps its mode: it was made
    // by the operator or by systemd.
    if (made && !error) std::filesystem::permissions(path, std::filesystem::perms(0711), error);
    if (error) return fail(errno_error(error.value(), fmt::format("make {}", path)));
    return {};
}

}  // namespace understudy::daemon
