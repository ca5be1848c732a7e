#pragma once

#include "cli/terminal/surroundings.hpp"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace understudy::cli {

struct ProgressView {
    std::string title;  // "send web1@nightly to dr"
    std::string state;  // of the task
    std::string step;
    std::string note;
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;  // 0: unknown
    std::uint64_t wire_bytes = 0;
    std::uint64_t rate_bytes = 0;  // per second; 0: unknown

    static ProgressView of(const nlohmann::json& task);
    std::optional<unsigned> percent() const;  // nothing when the total is unknown
};

// One line without a line break, less than `columns` wide.
std::string progress_bar(const ProgressView& view, int columns);
std::string progress_line(const ProgressView& view);  // for logs and pipes

enum class ProgressStyle {
    bar,    // one line redrawn, at most twice a second
    lines,  // one per 10 seconds or 10 %, and at the end
    none,
};

// Shows how a task goes, on err.
class ProgressDisplay {
public:
    ProgressDisplay(Surroundings& world, ProgressStyle style) : world_(world), style_(style) {}
    ~ProgressDisplay() { clear(); }
    ProgressDisplay(const ProgressDisplay&) = delete;
    ProgressDisplay& operator=(const ProgressDisplay&) = delete;

    void update(const ProgressView& view);
    void finish(const ProgressView& view);      // the bar goes; a log gets the last state
    void print_above(const std::string& line);  // a line of its own, above the bar
    void clear();                               // leaves the cursor on an empty line

private:
    void draw(const ProgressView& view);

    Surroundings& world_;
    ProgressStyle style_;
    std::optional<Duration> last_;  // when something was shown
    unsigned last_tenth_ = 0;       // percent / 10 at that moment
    std::size_t drawn_width_ = 0;   // of the bar on the terminal
};

}  // namespace understudy::cli
