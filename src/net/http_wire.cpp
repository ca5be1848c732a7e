#include "net/http_wire.hpp"

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

// HTTP/1.1 messages on a stream: Boost.Beast parses, and writing is done by hand. A request is read
// in two parts: its header, which `check` may refuse, and then its body. Header and body are
// bounded, and the deadline holds for the whole message, however slowly bytes come. Bytes beyond a
// message stay in HttpInput::pending for the next one. Header fields that are written are checked
// for line breaks.

namespace understudy::net {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadSize = 16 * 1024;

// Reads what is there, or waits for it. Nothing: the deadline passed. 0: the stream's end.
Result<std::optional<std::size_t>> fill(HttpInput& input, SteadyTime deadline) {
    auto left = std::chrono::ceil<Duration>(deadline - Clock::now());
    if (!input.stream.poll_readable(std::max(left, Duration(0)))) return std::nullopt;
    std::array<std::byte, kReadSize> buffer;
    auto count = input.stream.read_some(buffer);
    if (!count) return error_of(count);
    input.pending.append(reinterpret_cast<const char*>(buffer.data()), *count);
    return *count;
}

enum class Step { header_done, message_done, ended, timed_out, wrong };

enum class Until { header, message };

// Feeds the parser until the header or the message is complete. `wrong`: `problem` says why.
template <class Parser>
Result<Step> advance(Parser& parser, HttpInput& input, SteadyTime deadline, Until until,
                     error_code& problem) {
    parser.eager(until == Until::message);
    while (true) {
        while (!input.pending.empty()) {
            error_code error;
            std::size_t used = parser.put(
                boost::asio::const_buffer(input.pending.data(), input.pending.size()), error);
            input.pending.erase(0, used);
            if (error && error != http::error::need_more) {
                problem = error;
                return Step::wrong;
            }
            if (parser.is_done()) return Step::message_done;
            if (until == Until::header && parser.is_header_done()) return Step::header_done;
            if (error == http::error::need_more || used == 0) break;
        }
        auto count = UNDERSTUDY_VALUE(fill(input, deadline));
        if (!count) return Step::timed_out;
        if (*count > 0) continue;
        if (!parser.got_some()) return Step::ended;
        error_code error;
        parser.put_eof(error);  // completes a response that ends with the connection
        if (!error && parser.is_done()) return Step::message_done;
        problem = http::error::partial_message;
        return Step::wrong;
    }
}

std::string text_of(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

template <class Fields>
Headers headers_of(const Fields& fields) {
    Headers headers;
    for (const auto& field : fields)
        headers.add(text_of(field.name_string()), text_of(field.value()));
    return headers;
}

HttpResponse answer_to(const error_code& problem) {
    if (problem == http::error::header_limit)
        return error_answer(
            431, fmt::format("the request's header is over {} KiB", kMaxHttpHeader / 1024));
    if (problem == http::error::body_limit || problem == http::error::buffer_overflow)
        return error_answer(413, "the request's body is too large");
    return error_answer(400, "this is not an HTTP/1.1 request: " + problem.message());
}

// Whether a text can stand in a header line: a control character could end the line early.
bool fits_header(std::string_view text) {
    return std::ranges::none_of(text, [](char c) {
        return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
    });
}

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::none_of(text, [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == '\x7f' || c == ':';
    });
}

Result<std::string> header_lines(const Headers& headers) {
    std::string lines;
    for (const auto& [name, value] : headers) {
        if (!is_token(name) || !fits_header(value))
            return fail(ErrorKind::internal,
                        fmt::format("the header field '{}' has forbidden characters", name));
        lines += fmt::format("{}: {}\r\n", name, value);
    }
    return lines;
}

using RequestParser = http::request_parser<http::string_body>;

// The part of the request that its header tells.
Result<HttpRequest> request_of(const RequestParser& parser, const Stream& stream) {
    const auto& message = parser.get();
    HttpRequest request;
    request.method = text_of(message.method_string());
    UNDERSTUDY_TRY(parse_target(text_of(message.target()), request));
    request.headers = headers_of(message.base());
    request.peer_address = stream.peer_address();
    request.peer_fingerprint = stream.peer_fingerprint();
    request.unix_peer = stream.peer_credentials();
    return request;
}

// Waits for a request's first byte. false: there will be none.
bool has_request(HttpInput& input, Duration idle) {
    if (!input.pending.empty()) return true;
    auto count = fill(input, Clock::now() + idle);
    return count && *count && **count > 0;
}

NoRequest no_request(const Result<Step>& step, const error_code& problem) {
    if (!step || *step == Step::ended) return {std::nullopt};
    if (*step == Step::timed_out) return {error_answer(408, "the request did not arrive in time")};
    return {answer_to(problem)};
}

}  // namespace

HttpResponse error_answer(int status, std::string_view text) {
    const nlohmann::json body{{"error",
                               {{"kind", std::string(base::to_string(kind_of_status(status)))},
                                {"text", std::string(text)},
                                {"kept", ""},
                                {"advice", ""}}}};
    HttpResponse response;
    response.status = status;
    response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return response;
}

std::expected<ReceivedRequest, NoRequest> read_request(HttpInput& input,
                                                       const RequestLimits& limits,
                                                       const HeaderCheck& check) {
    if (!has_request(input, limits.idle)) return std::unexpected(NoRequest{});
    auto deadline = Clock::now() + limits.request;
    RequestParser parser;
    parser.header_limit(kMaxHttpHeader);
    parser.body_limit(limits.body);
    error_code problem;
    auto step = advance(parser, input, deadline, Until::header, problem);
    bool arrived = step && (*step == Step::header_done || *step == Step::message_done);
    if (!arrived) return std::unexpected(no_request(step, problem));
    auto request = request_of(parser, input.stream);
    if (!request) return std::unexpected(NoRequest{error_answer(400, request.error().text())});
    if (check) {
        if (auto answer = check(*request)) return std::unexpected(NoRequest{std::move(answer)});
    }
    if (!parser.is_done()) {
        if (request->headers.has_token("Expect", "100-continue") && input.pending.empty()) {
            auto written = input.stream.write_all(bytes_of("HTTP/1.1 100 Continue\r\n\r\n"));
            if (!written) return std::unexpected(NoRequest{});
        }
        step = advance(parser, input, deadline, Until::message, problem);
        if (!step || *step != Step::message_done) return std::unexpected(no_request(step, problem));
    }
    bool keep_alive = parser.keep_alive();
    request->body = std::move(parser.get().body());
    return ReceivedRequest{std::move(*request), keep_alive};
}

Result<> write_response(Stream& stream, const HttpResponse& response, AnswerForm form) {
    auto lines = UNDERSTUDY_VALUE(header_lines(response.headers));
    if (!fits_header(response.content_type))
        return fail(ErrorKind::internal, "the content type has forbidden characters");
    bool has_body = response.status != 204 && response.status != 304;
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n{}Connection: {}\r\n", response.status,
                                   reason_phrase(response.status), lines,
                                   form.keep_alive ? "keep-alive" : "close");
    if (has_body) {
        if (!response.body.empty() && !response.content_type.empty())
            head += fmt::format("Content-Type: {}\r\n", response.content_type);
        head += fmt::format("Content-Length: {}\r\n", response.body.size());
    }
    head += "\r\n";
    if (!has_body || form.head_only) return stream.write_all(bytes_of(head));
    return stream.write_all2(bytes_of(head), bytes_of(response.body));
}

Result<> write_switching(Stream& stream, const HttpResponse& response, std::string_view protocol) {
    auto lines = UNDERSTUDY_VALUE(header_lines(response.headers));
    return stream.write_all(
        bytes_of(fmt::format("HTTP/1.1 101 {}\r\nConnection: Upgrade\r\nUpgrade: {}\r\n{}\r\n",
                             reason_phrase(101), protocol, lines)));
}

Result<> write_request(Stream& stream, const OutgoingRequest& request) {
    auto lines = UNDERSTUDY_VALUE(header_lines(request.headers));
    if (!is_token(request.method) || !request.target.starts_with('/') ||
        request.target.contains(' ') || !fits_header(request.target) || !fits_header(request.host))
        return fail(ErrorKind::invalid,
                    fmt::format("'{} {}' is not a valid request; encode its path segments",
                                request.method, request.target));
    std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n{}", request.method,
                                   request.target, request.host, lines);
    if (!request.upgrade.empty())
        head += fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", request.upgrade);
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT")
        head += fmt::format("Content-Length: {}\r\n", request.body.size());
    head += "\r\n";
    return stream.write_all2(bytes_of(head), bytes_of(request.body));
}

Result<ReceivedResponse> read_response(HttpInput& input, bool to_head, std::size_t body_limit,
                                       SteadyTime deadline, bool* nothing_came) {
    while (true) {
        http::response_parser<http::string_body> parser;
        parser.header_limit(kMaxHttpHeader);
        parser.body_limit(body_limit);
        if (to_head) parser.skip(true);
        error_code problem;
        auto step = advance(parser, input, deadline, Until::message, problem);
        *nothing_came =
            !parser.got_some() && input.pending.empty() && (!step || *step == Step::ended);
        if (!step) return error_of(step);
        if (*step == Step::timed_out)
            return fail(ErrorKind::unavailable, "no complete answer came in time");
        if (*step == Step::ended)
            return fail(ErrorKind::unavailable, "the connection was closed without an answer");
        if (problem == http::error::partial_message)
            return fail(ErrorKind::unavailable,
                        "the connection was cut in the middle of an answer");
        if (*step == Step::wrong)
            return fail(ErrorKind::unavailable,
                        "the answer is not valid HTTP/1.1: " + problem.message());
        const auto& message = parser.get();
        auto status = static_cast<int>(message.result_int());
        if (status == 100) continue;
        HttpResponse response{
            status, text_of(message[http::field::content_type]), {}, headers_of(message.base())};
        bool keep_alive = parser.keep_alive();
        response.body = std::move(parser.get().body());
        return ReceivedResponse{std::move(response), keep_alive};
    }
}

}  // namespace understudy::net
