#pragma once

#include "api/operators.hpp"
#include "tasks/queue/runner.hpp"

#include <nlohmann/json.hpp>

// The calls of the operators' API by noun; for the operators*.cpp files of this folder. Each gets
// the decoded path segments after "v1", and gives nothing if the path is not its own.

namespace understudy::api {

struct Asked {
    OperatorsContext& context;
    const net::HttpRequest& request;
    std::vector<std::string> path;  // {"vms", "web1", "start"}
    nlohmann::json body;            // an object

    tasks::Site& site() const { return context.site; }
    std::string actor() const;  // who asks, for the events
    bool is(std::string_view method, std::size_t segments) const {
        return request.method == method && path.size() == segments;
    }
    std::string query(const std::string& name) const {
        const auto found = request.query.find(name);
        return found == request.query.end() ? std::string() : found->second;
    }
};

struct Reply {
    int status = 200;
    nlohmann::json body;
};

using Answer = std::optional<Result<Reply>>;

Answer answer_cluster(const Asked& asked);
Answer answer_peers(const Asked& asked);
Answer answer_vms(const Asked& asked);
Answer answer_snapshots(const Asked& asked);
Answer answer_files(const Asked& asked);
Answer answer_replicas(const Asked& asked);
Answer answer_recovery(const Asked& asked);
Answer answer_drills(const Asked& asked);
Answer answer_tasks(const Asked& asked);
Answer answer_events(const Asked& asked);

// {"key": value} with 200, or the error.
Result<Reply> reply_with(std::string_view key, Result<nlohmann::json> value);
// Queues a task in the name of the one who asks, and answers 202 with the task.
Result<Reply> queue(const Asked& asked, model::Task task);
// `arguments` are the record of that kind (tasks/records).
template <tasks::Fielded Arguments>
Result<Reply> queue(const Asked& asked, std::string_view kind, const VmId& vm, std::string title,
                    const Arguments& arguments) {
    return queue(asked, tasks::new_task(asked.site(), kind, vm, std::move(title), arguments));
}

// Fields of a request's body. invalid, with the field's name: the type is wrong.
Result<std::string> text_field(const nlohmann::json& body, const char* name);  // "" if absent
Result<bool> flag_field(const nlohmann::json& body, const char* name, bool otherwise);
Result<std::uint64_t> number_field(const nlohmann::json& body, const char* name,
                                   std::uint64_t otherwise);
Result<std::vector<std::string>> texts_field(const nlohmann::json& body, const char* name);
// limit_ms: how long a guest may take to shut down. invalid: it is out of bounds.
Result<Duration> shutdown_limit(const nlohmann::json& body);
// A number, not negative, in a request's query.
Result<std::int64_t> number_query(const Asked& asked, const std::string& name,
                                  std::int64_t otherwise);

}  // namespace understudy::api
