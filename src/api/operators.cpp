#include "api/operators.hpp"

#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "model/json.hpp"
#include "tasks/queue/events.hpp"
#include "tasks/queue/runner.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>

// The frame of the operators' API. A request's path and JSON body are taken apart (parse) and
// offered to one noun after the other (answer_*), until one of them answers; if no noun answers,
// the answer is not_found. Also here: reading the fields of a body or query with their bounds, and
// queue(), which adds a task to the catalog, records the event "asked" and rings the workers' bell.
// A task that was added survives a crash; nothing else is kept here. Called by many threads.

namespace understudy::api {
namespace {

using nlohmann::json;

std::string dump(const json& body) {
    return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::unexpected<Error> wrong_type(const char* name, std::string_view wanted) {
    return fail(ErrorKind::invalid, fmt::format("field '{}' must be {}", name, wanted));
}

Result<Asked> parse(OperatorsContext& context, const net::HttpRequest& request) {
    if (request.segments.empty() || request.segments.front() != "v1")
        return fail(ErrorKind::not_found, "paths of the API begin with /v1");
    auto body = request.body.empty() ? json::object() : json::parse(request.body, nullptr, false);
    if (!body.is_object()) return fail(ErrorKind::invalid, "the body must be a JSON object");
    return Asked{
        context, request, {request.segments.begin() + 1, request.segments.end()}, std::move(body)};
}

Result<Reply> answer(OperatorsContext& context, const net::HttpRequest& request) {
    auto asked = UNDERSTUDY_VALUE(parse(context, request));
    for (const auto call :
         {answer_cluster, answer_peers, answer_vms, answer_snapshots, answer_files, answer_replicas,
          answer_recovery, answer_drills, answer_tasks, answer_events})
        if (auto replied = call(asked)) return std::move(*replied);
    return fail(ErrorKind::not_found,
                fmt::format("no call {} {}", request.method, request.path.substr(0, 200)));
}

}  // namespace

Operators::Operators(OperatorsContext context) : context_(std::move(context)) {}
Operators::~Operators() = default;

net::HttpResponse error_response(const Error& error) {
    net::HttpResponse response;
    response.status = net::status_of(error.kind());
    response.body = dump({{"error",
                           {{"kind", std::string(base::to_string(error.kind()))},
                            {"text", error.step_text()},
                            {"kept", error.kept()},
                            {"advice", error.advice()}}}});
    return response;
}

net::HttpResponse Operators::handle(const net::HttpRequest& request) {
    auto replied = answer(context_, request);
    if (!replied) return error_response(replied.error());
    net::HttpResponse response;
    response.status = replied->status;
    response.body = dump(replied->body);
    return response;
}

Result<Reply> reply_with(std::string_view key, Result<json> value) {
    if (!value) return error_of(value);
    return Reply{200, {{std::string(key), std::move(*value)}}};
}

std::string Asked::actor() const {
    if (!request.unix_peer) return "API token, from " + request.peer_address;
    std::array<char, 4096> buffer;
    passwd entry{};
    passwd* found = nullptr;
    const auto uid = request.unix_peer->uid;
    getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    return fmt::format("{} (uid {})", found != nullptr ? found->pw_name : "?", uid);
}

Result<Reply> queue(const Asked& asked, model::Task task) {
    auto& site = asked.site();
    task.actor = asked.actor();
    UNDERSTUDY_TRY(site.catalog.add_task(task));
    tasks::record_event(site, task.actor, "asked", task.vm, task.title);
    site.bells->queued.ring();
    return Reply{202, json{{"task", task_view(task)}}};
}

Result<std::string> text_field(const json& body, const char* name) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return std::string();
    if (!found->is_string()) return wrong_type(name, "a text");
    auto text = found->get<std::string>();
    if (text.size() > 4096) return wrong_type(name, "shorter than 4 KiB");
    return text;
}

Result<bool> flag_field(const json& body, const char* name, bool otherwise) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return otherwise;
    if (!found->is_boolean()) return wrong_type(name, "true or false");
    return found->get<bool>();
}

Result<std::uint64_t> number_field(const json& body, const char* name, std::uint64_t otherwise) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return otherwise;
    if (!found->is_number_unsigned()) return wrong_type(name, "a whole number, not negative");
    return found->get<std::uint64_t>();
}

Result<Duration> shutdown_limit(const json& body) {
    constexpr std::uint64_t kUsual = 120'000;
    constexpr std::uint64_t kLongest = 24ULL * 3600 * 1000;
    auto limit = UNDERSTUDY_VALUE(number_field(body, "limit_ms", kUsual));
    if (limit == 0 || limit > kLongest)
        return fail(ErrorKind::invalid, "limit_ms must be from 1 ms to 24 h");
    return Duration(static_cast<std::int64_t>(limit));
}

Result<std::int64_t> number_query(const Asked& asked, const std::string& name,
                                  std::int64_t otherwise) {
    const auto text = asked.query(name);
    if (text.empty()) return otherwise;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < 0)
        return fail(ErrorKind::invalid, fmt::format("'{}' must be a number", name));
    return number;
}

Result<std::vector<std::string>> texts_field(const json& body, const char* name) {
    std::vector<std::string> texts;
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return texts;
    if (!found->is_array() || found->size() > 1000) return wrong_type(name, "a list of texts");
    for (const auto& item : *found) {
        if (!item.is_string()) return wrong_type(name, "a list of texts");
        texts.push_back(item.get<std::string>());
    }
    return texts;
}

}  // namespace understudy::api
