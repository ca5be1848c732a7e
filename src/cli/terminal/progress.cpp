#include "cli/terminal/progress.hpp"

#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

// How a task goes, as text: first the pieces (size, time left, ratio), then the bar and the line,
// then ProgressDisplay, which decides when to draw one of them.

namespace understudy::cli {
namespace {

constexpr Duration kRedraw = std::chrono::milliseconds(500);
constexpr Duration kLineEvery = std::chrono::seconds(10);
constexpr int kBarCells = 20;

std::string size(std::uint64_t bytes) {
    return base::format_size(ByteSize(bytes));
}

std::string eta(const ProgressView& view) {
    if (view.total_bytes == 0) return "ETA unknown";
    const auto left = view.total_bytes - std::min(view.done_bytes, view.total_bytes);
    if (left == 0) return "ETA 0 s";
    if (view.rate_bytes == 0) return "ETA unknown";
    const auto seconds = left / view.rate_bytes;
    constexpr std::uint64_t kYears = 400'000'000;  // s; beyond that a rate says nothing
    if (seconds > kYears) return "ETA unknown";
    return seconds == 0
               ? "ETA 0 s"
               : "ETA " + (seconds < 60 ? fmt::format("{} s", seconds)
                                        : base::format_duration(std::chrono::seconds(seconds)));
}

// Content per byte on the wire; nothing until something travelled.
std::string ratio(const ProgressView& view) {
    if (view.wire_bytes == 0 || view.done_bytes == 0) return "";
    return fmt::format("ratio {:.1f}",
                       static_cast<double>(view.done_bytes) / static_cast<double>(view.wire_bytes));
}

std::string activity_text(const ProgressView& view) {
    if (view.state == "queued") return view.note.empty() ? "queued" : "queued: " + view.note;
    return !view.note.empty() ? view.note : !view.step.empty() ? view.step : view.state;
}

void append_part(std::string& line, std::string_view separator, const std::string& part) {
    if (part.empty()) return;
    if (!line.empty()) line += separator;
    line += part;
}

}  // namespace

ProgressView ProgressView::of(const nlohmann::json& task) {
    const auto& progress = at(task, "progress");
    return {.title = escape(find_text(task, "title").value_or("task")),
            .state = escape(text_at(task, "state")),
            .step = escape(find_text(task, "step").value_or("")),
            .note = escape(find_text(progress, "note").value_or("")),
            .done_bytes = find_number(progress, "done_bytes").value_or(0),
            .total_bytes = find_number(progress, "total_bytes").value_or(0),
            .wire_bytes = find_number(progress, "wire_bytes").value_or(0),
            .rate_bytes = find_number(progress, "rate_bytes").value_or(0)};
}

std::optional<unsigned> ProgressView::percent() const {
    if (total_bytes == 0) return std::nullopt;
    const auto done = std::min(done_bytes, total_bytes);
    // Without overflow up to 2^64 bytes; 100 only when all is done.
    const double share = static_cast<double>(done) / static_cast<double>(total_bytes);
    const auto whole = static_cast<unsigned>(share * 100);
    return done < total_bytes ? std::min(whole, 99U) : 100U;
}

std::string progress_bar(const ProgressView& view, int columns) {
    const auto room = static_cast<std::size_t>(std::max(columns, 20) - 1);
    const auto percent = view.percent();
    std::string numbers;
    if (percent) {
        const auto full = static_cast<std::size_t>(*percent) * kBarCells / 100;
        numbers = fmt::format("[{}{}] {:3} %", std::string(full, '#'),
                              std::string(kBarCells - full, '.'), *percent);
        append_part(numbers, "  ", size(view.done_bytes) + "/" + size(view.total_bytes));
        if (view.rate_bytes > 0) append_part(numbers, "  ", size(view.rate_bytes) + "/s");
        append_part(numbers, "  ", ratio(view));
        append_part(numbers, "  ", eta(view));
    } else {
        if (view.done_bytes > 0) append_part(numbers, "  ", size(view.done_bytes));
        if (view.rate_bytes > 0) append_part(numbers, "  ", size(view.rate_bytes) + "/s");
        append_part(numbers, "  ", activity_text(view));
    }
    numbers = shortened(numbers, room);
    const std::size_t used = display_width(numbers);
    if (room < used + 10) return numbers;
    return shortened(view.title, room - used - 2) + "  " + numbers;
}

std::string progress_line(const ProgressView& view) {
    std::string line = view.title + ": ";
    if (const auto percent = view.percent()) {
        std::string numbers =
            fmt::format("{} % ({} of {})", *percent, size(view.done_bytes), size(view.total_bytes));
        if (view.rate_bytes > 0) append_part(numbers, ", ", size(view.rate_bytes) + "/s");
        append_part(numbers, ", ", ratio(view));
        append_part(numbers, ", ", eta(view));
        return line + numbers;
    }
    std::string numbers = activity_text(view);
    if (view.done_bytes > 0) append_part(numbers, ", ", size(view.done_bytes));
    return line + numbers;
}

void ProgressDisplay::draw(const ProgressView& view) {
    last_ = world_.steady_now();
    last_tenth_ = view.percent().value_or(0) / 10;
    if (style_ == ProgressStyle::lines) {
        world_.err << progress_line(view) << "\n" << std::flush;
        return;
    }
    const std::string bar = progress_bar(view, world_.columns());
    const std::size_t width = display_width(bar);
    // Blanks over what is longer from before: works on every terminal.
    const std::string blanks(drawn_width_ > width ? drawn_width_ - width : 0, ' ');
    world_.err << "\r" << bar << blanks << std::flush;
    drawn_width_ = width;
}

void ProgressDisplay::update(const ProgressView& view) {
    if (style_ == ProgressStyle::none) return;
    const Duration now = world_.steady_now();
    if (style_ == ProgressStyle::bar) {
        if (!last_ || now - *last_ >= kRedraw) draw(view);
        return;
    }
    const unsigned tenth = view.percent().value_or(0) / 10;
    if (!last_) {
        last_ = now;  // short work needs no line but its end
        last_tenth_ = tenth;
    } else if (now - *last_ >= kLineEvery || tenth > last_tenth_) {
        draw(view);
    }
}

void ProgressDisplay::finish(const ProgressView& view) {
    if (style_ == ProgressStyle::bar) {
        clear();
    } else if (style_ == ProgressStyle::lines) {
        world_.err << view.title << ": " << view.state << "\n" << std::flush;
    }
}

void ProgressDisplay::print_above(const std::string& line) {
    if (style_ == ProgressStyle::none) return;
    clear();
    world_.err << line << "\n" << std::flush;
    last_.reset();
}

void ProgressDisplay::clear() {
    if (style_ != ProgressStyle::bar || drawn_width_ == 0) return;
    world_.err << "\r" << std::string(drawn_width_, ' ') << "\r" << std::flush;
    drawn_width_ = 0;
}

}  // namespace understudy::cli
