#include "cli/context.hpp"

#include "net/encoding.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

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

std::string dump(const json& document) {
    return document.dump(2, ' ', false, json::error_handler_t::replace);
}

Result<json> Context::call(const Call& call) const {
    auto api = source_();
    if (!api) return std::unexpected(std::move(api.error()));
    return (*api)->call(call);
}

Result<json> Context::get(std::string path) const {
    return call(request("GET", std::move(path)));
}

Result<Exit> Context::show(const Call& what, Render render) const {
    auto answer = call(what);
    if (!answer) return std::unexpected(std::move(answer.error()));
    if (json())
        print_json(*answer);
    else
        render(*this, *answer);
    return Exit::done;
}

void Context::print_json(const nlohmann::json& document) const {
    world_.out << dump(document) << "\n" << std::flush;
}

void Context::say(std::string_view line) const {
    world_.out << line << "\n" << std::flush;
}

void Context::note(std::string_view line) const {
    if (!json()) world_.err << line << "\n" << std::flush;
}

SnapshotName split_at_snapshot(const std::string& word) {
    const auto mark = word.find('@');
    if (mark == std::string::npos) return {word, ""};
    SnapshotName name{word.substr(0, mark), word.substr(mark + 1)};
    if (name.snapshot == "newest") name.snapshot = "@newest";
    return name;
}

SnapshotName snapshot_name(const Arguments& arguments) {
    if (const auto snapshot = arguments.find("SNAPSHOT")) return {arguments.text("VM"), *snapshot};
    return split_at_snapshot(arguments.text("VM"));
}

Result<SnapshotName> required_snapshot_name(const Arguments& arguments) {
    auto name = snapshot_name(arguments);
    if (name.vm.empty() || name.snapshot.empty())
        return fail(Error(ErrorKind::invalid, "no snapshot is named")
                        .advising("Name it as VM SNAPSHOT or VM@SNAPSHOT (VM@newest is the "
                                  "newest); `understudy vm snapshot list VM` shows them."));
    return name;
}

}  // namespace understudy::cli
