#pragma once

#include "cli/api_client/api.hpp"
#include "cli/grammar/command.hpp"
#include "cli/terminal/surroundings.hpp"

#include <string>
#include <string_view>

namespace understudy::cli {

enum class Format { table, json };

struct Settings {
    Format format = Format::table;
    bool no_wait = false;
    bool yes = false;
};

// What a command runs with. Borrowed parts outlive it. One thread.
class Context {
public:
    Context(Surroundings& world, Settings settings, ApiSource source)
        : world_(world), settings_(settings), source_(std::move(source)) {}

    Surroundings& world() const { return world_; }
    const Settings& settings() const { return settings_; }
    bool json() const { return settings_.format == Format::json; }

    Result<nlohmann::json> call(const Call& call) const;
    Result<nlohmann::json> get(std::string path) const;

    // Draws an answer for people; the strings that it writes are already safe for a terminal.
    using Render = void (*)(const Context&, const nlohmann::json& answer);
    // Calls, and prints the answer: as it came in JSON, else through `render`.
    Result<Exit> call_and_print(const Call& call, Render render) const;

    void print_json(const nlohmann::json& document) const;  // one document on out
    void print_line(std::string_view line) const;           // for people, on out
    void print_note(std::string_view line) const;           // for people, on err; not in JSON mode

private:
    Surroundings& world_;
    Settings settings_;
    ApiSource source_;
};

}  // namespace understudy::cli
