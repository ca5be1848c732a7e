#include "cli/api_client/connection.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

// Which daemon to talk to: the command line, else the environment, else the configuration file,
// else the default socket. At the end what a URL needs besides: the certificate's fingerprint and
// the token's file.

namespace understudy::cli {
namespace {

constexpr std::size_t kMaxToken = 4096;

constexpr std::string_view kHowToPin =
    "On a node of that cluster, `openssl x509 -in /var/lib/understudy/identity/cert.pem -noout "
    "-fingerprint -sha256` prints it; give it with --fingerprint or UNDERSTUDY_FINGERPRINT.";

struct Choice {
    std::optional<std::string> config, socket, url;
};

Result<> check_at_most_one(const Choice& choice, std::string_view where) {
    const int ways = int{choice.config.has_value()} + int{choice.socket.has_value()} +
                     int{choice.url.has_value()};
    if (ways > 1)
        return fail(
            Error(ErrorKind::invalid,
                  fmt::format("more than one of these is given {}: configuration, socket, URL",
                              where))
                .advising("Use only one of them to say which cluster you mean."));
    return {};
}

std::optional<std::string> option_or_variable(const Arguments& globals, const char* option,
                                              const Surroundings& world, const char* variable) {
    auto given = globals.find(option);
    if (!given) given = world.environment(variable);
    return given && !given->empty() ? given : std::nullopt;
}

Result<Target> url_target(const std::string& url, const Arguments& globals,
                          const Surroundings& world) {
    Target target;
    target.url = url;
    if (!url.starts_with("https://"))
        return fail(Error(ErrorKind::invalid, fmt::format("'{}' is not a URL of the API", url))
                        .advising("It begins with https:// (the token must not travel in the "
                                  "clear), as in https://node1:7370."));
    const auto token = option_or_variable(globals, "token-file", world, "UNDERSTUDY_TOKEN_FILE");
    if (!token)
        return fail(Error(ErrorKind::invalid, "--url needs a token")
                        .advising("Copy /var/lib/understudy/api-token from a node of that cluster "
                                  "to a file that only you can read, and name it with --token-file "
                                  "or UNDERSTUDY_TOKEN_FILE."));
    target.token_file = *token;
    const auto pin = option_or_variable(globals, "fingerprint", world, "UNDERSTUDY_FINGERPRINT");
    if (!pin)
        return fail(Error(ErrorKind::invalid,
                          "--url needs the fingerprint of the server's certificate, or anybody "
                          "could pose as the server and take the token")
                        .advising(std::string(kHowToPin)));
    auto fingerprint = UNDERSTUDY_VALUE(parse_fingerprint(*pin));
    target.fingerprint = fingerprint;
    return target;
}

}  // namespace

Result<Target> choose_target(const Arguments& globals, const Surroundings& world) {
    Choice choice{globals.find("config"), globals.find("socket"), globals.find("url")};
    UNDERSTUDY_TRY(check_at_most_one(choice, "on the command line"));
    if (!choice.config && !choice.socket && !choice.url) {
        const auto variable = [&](const char* name) {
            auto value = world.environment(name);
            return value && !value->empty() ? value : std::nullopt;
        };
        choice = {variable("UNDERSTUDY_CONFIG"), variable("UNDERSTUDY_SOCKET"),
                  variable("UNDERSTUDY_URL")};
        UNDERSTUDY_TRY(check_at_most_one(choice, "by UNDERSTUDY_… variables"));
    }
    if (choice.url) return url_target(*choice.url, globals, world);
    if (globals.has("token-file") || globals.has("fingerprint"))
        return fail(ErrorKind::invalid, "--token-file and --fingerprint go with --url only");
    Target target;
    target.socket = kDefaultSocket;
    if (choice.socket) target.socket = *choice.socket;
    const bool by_default = !choice.socket && !choice.config &&
                            ::access(std::string(kDefaultConfig).c_str(), R_OK) == 0;
    if (choice.config || by_default) {
        auto socket = UNDERSTUDY_VALUE(
            socket_from_config(choice.config.value_or(std::string(kDefaultConfig))));
        target.socket = socket;
    }
    return target;
}

Result<std::string> parse_fingerprint(std::string_view text) {
    std::string hex;
    const auto equals = text.rfind('=');
    if (equals != std::string_view::npos) text.remove_prefix(equals + 1);
    if (text.starts_with("sha256:")) text.remove_prefix(7);
    for (const char c : text) {
        if (c == ':' || c == ' ') continue;
        const bool digit = c >= '0' && c <= '9';
        const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
        if (!digit && !(lower >= 'a' && lower <= 'f')) break;
        hex += lower;
    }
    const auto digits = static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return c != ':' && c != ' '; }));
    if (hex.size() == 64 && digits == 64) return hex;
    return fail(
        Error(ErrorKind::invalid, fmt::format("'{}' is not a SHA-256 fingerprint of 64 hex digits",
                                              text.substr(0, 100)))
            .advising(std::string(kHowToPin)));
}

Result<std::string> read_token(const std::string& file) {
    const std::string step = fmt::format("read the token file {}", file);
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(Error(ErrorKind::invalid, errno_error(errno, step).what()));
    struct stat found{};
    const bool open_to_others = ::fstat(fd, &found) == 0 && (found.st_mode & 0007) != 0;
    std::array<char, kMaxToken + 1> buffer{};
    std::size_t size = 0;
    ssize_t got = 0;
    while (size < buffer.size() &&
           (got = ::read(fd, buffer.data() + size, buffer.size() - size)) > 0)
        size += static_cast<std::size_t>(got);
    const int error = got < 0 ? errno : 0;
    ::close(fd);
    if (error != 0) return fail(Error(ErrorKind::invalid, errno_error(error, step).what()));
    if (open_to_others && S_ISREG(found.st_mode))
        return fail(Error(ErrorKind::invalid, step + ": every user of this machine can read it")
                        .advising(fmt::format("Remove that right: chmod o= '{}'", file)));
    std::string_view token(buffer.data(), size);
    const auto blank = [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; };
    while (!token.empty() && blank(token.back())) token.remove_suffix(1);
    while (!token.empty() && blank(token.front())) token.remove_prefix(1);
    const bool clean = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7F; });
    if (token.empty() || size > kMaxToken || !clean)
        return fail(ErrorKind::invalid, step + ": it must hold one token on one line");
    return std::string(token);
}

}  // namespace understudy::cli
