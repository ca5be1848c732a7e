#include "cli/api_client/api.hpp"

#include "net/encoding.hpp"

#include <nlohmann/json.hpp>

namespace understudy::cli {

using nlohmann::json;

std::string path_of(std::initializer_list<std::string_view> segments) {
    std::string path;
    for (const auto segment : segments) {
        path += '/';
        // Dot segments would be removed on the way (RFC 3986, section 5.2.4).
        if (segment == ".")
            path += "%2E";
        else if (segment == "..")
            path += "%2E%2E";
        else
            path += net::percent_encode(segment);
    }
    return path;
}

std::string query_of(char first, std::string_view name, std::string_view value) {
    return first + net::percent_encode(name) + "=" + net::percent_encode(value);
}

Call request(std::string_view method, std::string path, const json& body) {
    return {.method = std::string(method),
            .path = std::move(path),
            .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

Call request(std::string_view method, std::string path) {
    return {.method = std::string(method), .path = std::move(path), .body = ""};
}

}  // namespace understudy::cli
