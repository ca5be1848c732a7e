#include "cli/commands/shared_options.hpp"

#include "base/units.hpp"
#include "cli/grammar/snapshot_name.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace understudy::cli {

Result<std::uint64_t> rate_from(std::string_view word) {
    if (word.ends_with("/s")) word.remove_suffix(2);
    auto rate = UNDERSTUDY_VALUE(base::parse_size(word));
    return rate.count();
}

Result<> put_rate(nlohmann::json& body, const Arguments& arguments, std::string_view option) {
    const auto word = arguments.find(option);
    if (!word) return {};
    auto rate = rate_from(*word);
    if (!rate) return fail(std::move(rate.error()).during(fmt::format("--{}", option)));
    body["rate_bytes"] = *rate;
    return {};
}

Result<> put_boot_timeout(nlohmann::json& body, const Arguments& arguments) {
    const auto text = arguments.find("timeout");
    if (!text) return {};
    auto limit = base::parse_duration(*text);
    if (!limit) return fail(std::move(limit.error()).during("--timeout"));
    if (*limit <= Duration(0)) return fail(ErrorKind::invalid, "--timeout must be some time");
    body["limit_ms"] = limit->count();
    return {};
}

void put_snapshot(nlohmann::json& body, const Arguments& arguments) {
    if (const auto word = arguments.find("snapshot")) body["snapshot"] = snapshot_of_word(*word);
}

}  // namespace understudy::cli
