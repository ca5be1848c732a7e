#pragma once

// Only for this folder's tests: an HTTP server on loopback, and bytes sent to it by hand.

#include "net/http_client.hpp"
#include "net/http_server.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace understudy::net {

// Something that happens once, in another thread.
class Event {
public:
    void set() {
        std::lock_guard lock(mutex_);
        is_set_ = true;
        changed_.notify_all();
    }
    bool wait() {  // false: not within 10 s
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return is_set_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_set_ = false;
};

class HttpSite : public testing::Test {
protected:
    using Handler = HttpServer::Handler;

    void start(HttpServer::Options options = {}, Handler handler = echo,
               HttpServer::UpgradeHandler upgrade = {}, std::optional<TlsContext> tls = {}) {
        auto listener = listen_tcp("127.0.0.1", 0);
        ASSERT_TRUE(listener) << listener.error().text();
        endpoint_ = {"127.0.0.1", local_port(*listener).value()};
        options.log = [this](const std::string& line) {
            std::lock_guard lock(log_mutex_);
            log_ += line + "\n";
        };
        server_ = std::make_unique<HttpServer>(std::move(options));
        auto started = server_->start(std::move(*listener), std::move(tls), std::move(handler),
                                      std::move(upgrade));
        ASSERT_TRUE(started) << started.error().text();
    }

    static HttpResponse echo(const HttpRequest& request) {
        if (request.path == "/throw") throw std::runtime_error("handler broke");
        return {200, "text/plain", request.method + " " + request.target + " " + request.body, {}};
    }

    HttpClient client() { return HttpClient(tcp_connector("dr", endpoint_)); }

    std::unique_ptr<Stream> dial() {
        auto socket = connect_tcp(endpoint_.host, endpoint_.port, std::chrono::seconds(5));
        EXPECT_TRUE(socket);
        auto stream = make_plain_stream(std::move(*socket));
        stream->set_timeouts(std::chrono::seconds(10), std::chrono::seconds(10));
        return stream;
    }

    // Sends bytes as they are; returns all that comes until the server closes.
    std::string send_raw(std::string_view bytes) {
        auto stream = dial();
        (void)stream->write_all(bytes_of(bytes));
        return read_to_end(*stream);
    }

    static std::string read_to_end(Stream& stream) {
        std::string text;
        std::array<std::byte, 4096> buffer;
        while (true) {
            auto count = stream.read_some(buffer);
            if (!count) return text + "<" + count.error().text() + ">";
            if (*count == 0) return text;
            text.append(reinterpret_cast<const char*>(buffer.data()), *count);
        }
    }

    std::string log() {
        std::lock_guard lock(log_mutex_);
        return log_;
    }

    Endpoint endpoint_;
    std::mutex log_mutex_;
    std::string log_;
    std::unique_ptr<HttpServer> server_;
};

}  // namespace understudy::net
