#include "net/http.hpp"

#include "net/encoding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

// What the values of HTTP mean, without any I/O: header fields, a request's target taken apart and
// percent-decoded, and which status stands for which ErrorKind and back. Pure.

namespace understudy::net {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trimmed(std::string_view text) {
    while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
    while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
    return text;
}

// Calls `each` with every part of `text` between separators.
template <class Each>
Result<> for_each_part(std::string_view text, char separator, Each each) {
    while (true) {
        std::size_t end = text.find(separator);
        UNDERSTUDY_TRY(each(text.substr(0, end)));
        if (end == text.npos) return {};
        text.remove_prefix(end + 1);
    }
}

Result<std::string> decoded(std::string_view text) {
    auto bytes = percent_decode(text);
    if (bytes && bytes->contains('\0'))
        return fail(ErrorKind::invalid, "a URL must not contain a NUL character");
    return bytes;
}

Result<> add_parameter(std::string_view text, std::map<std::string, std::string>& query) {
    if (text.empty()) return {};
    std::string spaced(text);
    std::ranges::replace(spaced, '+', ' ');
    std::string_view view = spaced;
    std::size_t equals = view.find('=');
    auto name = UNDERSTUDY_VALUE(decoded(view.substr(0, equals)));
    auto value = UNDERSTUDY_VALUE(
        decoded(equals == view.npos ? std::string_view() : view.substr(equals + 1)));
    if (!query.emplace(name, std::move(value)).second)
        return fail(ErrorKind::invalid, fmt::format("the parameter '{}' is given twice", name));
    return {};
}

struct Meaning {
    int status;
    ErrorKind kind;
};

constexpr std::array kMeanings{
    Meaning{503, ErrorKind::unavailable}, Meaning{409, ErrorKind::conflict},
    Meaning{501, ErrorKind::unsupported}, Meaning{400, ErrorKind::invalid},
    Meaning{404, ErrorKind::not_found},   Meaning{403, ErrorKind::refused},
    Meaning{507, ErrorKind::no_space},    Meaning{422, ErrorKind::corrupt},
    Meaning{500, ErrorKind::internal},    Meaning{401, ErrorKind::refused},
    Meaning{408, ErrorKind::unavailable}, Meaning{429, ErrorKind::unavailable},
    Meaning{502, ErrorKind::unavailable}, Meaning{504, ErrorKind::unavailable},
};

}  // namespace

void Headers::add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
}

const std::string* Headers::find(std::string_view name) const {
    for (const auto& [known, value] : fields_)
        if (equal_ignoring_case(known, name)) return &value;
    return nullptr;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
    bool found = false;
    for (const auto& [known, value] : fields_) {
        if (!equal_ignoring_case(known, name)) continue;
        (void)for_each_part(value, ',', [&](std::string_view part) -> Result<> {
            found = found || equal_ignoring_case(trimmed(part), token);
            return {};
        });
    }
    return found;
}

Result<> parse_target(std::string_view target, HttpRequest& into) {
    if (!target.starts_with('/'))
        return fail(ErrorKind::invalid, "a request's target must begin with '/'");
    into.target = target;
    std::size_t question = target.find('?');
    into.path = target.substr(0, question);
    into.segments.clear();
    into.query.clear();
    if (into.path != "/") {
        const auto add_segment = [&](std::string_view part) -> Result<> {
            auto segment = UNDERSTUDY_VALUE(decoded(part));
            into.segments.push_back(std::move(segment));
            return {};
        };
        UNDERSTUDY_TRY(for_each_part(std::string_view(into.path).substr(1), '/', add_segment));
    }
    if (question == target.npos) return {};
    return for_each_part(target.substr(question + 1), '&',
                         [&](std::string_view part) { return add_parameter(part, into.query); });
}

std::string_view reason_phrase(int status) {
    switch (status) {
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 413: return "Content Too Large";
        case 422: return "Unprocessable Content";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 507: return "Insufficient Storage";
        default: return "Status";
    }
}

ErrorKind kind_of_status(int status) {
    for (const auto& meaning : kMeanings)
        if (meaning.status == status) return meaning.kind;
    return status >= 400 && status < 500 ? ErrorKind::invalid : ErrorKind::internal;
}

int status_of(ErrorKind kind) {
    for (const auto& meaning : kMeanings)
        if (meaning.kind == kind) return meaning.status;
    return 503;  // cancelled: this node is stopping
}

}  // namespace understudy::net
