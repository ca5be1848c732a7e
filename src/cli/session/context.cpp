#include "cli/session/context.hpp"

#include "cli/terminal/values.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

namespace understudy::cli {

using nlohmann::json;

Result<json> Context::call(const Call& call) const {
    auto api = UNDERSTUDY_VALUE(source_());
    return api->call(call);
}

Result<json> Context::get(std::string path) const {
    return call(request("GET", std::move(path)));
}

Result<Exit> Context::call_and_print(const Call& what, Render render) const {
    auto answer = UNDERSTUDY_VALUE(call(what));
    if (json())
        print_json(answer);
    else
        render(*this, answer);
    return Exit::done;
}

void Context::print_json(const nlohmann::json& document) const {
    world_.out << dump(document) << "\n" << std::flush;
}

void Context::print_line(std::string_view line) const {
    world_.out << line << "\n" << std::flush;
}

void Context::print_note(std::string_view line) const {
    if (!json()) world_.err << line << "\n" << std::flush;
}

}  // namespace understudy::cli
