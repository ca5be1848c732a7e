#pragma once

#include "ports/evidence.hpp"
#include "tasks/queue/work.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace understudy::tasks {

// How to find out whether a guest has booted.
struct BootCheck {
    enum class Kind {
        automatic,  // its agent if it has a channel for one, else a configured pattern, else none
        agent,      // the guest agent answers
        console,    // a line of its console matches
        tcp,        // a connection can be made
        none,       // it still runs after a while: no proof, and said so
    };
    Kind kind = Kind::automatic;
    std::string pattern;     // console: a POSIX extended regular expression, as of `grep -E`
    std::string address;     // tcp: empty: what libvirt knows of the guest
    std::uint16_t port = 0;  // tcp
    bool operator==(const BootCheck&) const = default;
};

inline constexpr std::uint64_t kLongestBoot = 24ULL * 3600 * 1000;  // ms that may be asked for

// "auto" or "", "agent", "console=REGEX", "tcp=PORT", "tcp=ADDRESS:PORT", "none".
Result<BootCheck> parse_boot_check(std::string_view word);
std::string to_words(const BootCheck& check);  // what is waited for, for people
// Replaces an automatic check by a definite one. `configured` is a console's pattern, or empty.
BootCheck definite(const BootCheck& check, bool has_agent, bool has_console,
                   const std::string& configured);

// A guest that was just started, and how to watch it. Borrowed parts outlive it.
struct BootWatch {
    VmId vm;
    BootCheck check;                       // definite
    Duration limit;                        // no longer than that
    Duration min_uptime;                   // for the check `none`: how long it must run
    ports::ConsoleLog* console = nullptr;  // none: it has no console that is heard
    std::function<void()> look;            // called now and then, to take a picture of the screen
};

struct BootOutcome {
    bool booted = false;
    Duration took{0};
    std::string text;  // what came of it, for people
};

inline constexpr std::size_t kConsoleTail = 64 << 10;  // bytes of the console that are kept

// Waits until the check is answered, the guest has ended or the time is over. Errors are of the
// hypervisor, or cancelled. The end of the console's output goes to `console_tail`.
Result<BootOutcome> watch_boot(Work& work, const BootWatch& watch, std::string& console_tail);

}  // namespace understudy::tasks
