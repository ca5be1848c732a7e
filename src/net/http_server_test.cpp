#include "net/http_server.hpp"

#include "net/test_site.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

namespace understudy::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class HttpServerTest : public HttpSite {
protected:
    void expect_alive() {
        auto answer = client().request("GET", "/alive");
        ASSERT_TRUE(answer) << answer.error().text();
        EXPECT_EQ(answer->body, "GET /alive ");
    }
};

TEST_F(HttpServerTest, decodes_segments_and_query) {
    HttpRequest seen;
    start({}, [&](const HttpRequest& request) {
        seen = request;
        return HttpResponse{};
    });
    auto answer = client().request("POST", "/v1/vms/a%20%2F%C3%BC/send?to=d+r%2B&dry-run",
                                   "{\"x\":1}", {{"X-Token", "t"}});
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.path, "/v1/vms/a%20%2F%C3%BC/send");
    EXPECT_EQ(seen.segments, (std::vector<std::string>{"v1", "vms", "a /ü", "send"}));
    EXPECT_EQ(seen.query, (std::map<std::string, std::string>{{"to", "d r+"}, {"dry-run", ""}}));
    ASSERT_NE(seen.headers.find("x-tOKEN"), nullptr);
    EXPECT_EQ(*seen.headers.find("x-token"), "t");
    EXPECT_EQ(seen.headers.find("none"), nullptr);
    EXPECT_EQ(seen.body, "{\"x\":1}");
}

TEST_F(HttpServerTest, answers_malformed_requests_with_a_4xx_and_lives_on) {
    start();
    for (std::string_view bytes :
         {"nonsense\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n",
          "GET x HTTP/1.1\r\n\r\n", "GET /%zz HTTP/1.1\r\n\r\n", "GET /%00 HTTP/1.1\r\n\r\n",
          "GET /?a=1&a=2 HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
          "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
          "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"})
        EXPECT_TRUE(send_raw(bytes).starts_with("HTTP/1.1 400 ")) << bytes;
    expect_alive();
}

TEST_F(HttpServerTest, refuses_an_oversized_header) {
    start();
    std::string header = "GET / HTTP/1.1\r\nX: " + std::string(kMaxHttpHeader, 'x') + "\r\n\r\n";
    EXPECT_TRUE(send_raw(header).starts_with("HTTP/1.1 431 "));
    std::string endless = "GET /" + std::string(1'000'000, 'y');
    EXPECT_TRUE(send_raw(endless).starts_with("HTTP/1.1 431 "));
    std::string fits =
        "GET / HTTP/1.1\r\nConnection: close\r\nX: " + std::string(kMaxHttpHeader - 100, 'x') +
        "\r\n\r\n";
    EXPECT_TRUE(send_raw(fits).starts_with("HTTP/1.1 200 "));
    expect_alive();
}

TEST_F(HttpServerTest, refuses_an_oversized_body_before_it_arrives) {
    std::atomic<int> handled = 0;
    start({.body_limit = 1000}, [&](const HttpRequest& request) {
        ++handled;
        return echo(request);
    });
    EXPECT_TRUE(
        send_raw("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n").starts_with("HTTP/1.1 413 "));
    EXPECT_TRUE(send_raw("POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n")
                    .starts_with("HTTP/1.1 4"));
    std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" +
                          std::string(4096, 'c') + "\r\n0\r\n\r\n";
    EXPECT_TRUE(send_raw(chunked).starts_with("HTTP/1.1 413 "));
    auto too_much = client().request("POST", "/", std::string(300'000, 'b'));
    ASSERT_TRUE(too_much) << too_much.error().text();
    EXPECT_EQ(too_much->status, 413);
    EXPECT_EQ(handled, 0);
    auto just_fits = client().request("POST", "/", std::string(1000, 'b'));
    EXPECT_EQ(just_fits->status, 200);
    expect_alive();
}

TEST_F(HttpServerTest, judges_the_header_before_the_body) {
    HttpServer::Options options;
    options.admit = [](const HttpRequest& request) -> std::optional<HttpResponse> {
        if (request.headers.find("Authorization")) return std::nullopt;
        return HttpResponse{401, "text/plain", "who are you?", {}};
    };
    start(std::move(options));
    auto answer = send_raw("POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
    EXPECT_EQ(client().request("POST", "/", "x", {{"Authorization", "y"}})->status, 200);
}

TEST_F(HttpServerTest, keeps_connections_and_takes_pipelined_requests) {
    start();
    auto answer = send_raw(
        "GET /one HTTP/1.1\r\n\r\nPOST /two HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        "GET /three HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_NE(answer.find("GET /one "), answer.npos);
    EXPECT_NE(answer.find("POST /two abc"), answer.npos);
    EXPECT_TRUE(answer.ends_with("GET /three ")) << answer;
}

TEST_F(HttpServerTest, understands_chunked_bodies_and_expect_continue) {
    start();
    auto answer = send_raw(
        "POST /c HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    EXPECT_TRUE(answer.ends_with("POST /c abcde")) << answer;
    auto stream = dial();
    ASSERT_TRUE(stream->write_all(
        bytes_of("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
                 "Content-Length: 2\r\n\r\n")));
    std::string interim(25, '\0');
    ASSERT_EQ(stream->read_some(std::as_writable_bytes(std::span(interim))).value(), 25u);
    EXPECT_EQ(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_TRUE(stream->write_all(bytes_of("hi")));
    EXPECT_TRUE(read_to_end(*stream).ends_with("POST /e hi"));
}

TEST_F(HttpServerTest, gives_head_requests_a_length_without_a_body) {
    start();
    auto answer = send_raw("HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_NE(answer.find("Content-Length: 8\r\n"), answer.npos) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
    EXPECT_EQ(client().request("HEAD", "/x")->body, "");
}

TEST_F(HttpServerTest, turns_exceptions_into_a_500_and_a_log_line) {
    start();
    auto it = client();
    EXPECT_EQ(it.request("GET", "/throw")->status, 500);
    EXPECT_NE(log().find("handler broke"), std::string::npos);
    EXPECT_EQ(it.request("GET", "/throw")->body.find("handler broke"), std::string::npos);
    expect_alive();
}

TEST_F(HttpServerTest, never_writes_a_header_that_the_handler_did_not_mean) {
    start({}, [](const HttpRequest&) {
        return HttpResponse{200, "text/plain", "x", {{"X-Name", "a\r\nSet-Cookie: b"}}};
    });
    auto answer = send_raw("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(answer.find("Set-Cookie"), answer.npos) << answer;
}

TEST_F(HttpServerTest, gives_up_on_slow_senders) {
    start({.request_timeout = milliseconds(50), .idle_timeout = milliseconds(50)});
    EXPECT_TRUE(send_raw("GET / HTTP/1.1\r\nX: ").starts_with("HTTP/1.1 408 "));
    EXPECT_TRUE(
        send_raw("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").starts_with("HTTP/1.1 408 "));
    EXPECT_EQ(send_raw(""), "") << "an idle connection is closed without a word";
    auto stream = dial();  // a byte now and then does not help
    auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000 && !stream->poll_readable(milliseconds(10)); ++i)
        ASSERT_TRUE(stream->write_all(bytes_of("G")));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(5));
    EXPECT_TRUE(read_to_end(*stream).starts_with("HTTP/1.1 408 "));
}

TEST_F(HttpServerTest, answers_503_over_the_connection_limit_and_recovers) {
    start({.max_connections = 2});
    auto one = client();
    auto two = client();
    ASSERT_EQ(one.request("GET", "/")->status, 200);
    ASSERT_EQ(two.request("GET", "/")->status, 200);
    EXPECT_EQ(client().request("GET", "/")->status, 503);
    EXPECT_EQ(one.request("GET", "/")->status, 200);
    {
        auto gone = std::move(two);
    }
    for (int i = 0; i < 1000; ++i) {  // until the server has noticed
        auto answer = client().request("GET", "/");
        if (answer && answer->status == 200) return;
        std::this_thread::yield();
    }
    FAIL() << "the place never became free";
}

TEST_F(HttpServerTest, stops_with_idle_slow_and_upgraded_connections_open) {
    Event upgraded;
    start(
        {},
        [](const HttpRequest& request) {
            return request.path == "/up" ? HttpResponse{101, "", "", {}} : echo(request);
        },
        [&](const HttpRequest&, std::unique_ptr<Stream> stream) {
            upgraded.set();
            std::array<std::byte, 16> buffer;
            while (stream->read_some(buffer).value_or(0) > 0) continue;
        });
    auto idle = client();
    ASSERT_EQ(idle.request("GET", "/")->status, 200);
    auto slow = dial();
    ASSERT_TRUE(slow->write_all(bytes_of("GET / HT")));
    auto silent = dial();
    auto frames = client().upgrade("/up", kFramesProtocol);
    ASSERT_TRUE(frames) << frames.error().text();
    ASSERT_TRUE(upgraded.wait());
    auto begun = std::chrono::steady_clock::now();
    server_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(1500));
    std::array<std::byte, 1> byte;
    EXPECT_EQ((*frames)->read_some(byte).value_or(0), 0u);
    EXPECT_EQ(idle.request("GET", "/").error().kind(), ErrorKind::unavailable);
}

TEST_F(HttpServerTest, stop_lets_a_request_in_the_handler_be_answered) {
    Event entered;
    Event leave;
    start({.stop_grace = seconds(10)}, [&](const HttpRequest&) {
        entered.set();
        leave.wait();
        return HttpResponse{200, "text/plain", "done", {}};
    });
    auto answer = std::async(std::launch::async, [&] { return client().request("POST", "/"); });
    ASSERT_TRUE(entered.wait());
    auto later = dial();  // woken after the connection above
    auto stopped = std::async(std::launch::async, [&] { server_->stop(); });
    EXPECT_TRUE(later->poll_readable(seconds(10)));
    leave.set();
    auto result = answer.get();
    ASSERT_TRUE(result) << result.error().text();
    EXPECT_EQ(result->body, "done");
    stopped.get();
}

TEST_F(HttpServerTest, tells_the_handler_who_asks_over_tls) {
    auto server_id = make_identity("dr").value();
    auto client_id = make_identity("hq").value();
    start(
        {}, [](const HttpRequest& it) { return HttpResponse{200, "", it.peer_fingerprint, {}}; },
        {}, TlsContext::server(server_id, ClientCertificate::required).value());
    auto tls =
        TlsContext::client(client_id, fingerprint(server_id.certificate_pem).value()).value();
    HttpClient asker(tls_connector("dr", endpoint_, tls));
    auto answer = asker.request("GET", "/");
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(answer->body, fingerprint(client_id.certificate_pem).value());
    EXPECT_EQ(asker.request("POST", "/", std::string(3'000'000, 'x'))->status, 200);
    EXPECT_NE(send_raw("GET / HTTP/1.1\r\n\r\n").substr(0, 4), "HTTP");  // no TLS: no answer
    EXPECT_TRUE(asker.request("GET", "/"));
    EXPECT_NE(log().find("TLS handshake"), std::string::npos);
}

TEST_F(HttpServerTest, tells_the_handler_who_asks_on_a_unix_socket) {
    std::string path = testing::TempDir() + "http-" + std::to_string(::getpid()) + ".sock";
    HttpServer server;
    auto handler = [](const HttpRequest& request) {
        return HttpResponse{
            200, "", request.unix_peer ? std::to_string(request.unix_peer->pid) : "nobody", {}};
    };
    ASSERT_TRUE(server.start(listen_unix(path, 0600).value(), std::nullopt, handler));
    HttpClient asker(unix_connector(path));
    EXPECT_EQ(asker.request("GET", "/")->body, std::to_string(::getpid()));
    server.stop();
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace understudy::net
