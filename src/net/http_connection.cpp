#include "net/http_connection.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <exception>

// What the server does on one connection, in its own thread: TLS handshake, then request after
// request until one end closes, a limit is reached or the server stops; or an upgrade, which keeps
// the thread until its handler returns. Before a connection is closed after an answer, what the
// client still sends is read for at most 1 s. Exceptions of handlers become a 500 and a line in the
// log.

namespace understudy::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Duration kLinger = std::chrono::seconds(1);

// Reads what the client still sends, for at most kLinger: if a connection is closed with unread
// bytes, it is reset, and an answer on its way may be lost.
void linger(Stream& stream) {
    if (!stream.end_writing()) return;
    auto deadline = Clock::now() + kLinger;
    std::array<std::byte, 16 * 1024> ignored;
    while (true) {
        auto left = std::chrono::ceil<Duration>(deadline - Clock::now());
        if (left <= Duration(0) || !stream.poll_readable(left)) return;
        auto count = stream.read_some(ignored);
        if (!count || *count == 0) return;
    }
}

bool wants_frames(const HttpRequest& request) {
    return request.headers.has_token("Connection", "upgrade") &&
           request.headers.has_token("Upgrade", kFramesProtocol);
}

}  // namespace

void ConnectionState::keep_handle(Fd handle) {
    std::lock_guard lock(mutex_);
    handle_ = std::move(handle);
}

void ConnectionState::drop_handle() {
    std::lock_guard lock(mutex_);
    handle_.reset();
}

void ConnectionState::set_answering(bool answering) {
    std::lock_guard lock(mutex_);
    answering_ = answering;
}

void ConnectionState::ask_to_stop() {
    std::lock_guard lock(mutex_);
    if (handle_) ::shutdown(handle_.get(), answering_ ? SHUT_RD : SHUT_RDWR);
}

void ConnectionState::cut_off() {
    std::lock_guard lock(mutex_);
    if (handle_) ::shutdown(handle_.get(), SHUT_RDWR);
}

void HttpService::log(const std::string& line) const {
    if (options.log) options.log(line);
}

std::unique_ptr<Stream> HttpService::open(Fd socket) const {
    if (!tls) return make_plain_stream(std::move(socket));
    auto stream = tls->accept(std::move(socket), options.handshake_timeout);
    if (stream) return std::move(*stream);
    log(stream.error().text());
    return nullptr;
}

HttpResponse HttpService::respond(const HttpRequest& request) const {
    std::string problem;
    try {
        HttpResponse response = handler(request);
        if (response.status != 101) return response;
        if (wants_frames(request) && upgrade) return response;
        if (wants_frames(request)) return error_answer(501, "this server offers no upgrade");
        problem = "the handler switched protocols unasked";
    } catch (const std::exception& error) {
        problem = error.what();
    } catch (...) {
        problem = "unknown exception";
    }
    log(fmt::format("{} {} from {}: {}", request.method, request.path, request.peer_address,
                    problem));
    return error_answer(500, "a defect of Understudy; the daemon's log has more");
}

void HttpService::run_upgrade(ConnectionState& state, const HttpRequest& request,
                              const HttpResponse& response, std::unique_ptr<Stream> stream,
                              std::string pending) const {
    auto written = write_switching(*stream, response, kFramesProtocol);
    if (!written) return log(written.error().text());
    state.set_answering(false);
    stream->set_timeouts(Duration(0), Duration(0));
    try {
        upgrade(request, make_prefixed_stream(std::move(pending), std::move(stream)));
    } catch (const std::exception& error) {
        log(fmt::format("{} {} from {}, upgraded: {}", request.method, request.path,
                        request.peer_address, error.what()));
    } catch (...) {
        log(fmt::format("{} {} from {}, upgraded: unknown exception", request.method, request.path,
                        request.peer_address));
    }
}

void HttpService::serve(ConnectionState& state, Fd socket,
                        const std::atomic<bool>& stopping) const {
    auto stream = open(std::move(socket));
    if (!stream) return;
    stream->set_timeouts(options.request_timeout, options.request_timeout);
    HttpInput input{*stream, {}};
    RequestLimits limits{options.body_limit, options.idle_timeout, options.request_timeout};
    while (!stopping) {
        auto received = read_request(input, limits, options.admit);
        if (!received) {
            if (!received.error().answer) return;
            if (write_response(*stream, *received.error().answer, {})) linger(*stream);
            return;
        }
        state.set_answering(true);
        const HttpRequest& request = received->request;
        HttpResponse response = respond(request);
        if (response.status == 101) {
            return run_upgrade(state, request, response, std::move(stream),
                               std::move(input.pending));
        }
        bool keep_alive = received->keep_alive && !stopping;
        auto written = write_response(
            *stream, response, {.keep_alive = keep_alive, .head_only = request.method == "HEAD"});
        if (!written) {
            return log(std::move(written.error())
                           .during(fmt::format("answer {} {}", request.method, request.path))
                           .text());
        }
        state.set_answering(false);
        if (!keep_alive) return linger(*stream);
    }
}

void HttpService::turn_away(Fd socket) const {
    auto stream = open(std::move(socket));
    if (!stream) return;
    stream->set_timeouts(kLinger, kLinger);
    HttpResponse full = error_answer(503, "all connections of this server are taken");
    full.headers.add("Retry-After", "1");
    if (write_response(*stream, full, {})) linger(*stream);
}

}  // namespace understudy::net
