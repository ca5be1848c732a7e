#include "daemon/boot_mark.hpp"

#include "base/durable_file.hpp"

#include <fstream>

namespace understudy::daemon {
namespace {

constexpr std::size_t kMaxMark = 4096;

}  // namespace

BootMark::BootMark(std::string path, std::string boot)
    : path_(std::move(path)), boot_(std::move(boot)) {}

bool BootMark::is_set() const {
    if (boot_.empty()) return false;
    const auto text = base::read_file(path_, kMaxMark);
    return text && *text && **text == boot_ + '\n';
}

Result<> BootMark::set() {
    if (boot_.empty()) return {};
    return base::replace_file(path_, boot_ + '\n', 0600);
}

std::string this_boot() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string line;
    std::getline(file, line);
    return line;
}

}  // namespace understudy::daemon
