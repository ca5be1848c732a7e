#include "base/version.hpp"
#include "daemon/front_door.hpp"
#include "daemon/log.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstring>

// The process understudyd: command line, configuration, log, signals. SIGTERM and SIGINT are
// blocked before any thread starts, so that only sigwait here takes them; then everything is
// stopped in order. Exit codes: 0 stopped by a signal, 1 could not open, 2 wrong command line or
// configuration.

namespace {

constexpr const char* kHelp =
    R"(understudyd: keeps replicas of this host's VMs on peers, and peers' replicas here.

Usage: understudyd [-c FILE]
  -c, --config FILE   TOML file; without it understudyd uses the defaults for one machine
      --version       print the version
Example: understudyd -c /etc/understudy/understudyd.toml
Stop it with SIGTERM: transfers end at a durable point and go on after the next start.
)";

// glibc gives threads arenas of their own. Memory that librbd's short-lived threads have freed
// stays unused in those: 300 MiB after 120 sends between Ceph clusters, and rising. With few arenas
// it is used again: 90 MiB, and no more.
constexpr int kArenas = 2;

int run(const std::string& config_path) {
    auto config = understudy::daemon::load_config(config_path);
    if (!config) {
        fmt::print(stderr, "understudyd: {}\n", config.error().text());
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // all threads inherit it; sigwait takes them
    understudy::daemon::FrontDoor door(std::move(*config));
    auto opened = door.open();
    if (!opened) {
        spdlog::critical("{}", opened.error().text());
        return 1;
    }
    spdlog::info("understudyd {} is ready", understudy::base::version());
    int signal = 0;
    sigwait(&signals, &signal);
    spdlog::info("stopping on {}", strsignal(signal));
    door.close();
    spdlog::info("stopped");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    mallopt(M_ARENA_MAX, kArenas);  // before there are threads
    understudy::daemon::set_up_log();
    std::string config;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if ((word == "-c" || word == "--config") && i + 1 < argc) {
            config = argv[++i];
        } else if (word == "-c" || word == "--config") {
            fmt::print(stderr, "understudyd: {} needs a file; see understudyd --help\n", word);
            return 2;
        } else if (word == "--version") {
            fmt::print("understudyd {}\n", understudy::base::version());
            return 0;
        } else if (word == "-h" || word == "--help") {
            std::fputs(kHelp, stdout);
            return 0;
        } else {
            fmt::print(stderr, "understudyd: unknown word '{}'; see understudyd --help\n", word);
            return 2;
        }
    }
    return run(config);
}
