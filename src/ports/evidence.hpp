#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <memory>
#include <string>
#include <vector>

namespace understudy::ports {

// Reads what a guest says while it says it. One thread.
class ConsoleLog {
public:
    virtual ~ConsoleLog() = default;
    // What was written since the last call, at most 64 KiB; empty: nothing more for now. Keeps the
    // file from growing without end, whatever the guest does.
    virtual Result<std::string> more() = 0;
};

struct EvidenceFile {
    std::string name;
    std::string bytes;
};

// What rehearsals leave for people, as files on this node, and the consoles of those that run.
// Thread-safe. Readable by this daemon's user alone.
class Evidence {
public:
    virtual ~Evidence() = default;
    // The path of an empty file that a rehearsal's console may be appended to.
    virtual Result<std::string> begin_console(const TaskId&) = 0;
    virtual Result<std::unique_ptr<ConsoleLog>> open_console(const TaskId&) = 0;
    virtual Result<> end_console(const TaskId&) = 0;  // fine if there is none
    // Keeps these under that name, durably, in place of what had it; of a VM the newest few names
    // (in alphabetical order) stay. The directory that they are in.
    virtual Result<std::string> keep(const VmId&, const std::string& name,
                                     const std::vector<EvidenceFile>&) = 0;
    virtual Result<> forget(const VmId&) = 0;  // all of it; fine if there is none
};

}  // namespace understudy::ports
