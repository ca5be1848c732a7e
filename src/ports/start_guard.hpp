#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <string>
#include <vector>

namespace understudy::ports {

// Keeps the host's libvirt from starting a VM that must not run here, also if somebody else than
// this daemon starts it, and while this daemon is down. Thread-safe.
class StartGuard {
public:
    virtual ~StartGuard() = default;
    // Durable when it returns. `why` is shown to whoever tries to start the VM.
    virtual Result<> forbid(const VmId&, const std::string& why) = 0;
    virtual Result<> allow(const VmId&) = 0;  // idempotent
    virtual Result<std::vector<VmId>> forbidden() = 0;
};

}  // namespace understudy::ports
