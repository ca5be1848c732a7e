#include "net/http_client.hpp"

#include "net/test_site.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <future>
#include <thread>

namespace understudy::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class HttpClientTest : public HttpSite {
protected:
    static HttpResponse switch_protocol(const HttpRequest& request) {
        if (request.path == "/up") return {101, "", "", {{"X-Session", "7"}}};
        return {403, "text/plain", "not paired\nsecond line", {}};
    }
};

// A server made of one thread that answers each connection with given bytes.
class ScriptedServer {
public:
    // One entry per connection: what to send after each request that arrives on it.
    explicit ScriptedServer(std::vector<std::vector<std::string>> connections)
        : listener_(listen_tcp("127.0.0.1", 0).value()),
          endpoint_{"127.0.0.1", local_port(listener_).value()},
          thread_([this, connections = std::move(connections)] { run(connections); }) {}

    HttpClient client() { return HttpClient(tcp_connector("dr", endpoint_)); }
    int requests() const { return requests_; }

private:
    void run(const std::vector<std::vector<std::string>>& connections) {
        for (const auto& answers : connections) {
            auto waited = wait_for(listener_, POLLIN, seconds(5));
            if (!waited || *waited == Waited::timed_out) return;
            auto stream = make_plain_stream(accept_connection(listener_).value());
            stream->set_timeouts(seconds(5), seconds(5));
            for (const auto& answer : answers) {
                std::array<std::byte, 4096> request;
                if (stream->read_some(request).value_or(0) == 0) break;
                ++requests_;
                if (answer.empty() || !stream->write_all(bytes_of(answer))) break;
            }
        }
    }

    Fd listener_;
    Endpoint endpoint_;
    std::atomic<int> requests_ = 0;
    std::jthread thread_;
};

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(HttpClientTest, names_a_peer_that_cannot_be_reached) {
    start();
    server_->stop();
    auto answer = client().request("GET", "/");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(answer.error().text(),
              fmt::format("cannot reach dr at 127.0.0.1:{}: connection refused", endpoint_.port));
}

TEST_F(HttpClientTest, refuses_to_send_what_would_break_the_request) {
    start();
    auto it = client();
    for (auto target : {"", "x", "/a b", "/a\r\nX: y", "/\x01"})
        EXPECT_EQ(it.request("GET", target).error().kind(), ErrorKind::invalid) << target;
    EXPECT_FALSE(it.request("GET /", "/"));
    EXPECT_FALSE(it.request("GET", "/", "", {{"X", "a\r\nY: b"}}));
    EXPECT_FALSE(it.request("GET", "/", "", {{"X:", "a"}}));
    EXPECT_TRUE(it.request("GET", "/"));
}

TEST_F(HttpClientTest, carries_binary_both_ways_after_an_upgrade) {
    start({}, switch_protocol, [](const HttpRequest& request, std::unique_ptr<Stream> stream) {
        EXPECT_EQ(request.path, "/up");
        (void)stream->write_all(bytes_of("hello"));
        std::array<std::byte, 65536> buffer;
        while (true) {
            auto count = stream->read_some(buffer);
            if (!count || *count == 0) break;
            if (!stream->write_all(std::span(buffer).first(*count))) break;
        }
    });
    auto stream = client().upgrade("/up?x=1", kFramesProtocol);
    ASSERT_TRUE(stream) << stream.error().text();
    std::string sent;
    for (int i = 0; i < 1'000'000; ++i) sent += static_cast<char>(i % 251);
    std::jthread writer([&] {
        EXPECT_TRUE((*stream)->write_all(bytes_of(sent)));
        EXPECT_TRUE((*stream)->end_writing());
    });
    writer.join();
    EXPECT_TRUE(read_to_end(**stream) == "hello" + sent);
}

TEST_F(HttpClientTest, loses_no_byte_sent_right_behind_an_upgrade) {
    Event checked;
    start({}, switch_protocol, [&](const HttpRequest&, std::unique_ptr<Stream> stream) {
        EXPECT_EQ(read_to_end(*stream), "frames at once");
        checked.set();
    });
    auto stream = dial();
    ASSERT_TRUE(
        stream->write_all(bytes_of("GET /up HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n"
                                   "Upgrade: understudy-frames/1\r\n\r\nframes at once")));
    ASSERT_TRUE(stream->end_writing());
    EXPECT_TRUE(checked.wait());
    EXPECT_NE(read_to_end(*stream).find("X-Session: 7\r\n"), std::string::npos);
    server_->stop();

    ScriptedServer server(
        {{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
          "Upgrade: understudy-frames/1\r\n\r\nframes at once"}});
    auto frames = server.client().upgrade("/up", kFramesProtocol);
    ASSERT_TRUE(frames) << frames.error().text();
    EXPECT_EQ(read_to_end(**frames), "frames at once");
}

TEST_F(HttpClientTest, tells_why_an_upgrade_was_declined) {
    start({}, switch_protocol, [](const HttpRequest&, std::unique_ptr<Stream>) {});
    HttpResponse declined;
    auto stream = client().upgrade("/other", kFramesProtocol, {}, seconds(5), &declined);
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind(), ErrorKind::refused);
    EXPECT_EQ(stream.error().what(), "status 403: not paired");
    EXPECT_EQ(declined.body, "not paired\nsecond line");
    EXPECT_FALSE(client().upgrade("/up", "another-protocol/1"));
    EXPECT_NE(log().find("unasked"), std::string::npos);
}

TEST_F(HttpClientTest, repeats_a_get_once_when_a_kept_connection_died) {
    ScriptedServer server({{kOk, ""}, {kOk}});
    auto it = server.client();
    ASSERT_TRUE(it.request("GET", "/"));
    auto second = it.request("GET", "/");
    ASSERT_TRUE(second) << second.error().text();
    EXPECT_EQ(second->body, "ok");
    EXPECT_EQ(server.requests(), 3);
}

TEST_F(HttpClientTest, never_repeats_a_post) {
    ScriptedServer server({{kOk, ""}, {kOk}});
    auto it = server.client();
    ASSERT_TRUE(it.request("POST", "/", "first"));
    auto second = it.request("POST", "/", "second");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(server.requests(), 2);
    EXPECT_TRUE(it.request("POST", "/", "third")) << "the next request connects anew";
}

TEST_F(HttpClientTest, does_not_use_a_connection_known_to_be_closed) {
    ScriptedServer server({{kOk}, {kOk}});
    auto it = server.client();
    ASSERT_TRUE(it.request("POST", "/", "first"));
    for (int i = 0; i < 1000; ++i) {  // the end of the first connection is on its way
        auto second = it.request("POST", "/", "second");
        if (second) return;
        ASSERT_EQ(second.error().kind(), ErrorKind::unavailable);
    }
    FAIL() << "no second connection";
}

TEST_F(HttpClientTest, does_not_repeat_a_get_that_was_half_answered) {
    ScriptedServer server({{kOk, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"}});
    auto it = server.client();
    ASSERT_TRUE(it.request("GET", "/"));
    auto half = it.request("GET", "/", "", {}, seconds(5));
    ASSERT_FALSE(half);
    EXPECT_NE(half.error().text().find("cut in the middle"), std::string::npos)
        << half.error().text();
    EXPECT_EQ(server.requests(), 2);
}

TEST_F(HttpClientTest, bounds_what_it_takes_and_how_long_it_waits) {
    ScriptedServer garbage({{"SSH-2.0-OpenSSH_9.2\r\n\r\n"}});
    EXPECT_EQ(garbage.client().request("GET", "/").error().kind(), ErrorKind::unavailable);
    ScriptedServer huge({{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"}});
    EXPECT_EQ(huge.client().request("GET", "/").error().kind(), ErrorKind::unavailable);
    Event leave;
    start({}, [&](const HttpRequest& request) {
        leave.wait();
        return echo(request);
    });
    auto late = client().request("GET", "/", "", {}, milliseconds(30));
    leave.set();
    server_->stop();
    ASSERT_FALSE(late);
    EXPECT_NE(late.error().text().find("in time"), std::string::npos) << late.error().text();
}

TEST_F(HttpClientTest, can_be_interrupted_while_it_waits) {
    Event entered;
    Event leave;
    start({}, [&](const HttpRequest& request) {
        entered.set();
        leave.wait();
        return echo(request);
    });
    auto it = client();
    auto waiting = std::async(std::launch::async, [&] { return it.request("GET", "/"); });
    ASSERT_TRUE(entered.wait());
    it.interrupt();
    EXPECT_EQ(waiting.get().error().kind(), ErrorKind::cancelled);
    EXPECT_EQ(it.request("GET", "/").error().kind(), ErrorKind::cancelled);
    leave.set();
    server_->stop();
}

TEST(HttpStatus, stands_for_every_kind_of_error_and_back) {
    for (auto kind : {ErrorKind::unavailable, ErrorKind::conflict, ErrorKind::unsupported,
                      ErrorKind::invalid, ErrorKind::not_found, ErrorKind::refused,
                      ErrorKind::no_space, ErrorKind::corrupt, ErrorKind::internal})
        EXPECT_EQ(kind_of_status(status_of(kind)), kind);
    EXPECT_EQ(kind_of_status(418), ErrorKind::invalid);
    EXPECT_EQ(kind_of_status(599), ErrorKind::internal);
}

}  // namespace
}  // namespace understudy::net
