#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <string>
#include <vector>

namespace understudy::ports {

// What keeps the host's libvirt from starting a VM that must not run here, also by hands other than
// ours and while this daemon is down. Thread-safe.
class StartGuard {
public:
    virtual ~StartGuard() = default;
    // Durable when it returns. `why` is shown to whoever tries.
    virtual Result<> forbid(const VmId&, const std::string& why) = 0;
    virtual Result<> allow(const VmId&) = 0;  // idempotent
    virtual Result<std::vector<VmId>> forbidden() = 0;
};

}  // namespace understudy::ports
