#include "hypervisor/libvirt/pauses.hpp"

#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/snapshot.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

// Pauses VMs in bounded time. Each pause() has a thread that calls libvirt and waits for QEMU,
// however long; the caller waits at most its limit and then gets `unavailable`. When QEMU answers
// after all, the thread lets the VM go on or leaves it paused, as the latest call asked (`late`).
// If this process ends while a VM is paused, it stays so: the snapshot's task lets it go on at its
// next attempt.

namespace understudy::libvirt {
namespace {

constexpr const char* kAdvice =
    "Look after the storage of its disks; the VM goes on by itself once that answers.";

Result<> let_go_on(virDomainPtr domain) {
    if (virDomainResume(domain) == 0) return {};
    return fail(domain_error(domain, "resume")
                    .advising("The VM is still paused: `virsh resume` lets it go on."));
}

// Waits however long it takes. If this fails and the VM is to go on, then it goes on, or the error
// says that it is still paused.
Result<> suspend(virDomainPtr domain, Pauses::Late late) {
    if (virDomainSuspend(domain) == 0) return {};
    auto error = domain_error(domain, "pause");
    if (late == Pauses::Late::stay_paused) return fail(std::move(error));
    // The VM may stand still although libvirt could not say so.
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(domain, &state, nullptr, 0) == 0 && state != VIR_DOMAIN_PAUSED)
        return fail(std::move(error));
    if (auto resumed = let_go_on(domain); !resumed)
        return fail(std::move(resumed.error()).during(error.what()));
    return fail(std::move(error));
}

std::unexpected<Error> still_waiting(virDomainPtr domain, Pauses::Late late) {
    auto error = Error(ErrorKind::unavailable,
                       fmt::format("{} does not stand still yet: QEMU waits for the storage of its "
                                   "disks",
                                   label(domain)));
    return late == Pauses::Late::go_on ? fail(std::move(error).advising(kAdvice))
                                       : fail(std::move(error));
}

}  // namespace

// One call to libvirt; `result` and `late` are under the mutex of all attempts.
class Pauses::Attempt {
public:
    std::optional<Result<>> result;
    bool waited_for = true;
    Late late = Late::go_on;
};

struct Pauses::Attempts {
    std::mutex mutex;
    std::condition_variable changed;
    // Attempts that nobody waits for any more; under the mutex.
    std::map<VmId, std::shared_ptr<Attempt>> under_way;
};

namespace {

Result<VmId> id_of(virDomainPtr domain) {
    base::UuidBytes bytes{};
    if (virDomainGetUUID(domain, bytes.data()) < 0)
        return fail(domain_error(domain, "read the UUID of"));
    return VmId(bytes);
}

}  // namespace

std::shared_ptr<Pauses::Attempts> Pauses::make() {
    return std::make_shared<Attempts>();
}

Result<> Pauses::pause(virDomainPtr domain, Duration limit, Late late) {
    UNDERSTUDY_TRY(set_late_action(domain, late));
    auto id = id_of(domain);
    if (!id) return error_of(id);
    const auto attempts = attempts_;
    const auto attempt = std::make_shared<Attempt>();
    attempt->late = late;
    virDomainRef(domain);
    const auto own = std::make_shared<DomainHandle>(domain);
    std::unique_lock lock(attempts->mutex);
    try {
        std::thread([attempts, attempt, own, late, id = *id] {
            auto result = suspend(own->get(), late);
            const bool paused = result.has_value();
            std::unique_lock done(attempts->mutex);
            attempt->result = std::move(result);
            attempts->changed.notify_all();
            if (attempt->waited_for) return;  // the caller, who still waits, does the rest
            const bool resume = paused && attempt->late == Late::go_on;
            done.unlock();
            // The guest did not hear a thaw that fell due while it stood still, so it is thawed
            // again.
            if (resume && let_go_on(own->get())) (void)thaw(own->get());
            done.lock();
            if (attempts->under_way[id] == attempt) attempts->under_way.erase(id);
        }).detach();
    } catch (const std::system_error& error) {
        return fail(ErrorKind::unavailable,
                    fmt::format("start a thread that waits for QEMU: {}", error.what()));
    }
    attempts->changed.wait_for(lock, limit, [&] { return attempt->result.has_value(); });
    if (attempt->result) return std::move(*attempt->result);
    attempt->waited_for = false;
    attempts->under_way[*id] = attempt;
    lock.unlock();
    return still_waiting(domain, late);
}

Result<> Pauses::set_late_action(virDomainPtr domain, Late late) {
    auto id = UNDERSTUDY_VALUE(id_of(domain));
    {
        const std::lock_guard lock(attempts_->mutex);
        const auto at = attempts_->under_way.find(id);
        if (at == attempts_->under_way.end()) return {};
        at->second->late = late;
    }
    return still_waiting(domain, late);
}

Result<Pause> Pause::begin(Pauses& pauses, virDomainPtr domain) {
    UNDERSTUDY_TRY(pauses.set_late_action(domain, Pauses::Late::go_on));
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(domain, &state, nullptr, 0) < 0)
        return fail(domain_error(domain, "look at"));
    if (state != VIR_DOMAIN_RUNNING && state != VIR_DOMAIN_BLOCKED) return Pause(nullptr);
    UNDERSTUDY_TRY(pauses.pause(domain, kPauseLimit, Pauses::Late::go_on));
    return Pause(domain);
}

Result<> Pause::end() {
    auto* domain = std::exchange(domain_, nullptr);
    if (domain == nullptr) return {};
    return let_go_on(domain);
}

}  // namespace understudy::libvirt
