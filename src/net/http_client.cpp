#include "net/http_client.hpp"

#include "net/http_wire.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

// A client with one kept connection. A request drops a connection on which something can be read
// already (its end, or garbage), connects if there is none, writes, reads the answer. GET and HEAD
// are sent once more if a kept connection ended before the first byte of an answer. If writing
// fails, an answer may still come for 1 s: a server that refuses a request answers before it has
// read it all. After any error the connection is dropped. The mutex guards the stream against
// interrupt().

namespace understudy::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Duration kLateAnswer = std::chrono::seconds(1);
constexpr std::size_t kMaxQuoted = 300;  // bytes of an answer's body in an error text

Duration left_until(SteadyTime deadline) {
    return std::max(std::chrono::ceil<Duration>(deadline - Clock::now()), Duration(1));
}

std::string first_line(std::string_view body) {
    body = body.substr(0, std::min(body.find('\n'), kMaxQuoted));
    std::string text(body);
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    return text;
}

}  // namespace

struct HttpClient::Impl {
    Connector connector;
    Options options;
    std::mutex mutex;
    std::unique_ptr<Stream> stream;  // changed only under the mutex
    std::string pending;             // read from it, not used yet
    bool interrupted = false;        // under the mutex

    Result<> connect(SteadyTime deadline);
    std::unique_ptr<Stream> take_stream();
    void drop() { take_stream(); }
    Result<ReceivedResponse> exchange(const OutgoingRequest& request, SteadyTime deadline,
                                      bool* nothing_came);
};

Result<> HttpClient::Impl::connect(SteadyTime deadline) {
    auto made = UNDERSTUDY_VALUE(connector(left_until(deadline)));
    std::lock_guard lock(mutex);
    if (interrupted) return fail(ErrorKind::cancelled, "the request was stopped here");
    stream = std::move(made);
    pending.clear();
    return {};
}

std::unique_ptr<Stream> HttpClient::Impl::take_stream() {
    std::lock_guard lock(mutex);
    return std::move(stream);
}

Result<ReceivedResponse> HttpClient::Impl::exchange(const OutgoingRequest& request,
                                                    SteadyTime deadline, bool* nothing_came) {
    stream->set_timeouts(left_until(deadline), left_until(deadline));
    auto written = write_request(*stream, request);
    if (!written && written.error().kind() != ErrorKind::unavailable) return error_of(written);
    // A server that refuses a request early (because it is too large) answers before it has all.
    auto until = written ? deadline : std::min(deadline, Clock::now() + kLateAnswer);
    HttpInput input{*stream, std::move(pending)};
    auto received =
        read_response(input, request.method == "HEAD", options.body_limit, until, nothing_came);
    pending = std::move(input.pending);
    if (!received && !written) return error_of(written);
    if (received && !written) received->keep_alive = false;
    return received;
}

HttpClient::HttpClient(Connector connector) : HttpClient(std::move(connector), Options{}) {}
HttpClient::HttpClient(Connector connector, Options options) : impl_(std::make_unique<Impl>()) {
    impl_->connector = std::move(connector);
    impl_->options = std::move(options);
}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Result<HttpResponse> HttpClient::request(std::string_view method, std::string_view target,
                                         std::string_view body, const Headers& headers,
                                         Duration timeout) {
    auto deadline = Clock::now() + timeout;
    OutgoingRequest outgoing{method, target, impl_->options.host, headers, body, {}};
    bool repeatable = method == "GET" || method == "HEAD";
    // If something can be read before the request is sent, it is the connection's end or garbage.
    if (impl_->stream && (!impl_->pending.empty() || impl_->stream->readable_now())) impl_->drop();
    while (true) {
        bool reused = impl_->stream != nullptr;
        if (!reused) UNDERSTUDY_TRY(impl_->connect(deadline));
        bool nothing_came = false;
        auto received = impl_->exchange(outgoing, deadline, &nothing_came);
        if (received) {
            if (!received->keep_alive) impl_->drop();
            return std::move(received->response);
        }
        std::string where = impl_->stream->peer_address();
        impl_->drop();
        bool again = reused && nothing_came && repeatable &&
                     received.error().kind() == ErrorKind::unavailable;
        if (!again)
            return fail(std::move(received.error())
                            .during(fmt::format("{} {} at {}", method,
                                                target.substr(0, target.find('?')), where)));
    }
}

Result<std::unique_ptr<Stream>> HttpClient::upgrade(std::string_view target,
                                                    std::string_view protocol,
                                                    const Headers& headers, Duration timeout,
                                                    HttpResponse* declined) {
    auto deadline = Clock::now() + timeout;
    impl_->drop();
    UNDERSTUDY_TRY(impl_->connect(deadline));
    OutgoingRequest outgoing{"GET", target, impl_->options.host, headers, {}, protocol};
    bool nothing_came = false;
    auto received = impl_->exchange(outgoing, deadline, &nothing_came);
    auto stream = impl_->take_stream();
    std::string step = fmt::format("open a data connection with {}", stream->peer_address());
    if (!received) return fail(std::move(received.error()).during(step));
    HttpResponse& response = received->response;
    if (response.status == 101 && response.headers.has_token("Upgrade", protocol)) {
        stream->set_timeouts(Duration(0), Duration(0));
        return make_prefixed_stream(std::move(impl_->pending), std::move(stream));
    }
    if (declined) *declined = response;
    Error error(kind_of_status(response.status),
                fmt::format("status {}: {}", response.status, first_line(response.body)));
    return fail(std::move(error).during(step));
}

void HttpClient::interrupt() {
    std::lock_guard lock(impl_->mutex);
    impl_->interrupted = true;
    if (impl_->stream) impl_->stream->shutdown();
}

Connector unix_connector(std::string path) {
    return [path = std::move(path)](Duration) -> Result<std::unique_ptr<Stream>> {
        auto socket = UNDERSTUDY_VALUE(connect_unix(path));
        return make_plain_stream(std::move(socket));
    };
}

Connector tcp_connector(std::string name, Endpoint endpoint) {
    return [name = std::move(name),
            endpoint = std::move(endpoint)](Duration timeout) -> Result<std::unique_ptr<Stream>> {
        auto socket = UNDERSTUDY_VALUE(connect_tcp(endpoint.host, endpoint.port, timeout, name));
        return make_plain_stream(std::move(socket));
    };
}

Connector tls_connector(std::string name, Endpoint endpoint, TlsContext tls) {
    return [name = std::move(name), endpoint = std::move(endpoint),
            tls = std::move(tls)](Duration timeout) -> Result<std::unique_ptr<Stream>> {
        auto deadline = Clock::now() + timeout;
        auto socket = UNDERSTUDY_VALUE(connect_tcp(endpoint.host, endpoint.port, timeout, name));
        return tls.connect(std::move(socket),
                           fmt::format("{} at {}", name, format_endpoint(endpoint)),
                           std::min(left_until(deadline), kHandshakeTimeout));
    };
}

}  // namespace understudy::net
