#pragma once

// Only for this folder: HTTP/1.1 messages on a stream. Boost.Beast is behind these functions.

#include "net/http.hpp"

#include <chrono>
#include <expected>
#include <functional>
#include <string>

namespace understudy::net {

using SteadyTime = std::chrono::steady_clock::time_point;

// A stream with the bytes that were read from it and not used yet.
struct HttpInput {
    Stream& stream;
    std::string pending;
};

struct RequestLimits {
    std::size_t body = 0;  // bytes
    Duration idle{};       // until the first byte of a request
    Duration request{};    // from its first byte to its last
};

struct ReceivedRequest {
    HttpRequest request;
    bool keep_alive = false;
};

// There is no request. `answer` is to be sent before closing. Nothing: just close, because the
// other side closed or was silent between requests.
struct NoRequest {
    std::optional<HttpResponse> answer;
};

using HeaderCheck = std::function<std::optional<HttpResponse>(const HttpRequest&)>;

// `check`, if set, sees the request before its body is read. If it gives an answer, that is the
// `answer` of NoRequest.
std::expected<ReceivedRequest, NoRequest> read_request(HttpInput& input,
                                                       const RequestLimits& limits,
                                                       const HeaderCheck& check);

// An error in the JSON form that both APIs use, so that a client has only one form to read.
HttpResponse error_answer(int status, std::string_view text);

struct AnswerForm {
    bool keep_alive = false;
    bool head_only = false;  // to a HEAD request: without the body, but with its length
};
Result<> write_response(Stream& stream, const HttpResponse& response, AnswerForm form);
Result<> write_switching(Stream& stream, const HttpResponse& response, std::string_view protocol);

struct OutgoingRequest {
    std::string_view method;
    std::string_view target;
    std::string_view host;
    const Headers& headers;
    std::string_view body;
    std::string_view upgrade;  // empty: none
};

Result<> write_request(Stream& stream, const OutgoingRequest& request);

struct ReceivedResponse {
    HttpResponse response;
    bool keep_alive = false;
};

// Until `deadline`. *nothing_came: the connection ended before any byte of the response.
Result<ReceivedResponse> read_response(HttpInput& input, bool to_head, std::size_t body_limit,
                                       SteadyTime deadline, bool* nothing_came);

}  // namespace understudy::net
