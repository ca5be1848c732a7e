#pragma once

#include "base/error.hpp"
#include "cli/api_client/api.hpp"
#include "cli/grammar/command.hpp"
#include "cli/terminal/surroundings.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::cli {

inline constexpr std::string_view kDefaultSocket = "/run/understudy/understudy.sock";
inline constexpr std::string_view kDefaultConfig = "/etc/understudy/understudyd.toml";

// Which cluster's daemon to talk to, and how.
struct Target {
    std::string socket;  // path; empty when url is used
    std::string url;     // "https://host:7370"
    std::string token_file;
    std::string fingerprint;  // SHA-256 of the server's certificate, 64 lower-case hex digits
};

// Options before environment before the configuration file before the default. invalid: a choice
// that contradicts itself or lacks what it needs, with how to get it.
Result<Target> choose_target(const Arguments& globals, const Surroundings& world);

// "AB:CD:…", "sha256 Fingerprint=AB:…" or plain hex → 64 lower-case hex digits.
Result<std::string> parse_fingerprint(std::string_view text);

// The socket that a configuration file of understudyd names; the default where it names none.
Result<std::string> socket_from_config(const std::string& file);

// The token in a file: one line, at most 4 KiB, blanks around it removed.
Result<std::string> read_token(const std::string& file);

// HTTP over the unix socket or TLS. The connection itself is made by the first call.
Result<std::unique_ptr<Api>> connect(const Target& target);

// `error` of a failed connection to the socket, with what to do by what is wrong with it.
Error explain_socket(const Error& error, const std::string& socket);

}  // namespace understudy::cli
