#include "daemon/config.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

namespace understudy::daemon {
namespace {

using Setter = std::function<Result<>(const toml::node&)>;
using Setters = std::map<std::string, Setter, std::less<>>;

Setter text(std::string& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text");
        into = *value;
        return {};
    };
}

Setter whole(std::size_t& into, std::int64_t least, std::int64_t most) {
    return [&into, least, most](const toml::node& node) -> Result<> {
        const auto value = node.value<std::int64_t>();
        if (!value || *value < least || *value > most)
            return fail(ErrorKind::invalid, fmt::format("must be from {} to {}", least, most));
        into = static_cast<std::size_t>(*value);
        return {};
    };
}

Setter duration(Duration& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"30s\"");
        auto parsed = base::parse_duration(*value);
        if (!parsed) return std::unexpected(std::move(parsed.error()));
        into = *parsed;
        return {};
    };
}

Setter size(ByteSize& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"64MiB\"");
        auto parsed = base::parse_size(*value);
        if (!parsed) return std::unexpected(std::move(parsed.error()));
        into = *parsed;
        return {};
    };
}

Result<> apply(const toml::table& table, const Setters& setters, const std::string& where) {
    for (const auto& [key, node] : table) {
        const auto found = setters.find(key.str());
        const auto line = node.source().begin.line;
        if (found == setters.end())
            return fail(ErrorKind::invalid,
                        fmt::format("line {}: unknown field '{}{}'", line, where, key.str()));
        auto applied = found->second(node);
        if (!applied)
            return fail(std::move(applied.error())
                            .during(fmt::format("line {}: '{}{}'", line, where, key.str())));
    }
    return {};
}

Result<PoolConfig> pool_of(const std::string& name, const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) return fail(ErrorKind::invalid, "must be a table [pools.NAME]");
    PoolConfig pool;
    pool.name = name;
    UNDERSTUDY_TRY(apply(*table,
                         {{"driver", text(pool.driver)},
                          {"path", text(pool.path)},
                          {"full_format", text(pool.full_format)}},
                         fmt::format("pools.{}.", name)));
    if (pool.driver != "qcow2")
        return fail(ErrorKind::invalid,
                    fmt::format("pool '{}': no driver '{}' (there is: qcow2)", name, pool.driver));
    if (pool.full_format != "qcow2" && pool.full_format != "raw")
        return fail(ErrorKind::invalid,
                    fmt::format("pool '{}': full_format is \"qcow2\" or \"raw\"", name));
    if (!std::filesystem::path(pool.path).is_absolute())
        return fail(ErrorKind::invalid, fmt::format("pool '{}' needs an absolute path", name));
    return pool;
}

Setter pools(std::vector<PoolConfig>& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr) return fail(ErrorKind::invalid, "must be tables [pools.NAME]");
        for (const auto& [name, entry] : *table) {
            auto pool = pool_of(std::string(name.str()), entry);
            if (!pool) return std::unexpected(std::move(pool.error()));
            into.push_back(std::move(*pool));
        }
        return {};
    };
}

Setter mode(unsigned& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (value != "0600" && value != "0660")
            return fail(ErrorKind::invalid, "must be \"0600\" or \"0660\"");
        into = *value == "0600" ? 0600U : 0660U;
        return {};
    };
}

void fill_defaults(Config& config) {
    if (config.node.empty()) {
        std::array<char, 256> name{};
        gethostname(name.data(), name.size() - 1);
        config.node = name.data();
    }
    if (config.advertise.empty()) {
        const auto port = config.listen_peers.rfind(':');
        config.advertise =
            config.node + (port == std::string::npos ? ":7373" : config.listen_peers.substr(port));
    }
    if (config.pools.empty())
        config.pools.push_back({"default", "qcow2", config.state_dir + "/pool", "qcow2"});
}

}  // namespace

Result<Config> load_config(const std::string& path) {
    Config config;
    if (!path.empty()) {
        const Setters setters{{"state_dir", text(config.state_dir)},
                              {"socket", text(config.socket)},
                              {"socket_mode", mode(config.socket_mode)},
                              {"node", text(config.node)},
                              {"listen_peers", text(config.listen_peers)},
                              {"advertise", text(config.advertise)},
                              {"listen_api", text(config.listen_api)},
                              {"hypervisor", text(config.hypervisor)},
                              {"workers", whole(config.workers, 1, 64)},
                              {"channels", whole(config.channels, 1, 16)},
                              {"contact_every", duration(config.contact_every)},
                              {"checkpoint_every", duration(config.checkpoint_every)},
                              {"checkpoint_bytes", size(config.checkpoint_bytes)},
                              {"pools", pools(config.pools)}};
        try {
            const auto table = toml::parse_file(path);
            auto applied = apply(table, setters, "");
            if (!applied) return fail(std::move(applied.error()).during(path));
        } catch (const toml::parse_error& error) {
            return fail(ErrorKind::invalid,
                        fmt::format("{}: line {}: {}", path, error.source().begin.line,
                                    error.description()));
        }
    }
    fill_defaults(config);
    return config;
}

}  // namespace understudy::daemon
