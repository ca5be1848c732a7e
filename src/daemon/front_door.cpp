#include "daemon/front_door.hpp"

#include "api/cluster_status.hpp"
#include "base/durable_file.hpp"
#include "base/version.hpp"
#include "catalog/open_catalog.hpp"
#include "daemon/state_dir.hpp"
#include "net/secrets.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

// The operators' listeners and `cluster init`. open() in order: state directory, its lock, catalog,
// identity, the house if there is a cluster, the unix socket, HTTPS. Before init only GET and POST
// /v1/cluster are answered. init opens the house first and saves the cluster last, so that a crash
// or an error in between leaves no cluster. Requests use the house under a shared lock; init holds
// the lock alone. The lock on the state directory ends with the process, even after kill -9.

namespace understudy::daemon {
namespace {

constexpr std::size_t kLongestName = 63;

Result<> check_name(const std::string& name) {
    bool good = !name.empty() && name.size() <= kLongestName;
    for (const char c : name)
        good = good && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' ||
                        c == '.');
    if (good) return {};
    return fail(ErrorKind::invalid,
                "a cluster's name has 1 to 63 letters, digits, '-', '_' or '.'");
}

net::HttpResponse json_response(int status, const nlohmann::json& body) {
    net::HttpResponse response;
    response.status = status;
    response.body = body.dump();
    return response;
}

net::HttpResponse unknown_caller(const Error& error) {
    auto response = api::error_response(error);
    response.status = 401;
    return response;
}

bool trusted(const net::HttpRequest& request) {
    if (!request.unix_peer) return false;
    // The socket's mode admits the owner and the group. This compares with what the kernel says.
    return request.unix_peer->uid == 0 || request.unix_peer->uid == geteuid() ||
           request.unix_peer->gid == getegid();
}

}  // namespace

FrontDoor::~FrontDoor() {
    close();
}

void FrontDoor::close() {
    {
        const std::shared_lock lock(mutex_);
        if (house_) house_->quiet();
    }
    unix_server_.stop();
    https_server_.stop();
    const std::unique_lock lock(mutex_);
    house_.reset();
}

Result<> FrontDoor::open() {
    UNDERSTUDY_TRY(make_state_dir(config_.state_dir));
    UNDERSTUDY_TRY(lock_state());
    auto catalog = catalog::open_catalog({"sqlite", config_.state_dir + "/catalog.db"});
    if (!catalog) return fail(std::move(catalog.error()).during("open the catalog"));
    catalog_ = std::move(*catalog);
    auto identity = net::load_or_create_identity(config_.state_dir + "/identity", "understudy");
    if (!identity) return fail(std::move(identity.error()).during("load the identity"));
    identity_ = std::move(*identity);
    auto cluster = UNDERSTUDY_VALUE(catalog_->find_cluster());
    if (cluster)
        UNDERSTUDY_TRY(open_house(*cluster));
    else
        spdlog::warn("no cluster yet: `understudy cluster init NAME` makes one");
    UNDERSTUDY_TRY(listen_unix());
    return config_.listen_api.empty() ? Result<>{} : listen_https();
}

// Each of two daemons on one directory would think that the other's tasks were left by a crash.
Result<> FrontDoor::lock_state() {
    const auto path = config_.state_dir + "/lock";
    lock_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_) return fail(errno_error(errno, "open " + path));
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK) return fail(errno_error(errno, "lock " + path));
    return fail(Error(ErrorKind::conflict,
                      fmt::format("another understudyd is running on {}", config_.state_dir))
                    .advising("Stop it first, or give this one a state_dir of its own."));
}

Result<> FrontDoor::open_house(const model::Cluster& cluster) {
    auto house = UNDERSTUDY_VALUE(House::open(config_, cluster, catalog_, identity_, clock_));
    house_ = std::move(house);
    return {};
}

Result<> FrontDoor::listen_unix() {
    const auto directory = std::filesystem::path(config_.socket).parent_path();
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    auto listener = net::listen_unix(config_.socket, config_.socket_mode);
    if (!listener) return fail(std::move(listener.error()).during("listen on " + config_.socket));
    spdlog::info("operators' socket: {}", config_.socket);
    return unix_server_.start(
        std::move(*listener), std::nullopt, [this](const net::HttpRequest& request) {
            if (!trusted(request))
                return unknown_caller(Error(ErrorKind::refused, "not allowed on this socket")
                                          .advising("Run as root or as understudyd's user."));
            return handle(request);
        });
}

// The token is made once and kept in a file. Whoever can read that file may use the API.
Result<std::string> FrontDoor::token() {
    const auto path = config_.state_dir + "/api-token";
    std::string text;
    if (std::ifstream file(path); file && std::getline(file, text) && text.size() >= 32)
        return text;
    text = net::random_secret();
    UNDERSTUDY_TRY(base::replace_file(path, text + "\n", 0600));
    return text;
}

Result<> FrontDoor::listen_https() {
    auto secret = UNDERSTUDY_VALUE(token());
    auto endpoint = net::parse_endpoint(config_.listen_api, 7370);
    if (!endpoint) return fail(std::move(endpoint.error()).during("listen_api"));
    auto listener = net::listen_tcp(endpoint->host, endpoint->port);
    if (!listener) return fail(std::move(listener.error()).during("listen for the API"));
    auto tls = UNDERSTUDY_VALUE(net::TlsContext::server(identity_, net::ClientCertificate::none));
    return https_server_.start(
        std::move(*listener), tls,
        [this, wanted = "Bearer " + secret](const net::HttpRequest& request) {
            const auto* shown = request.headers.find("Authorization");
            if (shown == nullptr || !net::constant_time_equal(*shown, wanted)) {
                return unknown_caller(
                    Error(ErrorKind::refused, "the API token is missing or wrong")
                        .advising("It is in the file api-token in understudyd's state directory."));
            }
            return handle(request);
        });
}

net::HttpResponse FrontDoor::handle(const net::HttpRequest& request) {
    {
        const std::shared_lock lock(mutex_);
        if (house_) return house_->handle(request);
    }
    return before_init(request);
}

net::HttpResponse FrontDoor::status_before_init() const {
    api::ClusterStatus status;
    status.version = base::version();
    status.node = config_.node;
    status.hypervisor_uri = config_.hypervisor;
    status.listen_peers = config_.advertise;
    status.listen_api = config_.listen_api;
    return json_response(200, api::status_json(status));
}

net::HttpResponse FrontDoor::before_init(const net::HttpRequest& request) {
    const bool about_cluster = request.path == "/v1/cluster";
    if (about_cluster && request.method == "GET") return status_before_init();
    if (!about_cluster || request.method != "POST")
        return api::error_response(Error(ErrorKind::refused, "this node is in no cluster yet")
                                       .advising("Make one: `understudy cluster init NAME`."));
    const auto body = nlohmann::json::parse(request.body, nullptr, false);
    const auto name = body.is_object() && body.contains("name") && body["name"].is_string()
                          ? body["name"].get<std::string>()
                          : std::string();
    auto made = init_cluster(name);
    if (!made) return api::error_response(made.error());
    const std::shared_lock lock(mutex_);
    return house_->handle(request);
}

Result<> FrontDoor::init_cluster(const std::string& name) {
    UNDERSTUDY_TRY(check_name(name));
    const std::unique_lock lock(mutex_);
    if (house_) return {};
    auto known = UNDERSTUDY_VALUE(catalog_->find_cluster());
    // The house first, so that no cluster is saved if a hypervisor, pool or port is missing.
    const auto cluster = known ? *known : model::Cluster{random_.id<ClusterId>(), name};
    UNDERSTUDY_TRY(open_house(cluster));
    if (known) return {};
    auto saved = catalog_->save_cluster(cluster);
    if (!saved) house_.reset();
    return saved;
}

}  // namespace understudy::daemon
