#pragma once

#include "daemon/boot_mark.hpp"
#include "tasks/queue/site.hpp"

#include <set>
#include <string>

namespace understudy::daemon {

// Starts the VMs whose libvirt autostart understudyd has taken over: once per boot of the host, not
// per start of the daemon. A VM that has a replica elsewhere starts when every such peer has
// answered and this cluster still owns it; until then it waits, and an operator may start it. One
// thread.
class Autostart {
public:
    // `done_file` remembers for which boot of the host all has been done. If it cannot be written,
    // every further round tries that again, and starts nothing.
    Autostart(tasks::Site& site, std::string done_file);

    // After a round of contacts: starts what may start now. `answered` are the peers that this
    // round has exchanged ownership with.
    void round(const std::set<ClusterId>& answered);

private:
    enum class Turn { done, waits };

    Result<std::set<VmId>> wanted() const;
    Result<Turn> consider(const VmId& id, const std::set<ClusterId>& answered);
    void say_once(const VmId& id, const std::string& text);

    tasks::Site& site_;
    BootMark mark_;
    bool looked_ = false;  // `waiting_` was filled
    bool done_;
    bool mark_failed_ = false;
    std::set<VmId> waiting_;
    std::set<VmId> told_;
};

}  // namespace understudy::daemon
