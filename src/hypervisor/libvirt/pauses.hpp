#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/units.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <memory>
#include <utility>

namespace understudy::libvirt {

// For how long a caller waits until a VM stands still. All that the VM wrote must reach its disks
// meanwhile.
inline constexpr Duration kPauseLimit{10'000};

// Pauses VMs in bounded time. QEMU reports that a VM stands still once all that the VM wrote has
// reached its disks. While their storage is silent, QEMU waits for it, and so does every caller of
// virDomainSuspend. Here a caller waits only up to a limit, and this class remembers what to do
// with the VM when QEMU answers later. One object for all VMs of a connection; thread-safe.
class Pauses {
public:
    // What becomes of the VM if the pause comes too late for its caller.
    enum class Late { go_on, stay_paused };

    // Returns when a running VM stands still. unavailable: QEMU has not answered within the limit.
    Result<> pause(virDomainPtr domain, Duration limit, Late late);
    // unavailable: QEMU has not answered an earlier pause(). `late` then decides what happens to
    // the VM when that pause() is done.
    Result<> set_late_action(virDomainPtr domain, Late late);

private:
    class Attempt;
    struct Attempts;
    // Outlives this object for as long as QEMU does not answer.
    std::shared_ptr<Attempts> attempts_ = make();
    static std::shared_ptr<Attempts> make();
};

// Keeps a running domain paused for as long as this lives. A domain that is paused already stays
// paused.
class Pause {
public:
    static Result<Pause> begin(Pauses& pauses, virDomainPtr domain);  // as Pauses::pause
    // If this fails, the domain is still paused, and the error says what to do.
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
