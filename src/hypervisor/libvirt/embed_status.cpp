#include "hypervisor/libvirt/embed_status.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace understudy::libvirt {
namespace {

constexpr std::size_t kHead = 4096;  // the element comes after a comment of some lines

bool has_no_process(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string head(kHead, '\0');
    in.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<std::size_t>(in.gcount()));
    const auto begin = head.find("<domstatus ");
    const auto end = head.find('>', begin);
    if (begin == std::string::npos || end == std::string::npos) return false;
    return std::string_view(head).substr(begin, end - begin).find(" pid='0'") !=
           std::string_view::npos;
}

}  // namespace

Result<> forget_half_started(const std::string& root) {
    const auto directory = std::filesystem::path(root) / "run" / "qemu";
    std::error_code error;
    std::filesystem::directory_iterator files(directory, error);
    if (error) return {};  // a new root
    for (const auto& file : files) {
        if (file.path().extension() != ".xml" || !has_no_process(file.path())) continue;
        if (!std::filesystem::remove(file.path(), error) && error)
            return fail(errno_error(error.value(), fmt::format("remove {}", file.path().string())));
    }
    return {};
}

}  // namespace understudy::libvirt
