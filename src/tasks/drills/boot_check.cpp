#include "tasks/drills/boot_check.hpp"

#include <fmt/format.h>
#include <regex.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

// Waits until a guest that was just started is up. Each round reads its console, looks whether it
// still runs, asks the check (agent, TCP port, console, or only time) and looks at the limit.
// Nothing is stored here: a crash leaves nothing, and an attempt after it waits from the beginning.
// The functions before the Watcher turn the operator's words into a check and back.

namespace understudy::tasks {
namespace {

constexpr Duration kPause{200};
constexpr Duration kLookEvery{5000};
constexpr std::size_t kMostPattern = 256;
constexpr std::size_t kMostLine = 4096;  // what is longer is matched in pieces

Result<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0)
        return fail(ErrorKind::invalid, fmt::format("'{}' is not a port (1 to 65535)", text));
    return port;
}

// glibc's, because it neither throws nor recurses over what a guest writes.
class Pattern {
public:
    static Result<std::unique_ptr<Pattern>> compile(const std::string& text) {
        if (text.empty() || text.size() > kMostPattern)
            return fail(ErrorKind::invalid,
                        fmt::format("a pattern has from 1 to {} characters", kMostPattern));
        std::unique_ptr<Pattern> made(new Pattern);
        const int code = regcomp(&made->regex_, text.c_str(), REG_EXTENDED | REG_NOSUB);
        made->compiled_ = code == 0;
        if (code == 0) return made;
        std::string why(256, '\0');
        why.resize(regerror(code, &made->regex_, why.data(), why.size()) - 1);
        return fail(ErrorKind::invalid, fmt::format("pattern '{}': {}", text, why));
    }
    ~Pattern() {
        if (compiled_) regfree(&regex_);
    }
    Pattern(const Pattern&) = delete;
    Pattern& operator=(const Pattern&) = delete;
    bool matches(const std::string& line) const {
        return regexec(&regex_, line.c_str(), 0, nullptr, 0) == 0;
    }

private:
    Pattern() = default;
    regex_t regex_{};
    bool compiled_ = false;
};

}  // namespace

Result<BootCheck> parse_boot_check(std::string_view word) {
    BootCheck check;
    const auto at = word.find('=');
    const auto name = word.substr(0, at);
    const bool has_value = at != std::string_view::npos;
    const auto value = has_value ? word.substr(at + 1) : std::string_view();
    if (!has_value && (name.empty() || name == "auto")) return check;
    if (!has_value && name == "agent") {
        check.kind = BootCheck::Kind::agent;
        return check;
    }
    if (!has_value && name == "none") {
        check.kind = BootCheck::Kind::none;
        return check;
    }
    if (name == "console") {
        check.kind = BootCheck::Kind::console;
        check.pattern = value;
        auto compiled = UNDERSTUDY_VALUE(Pattern::compile(check.pattern));
        return check;
    }
    if (name == "tcp" && has_value) {
        check.kind = BootCheck::Kind::tcp;
        const auto colon = value.rfind(':');
        auto address = colon == std::string_view::npos ? "" : value.substr(0, colon);
        if (address.starts_with('[') && address.ends_with(']'))
            address = address.substr(1, address.size() - 2);
        check.address = address;
        auto port = UNDERSTUDY_VALUE(
            parse_port(colon == std::string_view::npos ? value : value.substr(colon + 1)));
        check.port = port;
        return check;
    }
    return fail(Error(ErrorKind::invalid,
                      fmt::format("Understudy cannot wait for '{}'", word.substr(0, kMostPattern)))
                    .advising("Wait for agent, console=REGEX, tcp=PORT, tcp=ADDRESS:PORT or none; "
                              "auto chooses the agent when the VM has a channel for one."));
}

std::string to_words(const BootCheck& check) {
    switch (check.kind) {
        case BootCheck::Kind::automatic:
            return "the agent, else the console, else only that it keeps running";
        case BootCheck::Kind::agent: return "the guest agent";
        case BootCheck::Kind::console: return fmt::format("'{}' on the console", check.pattern);
        case BootCheck::Kind::tcp:
            return check.address.empty()
                       ? fmt::format("TCP port {}", check.port)
                       : fmt::format("TCP port {} of {}", check.port, check.address);
        case BootCheck::Kind::none: return "only that it keeps running";
    }
    return {};
}

BootCheck definite(const BootCheck& check, bool has_agent, bool has_console,
                   const std::string& configured) {
    if (check.kind != BootCheck::Kind::automatic) return check;
    BootCheck chosen;
    chosen.kind = has_agent                            ? BootCheck::Kind::agent
                  : has_console && !configured.empty() ? BootCheck::Kind::console
                                                       : BootCheck::Kind::none;
    if (chosen.kind == BootCheck::Kind::console) chosen.pattern = configured;
    return chosen;
}

namespace {

class Watcher {
public:
    Watcher(Work& work, const BootWatch& watch, std::string& tail)
        : work_(work), watch_(watch), tail_(tail), began_(now()), looked_(began_) {}

    Result<BootOutcome> run() {
        if (watch_.check.kind == BootCheck::Kind::console) {
            pattern_ = UNDERSTUDY_VALUE(Pattern::compile(watch_.check.pattern));
        }
        while (true) {
            UNDERSTUDY_TRY(work_.checkpoint());
            UNDERSTUDY_TRY(listen());
            auto over = ended();
            if (!over || *over) return outcome(std::move(over));
            auto answered = UNDERSTUDY_VALUE(asked());
            const auto took = now() - began_;
            if (answered) return BootOutcome{true, took, answer(took)};
            if (took >= watch_.limit) return BootOutcome{false, took, silence(took)};
            if (now() - looked_ >= kLookEvery) {
                looked_ = now();
                if (watch_.look) watch_.look();
            }
            tell(took);
            work_.site().clock.sleep(kPause);
        }
    }

private:
    Duration now() { return work_.site().clock.monotonic(); }

    static Result<BootOutcome> outcome(Result<std::optional<BootOutcome>> over) {
        if (!over) return error_of(over);
        return std::move(**over);
    }

    Result<> listen() {
        while (watch_.console != nullptr) {
            auto more = UNDERSTUDY_VALUE(watch_.console->more());
            if (more.empty()) return {};
            tail_ += more;
            if (tail_.size() > kConsoleTail) tail_.erase(0, tail_.size() - kConsoleTail);
            if (!pattern_ || matched_) continue;
            for (const char c : more) hear(c);
            // A prompt has no end of line.
            matched_ = matched_ || (!line_.empty() && pattern_->matches(line_));
        }
        return {};
    }

    void hear(char c) {
        const bool ends = c == '\n' || c == '\r';
        if (!ends) line_ += c == '\0' ? ' ' : c;
        if (!ends && line_.size() < kMostLine) return;
        matched_ = matched_ || (!line_.empty() && pattern_->matches(line_));
        line_.clear();
    }

    // What the guest did that ends the wait.
    Result<std::optional<BootOutcome>> ended() {
        auto vms = UNDERSTUDY_VALUE(work_.site().hypervisor.list());
        auto state = ports::VmState::stopped;
        for (const auto& vm : vms)
            if (vm.id == watch_.vm) state = vm.state;
        if (state == ports::VmState::running) return std::nullopt;
        UNDERSTUDY_TRY(listen());  // its last words
        const auto took = now() - began_;
        if (matched_) return BootOutcome{true, took, answer(took)};
        if (state == ports::VmState::stopped)
            return BootOutcome{
                false, took,
                fmt::format("the guest ended by itself after {}", base::format_duration(took))};
        return BootOutcome{false, took,
                           fmt::format("QEMU halted the guest after {}: it could not read or write "
                                       "a disk, or somebody paused it",
                                       base::format_duration(took))};
    }

    Result<bool> asked() {
        auto& hypervisor = work_.site().hypervisor;
        switch (watch_.check.kind) {
            case BootCheck::Kind::agent: return hypervisor.agent_answers(watch_.vm);
            case BootCheck::Kind::tcp:
                return hypervisor.answers_on(watch_.vm, watch_.check.address, watch_.check.port);
            case BootCheck::Kind::console: return matched_;
            case BootCheck::Kind::automatic:
            case BootCheck::Kind::none:
                return now() - began_ >= std::min(watch_.min_uptime, watch_.limit);
        }
        return false;
    }

    std::string answer(Duration took) const {
        const auto time = base::format_duration(took);
        switch (watch_.check.kind) {
            case BootCheck::Kind::agent: return "the guest agent answered after " + time;
            case BootCheck::Kind::console:
                return fmt::format("the console said '{}' after {}", watch_.check.pattern, time);
            case BootCheck::Kind::tcp:
                return fmt::format("port {} answered after {}", watch_.check.port, time);
            case BootCheck::Kind::automatic:
            case BootCheck::Kind::none: break;
        }
        return fmt::format("the guest still ran after {}; nothing in it was asked", time);
    }

    std::string silence(Duration took) const {
        const auto time = base::format_duration(took);
        if (watch_.check.kind == BootCheck::Kind::console && watch_.console == nullptr)
            return fmt::format("no answer within {}: the VM has no console", time);
        return fmt::format("{} did not come within {}", to_words(watch_.check), time);
    }

    void tell(Duration took) {
        model::Progress progress;
        progress.note = fmt::format("waiting for {}, {} so far", to_words(watch_.check),
                                    base::format_duration(Duration(took.count() / 1000 * 1000)));
        work_.progress(progress);
    }

    Work& work_;
    const BootWatch& watch_;
    std::string& tail_;
    Duration began_;
    Duration looked_;
    std::unique_ptr<Pattern> pattern_;
    std::string line_;
    bool matched_ = false;
};

}  // namespace

Result<BootOutcome> watch_boot(Work& work, const BootWatch& watch, std::string& console_tail) {
    return Watcher(work, watch, console_tail).run();
}

}  // namespace understudy::tasks
