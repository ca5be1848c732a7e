#include "cli/api_client/connection.hpp"
#include "cli/run.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

namespace {

using understudy::Duration;

int columns_of_terminal() {
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

understudy::TimePoint now() {
    return std::chrono::floor<Duration>(std::chrono::system_clock::now());
}

Duration steady_now() {
    return std::chrono::floor<Duration>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    understudy::cli::Surroundings world{
        .in = std::cin,
        .out = std::cout,
        .err = std::cerr,
        .in_is_terminal = ::isatty(STDIN_FILENO) == 1,
        .out_is_terminal = ::isatty(STDOUT_FILENO) == 1,
        .err_is_terminal = ::isatty(STDERR_FILENO) == 1,
        .columns = columns_of_terminal,
        .environment = environment,
        .now = now,
        .steady_now = steady_now,
        .pause = [](Duration time) { std::this_thread::sleep_for(time); },
    };
    const int code = understudy::cli::run({argv + 1, argv + argc}, world, understudy::cli::connect);
    // A full disk or a closed pipe behind stdout must not look like success.
    if (!std::cout.flush() && code == 0) return 1;
    return code;
}
