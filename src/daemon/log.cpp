#include "daemon/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace understudy::daemon {
namespace {

// The number of syslog(3) that a level stands for.
class Priority final : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm&,
                spdlog::memory_buf_t& into) override {
        const auto level = message.level;
        into.push_back(level >= spdlog::level::critical ? '2'
                       : level == spdlog::level::err    ? '3'
                       : level == spdlog::level::warn   ? '4'
                       : level == spdlog::level::info   ? '6'
                                                        : '7');
    }
    std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<Priority>();
    }
};

// systemd names device and inode of the stream that it connected (systemd.exec(5)).
bool stderr_is_the_journal() {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat here{};
    if (stream == nullptr || fstat(STDERR_FILENO, &here) != 0) return false;
    return stream == std::to_string(here.st_dev) + ":" + std::to_string(here.st_ino);
}

}  // namespace

void set_up_log() {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("understudyd"));
    if (!stderr_is_the_journal()) {
        spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
        return;
    }
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<Priority>('*').set_pattern("<%*>%v");
    spdlog::set_formatter(std::move(formatter));
}

}  // namespace understudy::daemon
