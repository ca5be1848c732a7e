#pragma once

#include "cli/api.hpp"
#include "cli/command.hpp"
#include "cli/surroundings.hpp"

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
    Result<Exit> show(const Call& call, Render render) const;

    void print_json(const nlohmann::json& document) const;  // one document on out
    void say(std::string_view line) const;                  // for people, on out
    void note(std::string_view line) const;                 // for people, on err; not in JSON mode

private:
    Surroundings& world_;
    Settings settings_;
    ApiSource source_;
};

// Calls with a JSON body, and without one.
Call request(std::string_view method, std::string path, const nlohmann::json& body);
Call request(std::string_view method, std::string path);

// JSON text of a document; bytes that are not UTF-8 are replaced.
std::string dump(const nlohmann::json& document);

// VM and SNAPSHOT, or VM@SNAPSHOT in one word, as named on the command line.
struct SnapshotName {
    std::string vm;
    std::string snapshot;  // empty when none was named
};
SnapshotName split_at_snapshot(const std::string& word);
// The second word wins: with it, the first names the VM as it stands.
SnapshotName snapshot_name(const Arguments& arguments);
Result<SnapshotName> required_snapshot_name(const Arguments& arguments);

}  // namespace understudy::cli
