#pragma once

#include "daemon/boot_mark.hpp"
#include "tasks/queue/site.hpp"

#include <set>
#include <string>

namespace understudy::daemon {

// Starts the VMs whose libvirt autostart understudyd has taken over: once per boot of the host, and
// not at each start of the daemon. A VM that has replicas at peers is started once all these peers
// have answered, if this cluster still owns it then. Until then it waits, and an operator may start
// it. For one thread.
class Autostart {
public:
    // `done_file` keeps for which boot of the host all VMs have been started. If it cannot be
    // written, each further round tries to write it again, and starts nothing.
    Autostart(tasks::Site& site, std::string done_file);

    // Called after each round of contacts. Starts the VMs that may start now. `answered` are the
    // peers with which ownership was exchanged in this round.
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
