#include "storage/rbd/cluster.hpp"

#include <fmt/format.h>
#include <rbd/librbd.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

// The connection to Ceph: made on first use and, after Ceph has shut this client out, anew. Making
// it reads ceph.conf, bounds every operation by the settings' timeout, opens pool and namespace,
// and asks for the monitors. connect() lets one thread at a time try; the others wait for it.
// error() says what a result of Ceph means for an operator, with the room that is left if that was
// the reason. Nothing is kept in Ceph but an empty rbd_trash object, which removals from a full
// pool need.

namespace understudy::rbd {
namespace {

using nlohmann::json;

constexpr const char* kTrashObject = "rbd_trash";
constexpr const char* kCheck =
    "Check the cluster with `ceph -s`; what was begun goes on once it "
    "answers.";

Result<json> ask_monitors(librados::Rados& rados, const json& command, int& result) {
    librados::bufferlist none;
    librados::bufferlist answer;
    result = rados.mon_command(command.dump(), none, &answer, nullptr);
    if (result < 0) return json();
    try {
        return json::parse(answer.to_str());
    } catch (const json::exception& problem) {
        return fail(ErrorKind::internal,
                    fmt::format("a monitor's answer cannot be read: {}", problem.what()));
    }
}

// The monitors that speak the first protocol. libvirt and QEMU are given these, as HOST:PORT.
std::vector<std::string> monitors_of(const json& dump) {
    std::vector<std::string> found;
    try {
        for (const auto& monitor : dump.at("mons"))
            for (const auto& address : monitor.at("public_addrs").at("addrvec"))
                if (address.at("type") == "v1") found.push_back(address.at("addr"));
    } catch (const json::exception&) {
        return {};
    }
    return found;
}

// From "[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0] 10.0.0.2": those that libvirt can be given.
std::vector<std::string> monitors_in(std::string text) {
    std::ranges::replace_if(text, [](char c) { return c == ' ' || c == ';'; }, ',');
    std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
    std::vector<std::string> found;
    std::size_t at = 0;
    while (at < text.size()) {
        const auto end = std::min(text.find(',', at), text.size());
        auto part = text.substr(at, end - at);
        at = end + 1;
        if (part.empty() || part.starts_with("v2:")) continue;
        if (part.starts_with("v1:")) part.erase(0, 3);
        found.push_back(part.substr(0, part.find('/')));
    }
    return found;
}

}  // namespace

Connection::~Connection() {
    io.close();
    rados.shutdown();
}

std::string Cluster::conf_path() const {
    return settings_.ceph_conf.empty() ? "/etc/ceph/ceph.conf" : settings_.ceph_conf;
}

std::string Cluster::where() const {
    const auto& space = settings_.rbd_namespace;
    return fmt::format("pool '{}{}{}' of Ceph ({})", settings_.pool, space.empty() ? "" : "/",
                       space, conf_path());
}

Result<std::shared_ptr<Connection>> Cluster::connect() {
    const std::lock_guard one_at_a_time(connecting_);
    {
        const std::lock_guard lock(mutex_);
        if (connection_) return connection_;
    }
    auto made = make();
    if (!made) return fail(std::move(made.error()).during("reach " + where()));
    const std::lock_guard lock(mutex_);
    connection_ = *made;
    return connection_;
}

Result<> Cluster::configure(librados::Rados& rados) const {
    if (const int result = rados.conf_read_file(conf_path().c_str()); result < 0)
        return fail(Error(result == -ENOENT ? ErrorKind::not_found : ErrorKind::invalid,
                          fmt::format("read {}: {}", conf_path(), std::strerror(-result)))
                        .advising("Put the cluster's ceph.conf there or name another one."));
    if (!settings_.keyring.empty()) rados.conf_set("keyring", settings_.keyring.c_str());
    const auto seconds = fmt::format("{}", settings_.timeout.count());
    // This is after how long librados asks for a newer map because an operation takes long. By its
    // own settings that is 10 s, and an operation that is given up before never sees it. Without a
    // new map a client can go on for ever to ask an OSD at the address that it had before it was
    // started again.
    const double timeout = static_cast<double>(settings_.timeout.count());
    const auto laggy = fmt::format("{}", std::min(5.0, timeout / 4));
    const std::array<std::pair<const char*, const char*>, 11> options{{
        {"objecter_timeout", laggy.c_str()},
        {"objecter_tick_interval", laggy.c_str()},
        {"client_mount_timeout", seconds.c_str()},
        {"rados_mon_op_timeout", seconds.c_str()},
        {"rados_osd_op_timeout", seconds.c_str()},
        {"rbd_cache", "false"},                 // everything is read and written once
        {"rbd_skip_partial_discard", "false"},  // what is zeroed must read as zeroes
        // With two, librbd 16 uses an image's lock after it was closed, now and then.
        {"librados_thread_count", "1"},
        {"admin_socket", ""},  // this is one client of perhaps many in a process
        {"log_to_stderr", "false"},
        {"err_to_stderr", "false"},
    }};
    for (const auto& [option, value] : options)
        if (const int result = rados.conf_set(option, value); result < 0)
            return fail(ErrorKind::internal,
                        fmt::format("librados refuses {} = {}", option, value));
    return {};
}

Error Cluster::connect_error(int result) const {
    switch (result) {
        case -ETIMEDOUT:
            return Error(ErrorKind::unavailable,
                         fmt::format("no monitor answered within {} s", settings_.timeout.count()))
                .advising(kCheck);
        case -EACCES:
        case -EPERM:
        case -EINVAL:
            return Error(ErrorKind::invalid,
                         fmt::format("the cluster refuses client.{} or its key", settings_.user))
                .advising(fmt::format("Compare its keyring with `ceph auth get client.{}`.",
                                      settings_.user));
        case -ENOENT:
            return Error(ErrorKind::not_found,
                         fmt::format("there is no key for client.{}", settings_.user))
                .advising("Put its keyring where ceph.conf says, or name another one.");
        default: return errno_error(-result, "connect").advising(kCheck);
    }
}

Result<std::shared_ptr<Connection>> Cluster::make() {
    auto made = std::make_shared<Connection>();
    if (const int result = made->rados.init2(("client." + settings_.user).c_str(), "ceph", 0);
        result < 0)
        return fail(errno_error(-result, "start librados"));
    UNDERSTUDY_TRY(configure(made->rados));
    if (const int result = made->rados.connect(); result < 0) return fail(connect_error(result));
    UNDERSTUDY_TRY(open_pool(*made));
    int result = 0;
    auto dump = UNDERSTUDY_VALUE(
        ask_monitors(made->rados, {{"prefix", "mon dump"}, {"format", "json"}}, result));
    if (result < 0) return fail(error(result, "ask for the monitors"));
    made->monitors = monitors_of(dump);
    made->rados.cluster_fsid(&made->fsid);
    return made;
}

Result<> Cluster::open_pool(Connection& connection) {
    const auto no_pool = [&](const std::string& pool) {
        return fail(Error(ErrorKind::not_found, "the cluster has no pool '" + pool + "'")
                        .advising("List them with `ceph osd pool ls`."));
    };
    int result = connection.rados.ioctx_create(settings_.pool.c_str(), connection.io);
    if (result == -ENOENT) return no_pool(settings_.pool);
    if (result < 0) return fail(error(result, "open pool '" + settings_.pool + "'"));
    if (!settings_.data_pool.empty()) {
        const auto data = connection.rados.pool_lookup(settings_.data_pool.c_str());
        if (data == -ENOENT) return no_pool(settings_.data_pool);
        if (data < 0)
            return fail(error(static_cast<int>(data), "open pool '" + settings_.data_pool + "'"));
    }
    connection.io.set_pool_full_try();
    UNDERSTUDY_TRY(open_namespace(connection));
    // Images are removed by way of rbd's trash, which cannot be made in a pool that is full.
    connection.io.create(kTrashObject, false);
    return {};
}

Result<> Cluster::open_namespace(Connection& connection) {
    if (settings_.rbd_namespace.empty()) return {};
    bool exists = false;
    const int result =
        librbd::RBD().namespace_exists(connection.io, settings_.rbd_namespace.c_str(), &exists);
    if (result < 0) return fail(error(result, "look for namespace " + settings_.rbd_namespace));
    if (!exists)
        return fail(
            Error(ErrorKind::not_found, fmt::format("pool '{}' has no rbd namespace '{}'",
                                                    settings_.pool, settings_.rbd_namespace))
                .advising(fmt::format("Make it with `rbd namespace create {}/{}`.", settings_.pool,
                                      settings_.rbd_namespace)));
    connection.io.set_namespace(settings_.rbd_namespace);
    return {};
}

std::string Cluster::conf_option(const char* name) const {
    librados::Rados rados;
    if (rados.init2(("client." + settings_.user).c_str(), "ceph", 0) < 0) return {};
    std::string value;
    if (rados.conf_read_file(conf_path().c_str()) >= 0) rados.conf_get(name, value);
    rados.shutdown();
    return value;
}

std::vector<std::string> Cluster::monitors() const {
    {
        const std::lock_guard lock(mutex_);
        if (connection_ && !connection_->monitors.empty()) return connection_->monitors;
    }
    return monitors_in(conf_option("mon_host"));
}

std::string Cluster::guest_user() const {
    const std::lock_guard lock(mutex_);
    if (login_methods_.empty()) login_methods_ = conf_option("auth_client_required");
    const bool asked = login_methods_.empty() || login_methods_.contains("cephx");
    return asked ? settings_.user : std::string();
}

Error Cluster::error(int result, std::string_view what) {
    const auto told = fmt::format("{} in {}", what, where());
    switch (result) {
        case -ENOSPC:
        case -EDQUOT: {
            auto text =
                fmt::format("{}: {}", told, result == -EDQUOT ? "over its quota" : "no space left");
            if (auto space = capacity())
                text += fmt::format(" ({} free)", base::format_size(space->free));
            return Error(ErrorKind::no_space, text)
                .advising("Make room or raise the quota (`ceph df`), then repeat.");
        }
        case -ESHUTDOWN: {  // this client is on the cluster's blocklist, so only a new one gets in
            const std::lock_guard lock(mutex_);
            connection_.reset();
            return Error(ErrorKind::unavailable, told + ": the cluster has shut this client out")
                .advising("It connects anew by itself; repeat.");
        }
        case -ETIMEDOUT:
            return Error(ErrorKind::unavailable,
                         fmt::format("{}: no answer within {} s", told, settings_.timeout.count()))
                .advising(kCheck);
        case -ENOTCONN:
        case -EBUSY:
        case -EROFS:
            return Error(ErrorKind::unavailable,
                         fmt::format("{}: {}", told, std::strerror(-result)))
                .advising(kCheck);
        case -EPERM:
        case -EACCES:
            return Error(ErrorKind::invalid,
                         fmt::format("{}: client.{} may not do that", told, settings_.user))
                .advising("Give it `mon 'profile rbd' osd 'profile rbd pool=…'`.");
        default: return errno_error(-result, told);
    }
}

Result<ports::Capacity> Cluster::capacity() {
    auto connection = UNDERSTUDY_VALUE(connect());
    const auto& pool = settings_.data_pool.empty() ? settings_.pool : settings_.data_pool;
    int result = 0;
    auto df = UNDERSTUDY_VALUE(
        ask_monitors(connection->rados, {{"prefix", "df"}, {"format", "json"}}, result));
    json quota;
    if (result >= 0) {
        auto answer = UNDERSTUDY_VALUE(ask_monitors(
            connection->rados,
            {{"prefix", "osd pool get-quota"}, {"pool", pool}, {"format", "json"}}, result));
        quota = std::move(answer);
    }
    if (result == -ETIMEDOUT)
        return fail(
            Error(ErrorKind::unavailable, "no monitor answers for " + where()).advising(kCheck));
    if (result < 0) return fail(errno_error(-result, "ask for the room in " + where()));
    try {
        for (const auto& entry : df.at("pools")) {
            if (entry.at("name") != pool) continue;
            const auto stored = entry.at("stats").at("stored").get<std::uint64_t>();
            auto free = entry.at("stats").at("max_avail").get<std::uint64_t>();
            auto total = stored + free;
            if (const auto limit = quota.value("quota_max_bytes", std::uint64_t(0)); limit > 0) {
                total = std::min(total, limit);
                free = std::min(free, limit > stored ? limit - stored : 0);
            }
            return ports::Capacity{.total = ByteSize(total), .free = ByteSize(free)};
        }
    } catch (const json::exception& problem) {
        return fail(ErrorKind::internal,
                    fmt::format("what Ceph says of its room cannot be read: {}", problem.what()));
    }
    return fail(ErrorKind::not_found, "no room is told for " + where());
}

}  // namespace understudy::rbd
