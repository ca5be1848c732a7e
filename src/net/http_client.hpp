#pragma once

#include "net/http.hpp"
#include "net/tls.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace understudy::net {

// Makes a connection within the given time, or says why not.
using Connector = std::function<Result<std::unique_ptr<Stream>>(Duration timeout)>;

Connector unix_connector(std::string path);
// `name` is who should answer there, for error texts: "cannot reach dr at 10.0.0.2:7373: …".
Connector tcp_connector(std::string name, Endpoint endpoint);
Connector tls_connector(std::string name, Endpoint endpoint, TlsContext tls);

// Asks one server, over one connection that is kept between requests. One thread at a time, but for
// interrupt().
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

    // Any complete answer is a success here, whatever its status. When a kept connection turns out
    // to be closed before any byte of an answer, a GET or HEAD is sent once more on a new one;
    // other methods are not, as the server may have acted on them (a connection known to be closed
    // is never used, though). `timeout` covers everything, connecting included.
    Result<HttpResponse> request(std::string_view method, std::string_view target,
                                 std::string_view body = {}, const Headers& headers = {},
                                 Duration timeout = std::chrono::seconds(30));

    // Turns a fresh connection into a stream of `protocol` (kFramesProtocol); the stream has no
    // timeouts set. When the server answers anything but 101, the error has the kind of that status
    // and the answer's text, and *declined, if given, the answer itself.
    Result<std::unique_ptr<Stream>> upgrade(std::string_view target, std::string_view protocol,
                                            const Headers& headers = {},
                                            Duration timeout = std::chrono::seconds(30),
                                            HttpResponse* declined = nullptr);

    // From any thread: the request under way and all later ones fail as `cancelled`. A connection
    // being made is not interrupted, but then not used. Streams that upgrade() gave away are not
    // concerned.
    void interrupt();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::net
