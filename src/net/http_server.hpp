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
        // Sees a request before its body is read (the body is empty then); its answer, if any,
        // ends the request: nobody unknown gets to send a body. Called by many threads.
        std::function<std::optional<HttpResponse>(const HttpRequest&)> admit = {};
        std::function<void(const std::string&)> log = {};  // failures worth a line; many threads
    };
    // Called by many threads at once. Exceptions become a 500 and a line in the log.
    using Handler = std::function<HttpResponse(const HttpRequest&)>;
    // Called when a request for kFramesProtocol was answered 101 by the handler, after the 101 was
    // sent; the stream (no timeouts set) begins with the first byte after the request. It runs in
    // the connection's thread and counts as a connection until it returns. stop() wakes it only as
    // long as the stream exists, and only through the stream.
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
    // the handler may still be answered within stop_grace; a handler that itself never returns is
    // waited for. Not to be called from a handler. A second call does nothing.
    void stop();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::net
