#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/units.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <memory>
#include <utility>

namespace understudy::libvirt {

// How long a VM is waited for to stand still: what it wrote must reach its disks meanwhile.
inline constexpr Duration kPauseLimit{10'000};

// Pausing VMs in bounded time. QEMU says that a VM stands still once all that it wrote has reached
// its disks; storage that is silent keeps it, and every caller of virDomainSuspend, waiting until
// it is back. Here a caller is let go of after a limit, and what is to become of the VM when QEMU
// answers after all is remembered. One for all VMs of a connection; thread-safe.
class Pauses {
public:
    // What a pause that came too late for its caller turns into.
    enum class Late { go_on, stay_paused };

    // Until a running VM stands still. unavailable: QEMU has not answered within the limit.
    Result<> pause(virDomainPtr domain, Duration limit, Late late);
    // unavailable: QEMU has not answered an earlier pause(), and `late` is what becomes of that.
    Result<> set_late_action(virDomainPtr domain, Late late);

private:
    class Attempt;
    struct Attempts;
    // Outlives this object for as long as QEMU does not answer.
    std::shared_ptr<Attempts> attempts_ = make();
    static std::shared_ptr<Attempts> make();
};

// Keeps a running domain paused for as long as it lives; one that is paused already it leaves so.
class Pause {
public:
    static Result<Pause> begin(Pauses& pauses, virDomainPtr domain);  // as Pauses::pause
    // Failed: the domain is still paused, and how to help it.
    Result<> end();
    void leave() { domain_ = nullptr; }  // it stays paused
    ~Pause() { (void)end(); }
    Pause(Pause&& other) noexcept : domain_(std::exchange(other.domain_, nullptr)) {}
    Pause& operator=(Pause&&) = delete;

private:
    explicit Pause(virDomainPtr domain) : domain_(domain) {}
    virDomainPtr domain_;
};

}  // namespace understudy::libvirt
