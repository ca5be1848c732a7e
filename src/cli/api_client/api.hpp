#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <functional>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace understudy::cli {

inline constexpr Duration kCallTimeout = std::chrono::seconds(60);

struct Call {
    std::string method;
    std::string path;  // with its query, percent-encoded
    std::string body;  // JSON text, or nothing
    Duration timeout = kCallTimeout;
};

// The operators' API (src/api/OPERATORS.md) of one cluster.
class Api {
public:
    virtual ~Api() = default;
    // The answer's JSON object. A 4xx/5xx answer becomes the Error that it carries. `unavailable`:
    // no answer, and whether the call took effect is unknown.
    virtual Result<nlohmann::json> call(const Call& call) = 0;
};

// Makes the connection when the first call needs it.
using ApiSource = std::function<Result<Api*>()>;

// "/v1/vms/a%20b/start": segments percent-encoded, "." and ".." too.
std::string path_of(std::initializer_list<std::string_view> segments);
// "?name=value" pieces, percent-encoded; `first` is '?' or '&'.
std::string query_of(char first, std::string_view name, std::string_view value);

// A call with a JSON body, and one without.
Call request(std::string_view method, std::string path, const nlohmann::json& body);
Call request(std::string_view method, std::string path);

}  // namespace understudy::cli
