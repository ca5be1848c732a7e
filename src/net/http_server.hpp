#pragma once

#include "net/http.hpp"
#include "net/tls.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace understudy::net {

// An HTTP/1.1 server on one listening socket (TCP or unix, with or without TLS). One thread per
// connection, at most max_connections of them; further clients get a 503 from one of at most four
// more threads, or are cut off.
class HttpServer {
public:
    struct Options {
        std::size_t max_connections = 64;
        std::size_t body_limit = 8 * 1024 * 1024;  // bytes; refused before they are read
        Duration request_timeout =
            std::chrono::seconds(30);                      // from first to last byte; also how
                                                           // long a response may make no progress
        Duration idle_timeout = std::chrono::seconds(75);  // between requests
        Duration handshake_timeout = kHandshakeTimeout;
        Duration stop_grace = std::chrono::seconds(2);  // for responses being made at stop()
        // Sees a request before its body is read, so the body is empty. If it gives an answer, that
        // ends the request. So the server reads bodies only from clients that this callback lets
        // pass. Called by many threads.
        std::function<std::optional<HttpResponse>(const HttpRequest&)> admit = {};
        std::function<void(const std::string&)> log = {};  // failures worth a line; many threads
    };
    // Called by many threads at once. Exceptions become a 500 and a line in the log.
    using Handler = std::function<HttpResponse(const HttpRequest&)>;
    // Called if the handler answered 101 to a request for kFramesProtocol, after the 101 was sent.
    // The stream (no timeouts set) begins with the first byte after the request. The call runs in
    // the connection's thread and counts as a connection until it returns. stop() can wake it only
    // through the stream, so only as long as the stream exists.
    using UpgradeHandler = std::function<void(const HttpRequest&, std::unique_ptr<Stream>)>;

    HttpServer();
    explicit HttpServer(Options options);
    ~HttpServer();  // stop()
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    // Once per object. `upgrade` may be empty: upgrades are then answered 501.
    Result<> start(Fd listener, std::optional<TlsContext> tls, Handler handler,
                   UpgradeHandler upgrade = {});

    // Closes the listener, wakes every connection and waits for their threads. Requests already in
    // the handler may still be answered within stop_grace. If a handler never returns, neither does
    // this. Must not be called from a handler. A second call does nothing.
    void stop();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::net
