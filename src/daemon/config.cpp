#include "daemon/config.hpp"

#include "base/ids.hpp"
#include "net/socket.hpp"
#include "tasks/drills/boot_check.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

// Reads understudyd.toml. Each table has a map from a field's name to a Setter, which checks the
// value and writes it into Config. The first thing that is wrong ends the reading: an unknown
// field, a wrong type, a value out of bounds, two pools in one place. Then empty fields get what
// holds without a file (fill_defaults). Only reads; it is not checked whether a path or an address
// exists.

namespace understudy::daemon {
namespace {

using Setter = std::function<Result<>(const toml::node&)>;
using Setters = std::map<std::string, Setter, std::less<>>;

// An error from inside a table names its own line already.
Result<> apply(const toml::table& table, const Setters& setters, const std::string& where);

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

Setter yes_or_no(bool& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<bool>();
        if (!value) return fail(ErrorKind::invalid, "must be true or false");
        into = *value;
        return {};
    };
}

Setter absolute_path(std::string& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value || !std::filesystem::path(*value).is_absolute())
            return fail(ErrorKind::invalid, "must be an absolute path");
        into = *value;
        return {};
    };
}

enum class Empty { wrong, allowed };

Setter endpoint(std::string& into, std::uint16_t default_port, Empty empty = Empty::wrong) {
    return [&into, default_port, empty](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"0.0.0.0:7373\"");
        if (!value->empty() || empty == Empty::wrong) {
            auto parsed = UNDERSTUDY_VALUE(net::parse_endpoint(*value, default_port));
        }
        into = *value;
        return {};
    };
}

Setter duration(Duration& into, Duration least, Duration most) {
    return [&into, least, most](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"30s\"");
        auto parsed = UNDERSTUDY_VALUE(base::parse_duration(*value));
        if (parsed < least || parsed > most)
            return fail(ErrorKind::invalid,
                        fmt::format("must be from {} to {}", base::format_duration(least),
                                    base::format_duration(most)));
        into = parsed;
        return {};
    };
}

Setter size(ByteSize& into, ByteSize least, ByteSize most) {
    return [&into, least, most](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"64MiB\"");
        auto parsed = UNDERSTUDY_VALUE(base::parse_size(*value));
        if (parsed < least || parsed > most)
            return fail(ErrorKind::invalid,
                        fmt::format("must be from {} to {}", base::format_size(least),
                                    base::format_size(most)));
        into = parsed;
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
        if (!applied && node.is_table()) return applied;
        if (!applied)
            return fail(std::move(applied.error())
                            .during(fmt::format("line {}: '{}{}'", line, where, key.str())));
    }
    return {};
}

Setter one_of(std::string& into, std::vector<std::string> words) {
    return [&into, words = std::move(words)](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value || std::ranges::find(words, *value) == words.end())
            return fail(ErrorKind::invalid,
                        fmt::format("must be \"{}\"", fmt::join(words, "\" or \"")));
        into = *value;
        return {};
    };
}

Setter uuid(std::string& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value || !base::parse_uuid(*value)) return fail(ErrorKind::invalid, "must be a UUID");
        into = *value;
        return {};
    };
}

Result<Qcow2PoolConfig> qcow2_pool(const toml::table& table, const std::string& where,
                                   const std::string& fields, const Setter& driver) {
    Qcow2PoolConfig pool;
    UNDERSTUDY_TRY(apply(table,
                         {{"driver", driver},
                          {"path", absolute_path(pool.path)},
                          {"full_format", one_of(pool.full_format, {"qcow2", "raw"})}},
                         fields));
    if (pool.path.empty()) return fail(ErrorKind::invalid, where + ": 'path' is missing");
    return pool;
}

Result<RbdPoolConfig> rbd_pool(const std::string& name, const toml::table& table,
                               const std::string& where, const std::string& fields,
                               const Setter& driver) {
    RbdPoolConfig pool;
    pool.pool = name;
    UNDERSTUDY_TRY(apply(table,
                         {{"driver", driver},
                          {"ceph_conf", absolute_path(pool.ceph_conf)},
                          {"user", text(pool.user)},
                          {"keyring", absolute_path(pool.keyring)},
                          {"pool", text(pool.pool)},
                          {"namespace", text(pool.rbd_namespace)},
                          {"data_pool", text(pool.data_pool)},
                          {"secret", uuid(pool.secret)},
                          {"object_size", size(pool.object_size, base::KiB(4), base::MiB(32))},
                          {"timeout", duration(pool.timeout, Duration(1000), Duration(600'000))}},
                         fields));
    if (pool.pool.empty()) return fail(ErrorKind::invalid, where + ": 'pool' is empty");
    if (!std::has_single_bit(pool.object_size.count()))
        return fail(ErrorKind::invalid, where + ": 'object_size' must be a power of two");
    return pool;
}

Result<PoolConfig> pool_of(const std::string& name, const toml::table& table,
                           const std::string& where) {
    const auto fields = fmt::format("pools.{}.", name);
    std::string kind = "qcow2";
    const auto driver = one_of(kind, {"qcow2", "rbd"});
    if (const auto* named = table.get("driver"))
        if (auto known = driver(*named); !known)
            return fail(std::move(known.error())
                            .during(fmt::format("line {}: '{}driver'", named->source().begin.line,
                                                fields)));
    PoolConfig pool{name, {}};
    if (kind == "qcow2") {
        auto settings = UNDERSTUDY_VALUE(qcow2_pool(table, where, fields, driver));
        pool.settings = std::move(settings);
    } else {
        auto settings = UNDERSTUDY_VALUE(rbd_pool(name, table, where, fields, driver));
        pool.settings = std::move(settings);
    }
    return pool;
}

// Whether two pools are in one place. Each would then find the other's volumes there.
bool is_same_place(const PoolConfig& a, const PoolConfig& b) {
    if (a.settings.index() != b.settings.index()) return false;
    if (const auto* here = std::get_if<Qcow2PoolConfig>(&a.settings))
        return std::filesystem::path(here->path).lexically_normal() ==
               std::filesystem::path(std::get<Qcow2PoolConfig>(b.settings).path).lexically_normal();
    const auto& one = std::get<RbdPoolConfig>(a.settings);
    const auto& other = std::get<RbdPoolConfig>(b.settings);
    return one.ceph_conf == other.ceph_conf && one.pool == other.pool &&
           one.rbd_namespace == other.rbd_namespace;
}

Setter pools(std::vector<PoolConfig>& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr) return fail(ErrorKind::invalid, "must be tables [pools.NAME]");
        for (const auto& [key, entry] : *table) {
            const std::string name(key.str());
            const auto where = fmt::format("line {}: 'pools.{}'", entry.source().begin.line, name);
            const auto* described = entry.as_table();
            if (described == nullptr)
                return fail(ErrorKind::invalid, where + ": must be a table [pools.NAME]");
            auto pool = UNDERSTUDY_VALUE(pool_of(name, *described, where));
            for (const auto& other : into)
                if (is_same_place(other, pool))
                    return fail(ErrorKind::invalid,
                                fmt::format("{}: is in the place of pool '{}'", where, other.name));
            into.push_back(std::move(pool));
        }
        return {};
    };
}

Setter verify(Config& config) {
    return [&config](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr) return fail(ErrorKind::invalid, "must be a table [verify]");
        return apply(*table,
                     {{"every", duration(config.verify_every, std::chrono::minutes(1),
                                         std::chrono::hours(24 * 366))}},
                     "verify.");
    };
}

Setter pattern(std::string& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto value = node.value<std::string>();
        if (!value) return fail(ErrorKind::invalid, "must be a text such as \"login:\"");
        auto parsed = UNDERSTUDY_VALUE(tasks::parse_boot_check("console=" + *value));
        into = *value;
        return {};
    };
}

Setter drill(tasks::DrillSettings& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr) return fail(ErrorKind::invalid, "must be a table [drill]");
        const Duration least(1000);
        const Duration most = std::chrono::hours(24);
        return apply(*table,
                     {{"timeout", duration(into.limit, least, most)},
                      {"settle", duration(into.min_uptime, least, most)},
                      {"console", pattern(into.console)},
                      {"at_once", whole(into.at_once, 1, 64)}},
                     "drill.");
    };
}

constexpr Duration kShortestRpo = std::chrono::seconds(1);
constexpr Duration kLongestRpo = std::chrono::hours(24 * 366);

Setter rpo_targets(std::map<std::string, Duration>& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr)
            return fail(ErrorKind::invalid, "must be a table of VMs' names and times");
        for (const auto& [vm, time] : *table) {
            Duration target{0};
            auto read = duration(target, kShortestRpo, kLongestRpo)(time);
            if (!read) return fail(std::move(read.error()).during(std::string(vm.str())));
            into[std::string(vm.str())] = target;
        }
        return {};
    };
}

Setter recovery(tasks::RecoverySettings& into) {
    return [&into](const toml::node& node) -> Result<> {
        const auto* table = node.as_table();
        if (table == nullptr) return fail(ErrorKind::invalid, "must be a table [recovery]");
        return apply(*table,
                     {{"rpo_target", duration(into.rpo_target, kShortestRpo, kLongestRpo)},
                      {"rpo_targets", rpo_targets(into.rpo_targets)}},
                     "recovery.");
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

// For what the parser reads as an empty file, or refuses without a reason.
Result<> check_readable(const std::string& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error))
        return fail(ErrorKind::invalid, path + ": is a directory, not a TOML file");
    if (access(path.c_str(), R_OK) != 0) {
        const auto reason = errno_error(errno, "open " + path);
        return fail(ErrorKind::invalid, reason.what());
    }
    return {};
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
        config.pools.push_back({"default", Qcow2PoolConfig{config.state_dir + "/pool", "qcow2"}});
}

}  // namespace

Result<Config> load_config(const std::string& path) {
    Config config;
    if (!path.empty()) {
        const Setters setters{
            {"state_dir", absolute_path(config.state_dir)},
            {"socket", absolute_path(config.socket)},
            {"socket_mode", mode(config.socket_mode)},
            {"node", text(config.node)},
            {"listen_peers", endpoint(config.listen_peers, 7373)},
            {"advertise", endpoint(config.advertise, 7373)},
            {"listen_api", endpoint(config.listen_api, 7370, Empty::allowed)},
            {"hypervisor", text(config.hypervisor)},
            {"workers", whole(config.workers, 1, 64)},
            {"channels", whole(config.channels, 1, 16)},
            {"contact_every", duration(config.contact_every, Duration(1000), Duration(3'600'000))},
            {"checkpoint_every",
             duration(config.checkpoint_every, Duration(10), Duration(600'000))},
            {"accept_handovers", yes_or_no(config.accept_handovers)},
            {"link_patience", duration(config.link_patience, Duration(1000), Duration(600'000))},
            {"checkpoint_bytes", size(config.checkpoint_bytes, base::MiB(1), base::MiB(1 << 20))},
            {"verify", verify(config)},
            {"drill", drill(config.drill)},
            {"recovery", recovery(config.recovery)},
            {"pools", pools(config.pools)}};
        UNDERSTUDY_TRY(check_readable(path));
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
