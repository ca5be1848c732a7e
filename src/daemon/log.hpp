#pragma once

namespace understudy::daemon {

// Sends the log to stderr, one line each: TIME LEVEL TEXT. If stderr is the journal's, a line is
// the priority in angle brackets and the text (sd-daemon(3)), because the journal adds the time.
void set_up_log();

}  // namespace understudy::daemon
