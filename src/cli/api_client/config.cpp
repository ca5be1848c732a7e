#include "cli/api_client/connection.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <filesystem>
#include <fstream>

namespace understudy::cli {
namespace {

constexpr std::uintmax_t kMaxConfig = 1 << 20;  // bytes

}  // namespace

Result<std::string> socket_from_config(const std::string& file) {
    const std::string step = fmt::format("read the configuration {}", file);
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    if (error || size > kMaxConfig)
        return fail(ErrorKind::invalid,
                    fmt::format("{}: {}", step, error ? error.message() : "it is too large"));
    try {
        std::ifstream stream(file);
        const toml::table table = toml::parse(stream, file);
        if (const auto socket = table["socket"].value<std::string>()) return *socket;
        return std::string(kDefaultSocket);
    } catch (const toml::parse_error& bad) {
        return fail(ErrorKind::invalid, fmt::format("{}: line {}: {}", step,
                                                    bad.source().begin.line, bad.description()));
    } catch (const std::exception& bad) {
        return fail(ErrorKind::invalid, fmt::format("{}: {}", step, bad.what()));
    }
}

}  // namespace understudy::cli
