#pragma once

namespace understudy::daemon {

// Sends the log to stderr, a line each: TIME LEVEL TEXT, or, where stderr is the journal's, the
// text behind its priority in angle brackets (sd-daemon(3)), as the journal has a time of its own.
void set_up_log();

}  // namespace understudy::daemon
