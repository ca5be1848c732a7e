#include "cli/api_client/connection.hpp"

#include "net/http_client.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

// Calls to the daemon over its unix socket or TLS. First: what an answer is, a JSON object or the
// Error in it. Then the two ways to connect, each with advice for the failures of its own. The
// token goes out only after the server's certificate was found to be the pinned one.

namespace understudy::cli {

using nlohmann::json;

namespace {

constexpr std::uint16_t kApiPort = 7370;

std::string group_of(gid_t gid) {
    const auto* group = ::getgrgid(gid);
    return group == nullptr ? fmt::format("{}", gid) : group->gr_name;
}

std::string string_in(const json& j, const char* key) {
    const auto found = j.find(key);
    return found != j.end() && found->is_string() ? found->get<std::string>() : "";
}

// The error in the body of a 4xx/5xx answer. If the body names no kind, the status gives it.
Error error_from_answer(const net::HttpResponse& response, const json& body) {
    const auto carried = body.is_object() ? body.find("error") : body.end();
    if (carried == body.end() || !carried->is_object())
        return Error(net::kind_of_status(response.status),
                     fmt::format("understudyd answered with status {} {}", response.status,
                                 net::reason_phrase(response.status)));
    const std::string kind = string_in(*carried, "kind");
    Error error(kind.empty() ? net::kind_of_status(response.status) : base::error_kind_from(kind),
                string_in(*carried, "text"));
    const std::string text = error.what();
    const auto add = [&](const char* key) {
        std::string part = string_in(*carried, key);
        return text.find(part) == std::string::npos ? part : std::string();
    };
    return Error(std::move(error).keeping(add("kept")).advising(add("advice")));
}

class HttpApi : public Api {
public:
    HttpApi(net::HttpClient client, std::string token, std::string where)
        : client_(std::move(client)), token_(std::move(token)), where_(std::move(where)) {}

    Result<json> call(const Call& call) override {
        net::Headers headers;
        if (!token_.empty()) headers.add("Authorization", "Bearer " + token_);
        if (!call.body.empty()) headers.add("Content-Type", "application/json");
        auto response = UNDERSTUDY_VALUE(
            client_.request(call.method, call.path, call.body, headers, call.timeout));
        if (response.status == 401 && token_.empty())
            return fail(Error(
                ErrorKind::unavailable,
                error_from_answer(response, json::parse(response.body, nullptr, false)).text()));
        if (response.status == 401)
            return fail(
                Error(ErrorKind::unavailable, fmt::format("{} does not accept the token", where_))
                    .advising("It is in /var/lib/understudy/api-token on a node of that cluster; "
                              "name a file that holds it with --token-file."));
        json body = json::parse(response.body, nullptr, false);
        if (response.status >= 400) return fail(error_from_answer(response, body));
        if (!body.is_object())
            return fail(Error(ErrorKind::internal,
                              fmt::format("{} answered {} {} with something other than a JSON "
                                          "object",
                                          where_, call.method, call.path))
                            .advising("Is that an understudyd of this version?"));
        return body;
    }

private:
    net::HttpClient client_;
    std::string token_;
    std::string where_;
};

Result<std::unique_ptr<Api>> connect_url(const Target& target) {
    std::string_view rest = target.url;
    rest.remove_prefix(std::string_view("https://").size());
    if (rest.ends_with('/')) rest.remove_suffix(1);
    auto endpoint = net::parse_endpoint(rest, kApiPort);
    if (!endpoint) return fail(std::move(endpoint.error()).during("--url " + target.url));
    auto token = UNDERSTUDY_VALUE(read_token(target.token_file));
    auto tls = UNDERSTUDY_VALUE(net::TlsContext::client(std::nullopt, target.fingerprint));
    const std::string host = net::format_endpoint(*endpoint);
    net::HttpClient::Options options;
    options.host = host;
    auto secure = net::tls_connector("understudyd", *endpoint, tls);
    auto explaining = [secure](Duration timeout) -> Result<std::unique_ptr<net::Stream>> {
        auto stream = secure(timeout);
        if (stream || stream.error().kind() != ErrorKind::refused) return stream;
        return fail(Error(ErrorKind::refused, stream.error().what())
                        .advising("Another machine answers there, or the cluster was set up again. "
                                  "If it was set up again, get the fingerprint of its new "
                                  "certificate on one of its nodes. The token was not sent."));
    };
    return std::make_unique<HttpApi>(net::HttpClient(std::move(explaining), options), token, host);
}

}  // namespace

Error explain_socket(const Error& error, const std::string& socket) {
    struct stat found{};
    const int missing = ::stat(socket.c_str(), &found) == 0 ? 0 : errno;
    const bool denied = error.kind() == ErrorKind::refused || missing == EACCES;
    Error explained(ErrorKind::unavailable, error.what());
    if (denied && missing == 0)
        return std::move(explained).advising(
            fmt::format("Run this as root or as a member of the group '{}' (sudo understudy …).",
                        group_of(found.st_gid)));
    if (denied) return std::move(explained).advising("Run this as root (sudo understudy …).");
    const std::string start =
        "Start it with `systemctl start understudyd` (its messages: `journalctl -u understudyd`)";
    if (missing != 0)
        return std::move(explained).advising(
            start + ", or name the right socket with --socket or -c FILE.");
    return std::move(explained).advising(start + ".");
}

Result<std::unique_ptr<Api>> connect(const Target& target) {
    if (!target.url.empty()) return connect_url(target);
    auto plain = net::unix_connector(target.socket);
    auto explaining =
        [plain, socket = target.socket](Duration timeout) -> Result<std::unique_ptr<net::Stream>> {
        auto stream = plain(timeout);
        if (!stream) return fail(explain_socket(stream.error(), socket));
        return stream;
    };
    return std::make_unique<HttpApi>(net::HttpClient(std::move(explaining)), "", target.socket);
}

}  // namespace understudy::cli
