#pragma once

#include "net/http.hpp"
#include "net/tls.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace understudy::net {

// Makes a connection within the given time, or gives the error.
using Connector = std::function<Result<std::unique_ptr<Stream>>(Duration timeout)>;

Connector unix_connector(std::string path);
// `name` is who should answer there, for error texts: "cannot reach dr at 10.0.0.2:7373: …".
Connector tcp_connector(std::string name, Endpoint endpoint);
Connector tls_connector(std::string name, Endpoint endpoint, TlsContext tls);

// Asks one server, over one connection that is kept between requests. One thread at a time uses it;
// interrupt() alone may be called by any thread.
class HttpClient {
public:
    struct Options {
        std::string host = "understudy";            // the Host header
        std::size_t body_limit = 64 * 1024 * 1024;  // bytes of an answer
    };

    explicit HttpClient(Connector connector);
    HttpClient(Connector connector, Options options);
    ~HttpClient();
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;

    // Any complete answer is a success here, whatever its status. If a kept connection is closed
    // before any byte of an answer, a GET or HEAD is sent once more on a new one. Other methods are
    // not, because the server may have acted on them. A connection that is known to be closed is
    // never used. `timeout` covers everything, connecting included.
    Result<HttpResponse> request(std::string_view method, std::string_view target,
                                 std::string_view body = {}, const Headers& headers = {},
                                 Duration timeout = std::chrono::seconds(30));

    // Turns a new connection into a stream of `protocol` (kFramesProtocol), without timeouts. If
    // the server answers anything but 101, the error has the kind of that status and the answer's
    // text, and *declined, if given, gets the answer itself.
    Result<std::unique_ptr<Stream>> upgrade(std::string_view target, std::string_view protocol,
                                            const Headers& headers = {},
                                            Duration timeout = std::chrono::seconds(30),
                                            HttpResponse* declined = nullptr);

    // From any thread: the request under way and all later ones fail as `cancelled`. If a
    // connection is being made, that goes on, but the connection is not used. Streams that
    // upgrade() returned are not affected.
    void interrupt();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::net
