#include "cli/api_client/connection.hpp"

#include "cli/fake_api.hpp"
#include "net/http_server.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

struct Connection : ::testing::Test {
    std::filesystem::path dir = [] {
        char name[] = "/tmp/understudy-cli-XXXXXX";
        return std::filesystem::path(::mkdtemp(name));
    }();
    std::mutex mutex;
    std::vector<net::HttpRequest> seen;  // under mutex
    net::HttpResponse response;
    net::HttpServer server;

    ~Connection() override {
        server.stop();
        std::filesystem::remove_all(dir);
    }
    net::HttpServer::Handler handler() {
        return [this](const net::HttpRequest& request) {
            const std::lock_guard lock(mutex);
            seen.push_back(request);
            return response;
        };
    }
    std::string socket() const { return dir / "understudy.sock"; }
    void listen_on_socket() {
        auto listener = net::listen_unix(socket(), 0600);
        ASSERT_TRUE(listener) << listener.error().text();
        ASSERT_TRUE(server.start(std::move(*listener), std::nullopt, handler()));
    }
    std::string write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
        const auto path = dir / name;
        std::ofstream(path) << text;
        ::chmod(path.c_str(), mode);
        return path;
    }
    Result<json> call(const Target& target, const Call& what = {"GET", "/v1/vms", ""}) const {
        auto api = UNDERSTUDY_VALUE(connect(target));
        return api->call(what);
    }
    static Target by_socket(const std::string& path) { return {path, "", "", ""}; }
};

TEST_F(Connection, carries_calls_over_the_socket) {
    response.body = R"({"vms": []})";
    listen_on_socket();
    const auto answer = call(by_socket(socket()), {"POST", "/v1/vms/a%20b/start", "{\"x\":1}"});
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(*answer, json({{"vms", json::array()}}));
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].method, "POST");
    EXPECT_EQ(seen[0].target, "/v1/vms/a%20b/start");
    EXPECT_EQ(seen[0].body, "{\"x\":1}");
    EXPECT_EQ(seen[0].headers.find("Authorization"), nullptr);
}

TEST_F(Connection, turns_a_refusal_into_its_error) {
    response.status = 403;
    response.body = R"({"error": {"kind": "refused", "text": "web1 is a replica", "kept": "all",
                                  "advice": "Promote it."}})";
    listen_on_socket();
    const auto answer = call(by_socket(socket()));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind(), ErrorKind::refused);
    EXPECT_EQ(answer.error().what(), "web1 is a replica");
    EXPECT_EQ(answer.error().kept(), "all");
    EXPECT_EQ(answer.error().advice(), "Promote it.");
}

TEST_F(Connection, says_advice_once_when_the_text_has_it_too) {
    response.status = 403;
    response.body = R"({"error": {"kind": "refused", "text": "no. Kept: all. Promote it.",
                                  "kept": "all", "advice": "Promote it."}})";
    listen_on_socket();
    EXPECT_EQ(call(by_socket(socket())).error().text(), "no. Kept: all. Promote it.");
}

TEST_F(Connection, takes_a_stranger_for_what_it_is) {
    response.body = "<html>";
    listen_on_socket();
    EXPECT_EQ(call(by_socket(socket())).error().kind(), ErrorKind::internal);
    response.status = 404;
    EXPECT_EQ(call(by_socket(socket())).error().kind(), ErrorKind::not_found);
    response.body = R"({"error": "text"})";
    EXPECT_THAT(call(by_socket(socket())).error().text(), HasSubstr("status 404"));
}

TEST_F(Connection, without_a_daemon_says_where_and_how_to_start_it) {
    const auto missing = call(by_socket(socket())).error();
    EXPECT_EQ(missing.kind(), ErrorKind::unavailable);
    EXPECT_THAT(missing.text(), HasSubstr(socket()));
    EXPECT_THAT(missing.text(), HasSubstr("systemctl start understudyd"));
    EXPECT_THAT(missing.text(), HasSubstr("--socket"));
    {
        auto dead = net::listen_unix(socket(), 0600);
    }
    EXPECT_THAT(call(by_socket(socket())).error().text(), HasSubstr("systemctl start"));
}

TEST_F(Connection, without_permission_says_who_may) {
    {
        auto listener = net::listen_unix(socket(), 0660);
    }
    ASSERT_TRUE(std::filesystem::exists(socket()));
    const auto error = explain_socket(Error(ErrorKind::refused, "permission denied"), socket());
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_THAT(error.advice(), HasSubstr("root"));
    EXPECT_THAT(error.advice(), HasSubstr("group"));
}

TEST_F(Connection, reaches_the_api_by_url_with_a_pinned_certificate_and_a_token) {
    response.body = "{}";
    const auto identity = net::make_identity("test");
    ASSERT_TRUE(identity);
    const auto tls = net::TlsContext::server(*identity, net::ClientCertificate::none);
    ASSERT_TRUE(tls);
    auto listener = net::listen_tcp("127.0.0.1", 0);
    ASSERT_TRUE(listener);
    const auto port = net::local_port(*listener);
    ASSERT_TRUE(server.start(std::move(*listener), *tls, handler()));
    const auto url = "https://127.0.0.1:" + std::to_string(*port);
    const auto pin = net::fingerprint(identity->certificate_pem).value();
    const auto token = write("token", "s3cret\n");

    ASSERT_TRUE(call({"", url, token, pin}));
    ASSERT_EQ(seen.size(), 1U);
    ASSERT_NE(seen[0].headers.find("Authorization"), nullptr);
    EXPECT_EQ(*seen[0].headers.find("Authorization"), "Bearer s3cret");

    const auto other = call({"", url, token, std::string(64, 'a')});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().kind(), ErrorKind::refused);
    EXPECT_THAT(other.error().text(), HasSubstr("token was not sent"));
    EXPECT_EQ(seen.size(), 1U);

    response.status = 401;
    const auto denied = call({"", url, token, pin});
    EXPECT_EQ(denied.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(denied.error().text(), HasSubstr("--token-file"));
}

TEST_F(Connection, token_file_must_hold_one_token_that_is_not_for_everybody) {
    EXPECT_EQ(read_token(write("a", " abc \n")).value(), "abc");
    EXPECT_FALSE(read_token(write("b", "")));
    EXPECT_FALSE(read_token(write("c", "a\nb")));
    EXPECT_FALSE(read_token(write("d", std::string(5000, 'a'))));
    EXPECT_FALSE(read_token(dir / "nosuch"));
    EXPECT_THAT(read_token(write("e", "abc", 0644)).error().text(), HasSubstr("chmod"));
}

TEST_F(Connection, socket_comes_from_the_daemons_configuration) {
    EXPECT_EQ(socket_from_config(write("a.toml", "socket = \"/x/y.sock\"\n")).value(), "/x/y.sock");
    EXPECT_EQ(socket_from_config(write("b.toml", "[api]\nport = 7370\n")).value(), kDefaultSocket);
    const auto bad = socket_from_config(write("c.toml", "a = 1\nsocket = \n"));
    EXPECT_EQ(bad.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(bad.error().text(), HasSubstr("line 2"));
    EXPECT_EQ(socket_from_config(dir / "nosuch").error().kind(), ErrorKind::invalid);
    EXPECT_EQ(socket_from_config(dir).error().kind(), ErrorKind::invalid);
}

struct Choosing : Connection {
    Program program;
    int run(std::vector<std::string> more) {
        std::vector<std::string> words{"vm", "list"};
        words.insert(words.end(), more.begin(), more.end());
        program.api.answer("GET /v1/vms", {{"vms", json::array()}});
        ran = program.run(words);
        return ran.code;
    }
    const Target& target() const { return program.api.targets.back(); }
    Ran ran;
    std::string pin = std::string(64, '0');
};

TEST_F(Choosing, options_name_the_cluster) {
    EXPECT_EQ(run({"--socket", "/a"}), 0);
    EXPECT_EQ(target().socket, "/a");
    EXPECT_EQ(run({"-c", write("a.toml", "socket = \"/b\"")}), 0);
    EXPECT_EQ(target().socket, "/b");
    EXPECT_EQ(run({"--url", "https://h:7370", "--token-file", "/t", "--fingerprint", pin}), 0);
    EXPECT_EQ(target().url, "https://h:7370");
    EXPECT_EQ(target().token_file, "/t");
}

TEST_F(Choosing, environment_mirrors_them_and_loses_against_them) {
    program.environment["UNDERSTUDY_SOCKET"] = "/env";
    EXPECT_EQ(run({}), 0);
    EXPECT_EQ(target().socket, "/env");
    program.environment = {{"UNDERSTUDY_CONFIG", write("a.toml", "socket = \"/c\"")}};
    EXPECT_EQ(run({}), 0);
    EXPECT_EQ(target().socket, "/c");
    program.environment = {{"UNDERSTUDY_URL", "https://h"},
                           {"UNDERSTUDY_TOKEN_FILE", "/t"},
                           {"UNDERSTUDY_FINGERPRINT", "SHA256 Fingerprint=" + pin}};
    EXPECT_EQ(run({}), 0);
    EXPECT_EQ(target().fingerprint, pin);
    EXPECT_EQ(run({"--socket", "/given"}), 0);
    EXPECT_EQ(target().socket, "/given");
    EXPECT_EQ(target().url, "");
}

TEST_F(Choosing, contradictions_and_gaps_are_usage_errors) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"--socket", "/a", "--url", "https://h"}, "more than one"},
        {{"--url", "http://h", "--token-file", "/t", "--fingerprint", pin}, "https://"},
        {{"--url", "https://h", "--fingerprint", pin}, "--token-file"},
        {{"--url", "https://h", "--token-file", "/t"}, "-noout -fingerprint -sha256"},
        {{"--url", "https://h", "--token-file", "/t", "--fingerprint", "ab"}, "64 hex digits"},
        {{"--token-file", "/t"}, "--url"},
    };
    for (const auto& [words, text] : cases) {
        EXPECT_EQ(run(words), 2);
        EXPECT_THAT(ran.err, HasSubstr(text));
    }
    program.environment = {{"UNDERSTUDY_SOCKET", "/a"}, {"UNDERSTUDY_URL", "https://h"}};
    EXPECT_EQ(run({}), 2);
}

TEST(Fingerprint, is_read_as_openssl_prints_it) {
    std::string with_colons = "sha256 Fingerprint=";
    for (int i = 0; i < 32; ++i) with_colons += i == 0 ? "AB" : ":AB";
    std::string plain;
    for (int i = 0; i < 32; ++i) plain += "ab";
    EXPECT_EQ(parse_fingerprint(with_colons).value(), plain);
    EXPECT_EQ(parse_fingerprint(plain).value(), plain);
    EXPECT_FALSE(parse_fingerprint(plain + "a"));
    EXPECT_FALSE(parse_fingerprint(plain.substr(1) + "g"));
    EXPECT_FALSE(parse_fingerprint(""));
}

TEST(Paths, encode_every_segment) {
    EXPECT_EQ(path_of({"v1", "a/b c"}), "/v1/a%2Fb%20c");
    EXPECT_EQ(path_of({".", "..", "..."}), "/%2E/%2E%2E/...");
    EXPECT_EQ(query_of('?', "a", "b&c=d"), "?a=b%26c%3Dd");
}

}  // namespace
}  // namespace understudy::cli
