#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <memory>
#include <string>
#include <vector>

namespace understudy::ports {

// Reads a guest's console while the guest writes to it. For one thread.
class ConsoleLog {
public:
    virtual ~ConsoleLog() = default;
    // What was written since the last call, at most 64 KiB. Empty: nothing more for now. If the
    // file has become too large, it is emptied once all of it was read.
    virtual Result<std::string> more() = 0;
};

struct EvidenceFile {
    std::string name;
    std::string bytes;
};

// The files on this node that rehearsals leave for people, and the consoles of rehearsals that run.
// Thread-safe. Only this daemon's user can read them.
class Evidence {
public:
    virtual ~Evidence() = default;
    // The path of an empty file that a rehearsal's console may be appended to.
    virtual Result<std::string> begin_console(const TaskId&) = 0;
    virtual Result<std::unique_ptr<ConsoleLog>> open_console(const TaskId&) = 0;
    virtual Result<> end_console(const TaskId&) = 0;  // fine if there is none
    // Keeps these files under that name, durably. A file of the same name there is replaced. Of
    // each VM the last few names in alphabetical order are kept, and older ones are removed. Gives
    // the directory that the files are in.
    virtual Result<std::string> keep(const VmId&, const std::string& name,
                                     const std::vector<EvidenceFile>&) = 0;
    virtual Result<> forget(const VmId&) = 0;  // all of it; fine if there is none
};

}  // namespace understudy::ports
