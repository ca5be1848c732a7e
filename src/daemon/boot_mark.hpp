#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::daemon {

// Remembers in a file that something was done since the host booted. One thread.
class BootMark {
public:
    // `boot` names the host's present boot. Empty: it is not known, and nothing is remembered.
    BootMark(std::string path, std::string boot);

    bool is_set() const;  // for this boot; false also if the file cannot be read
    Result<> set();       // durable on return, even over a power loss; may be repeated

private:
    std::string path_;
    std::string boot_;
};

std::string this_boot();  // changes with every boot (random(4)); empty where the kernel has none

}  // namespace understudy::daemon
