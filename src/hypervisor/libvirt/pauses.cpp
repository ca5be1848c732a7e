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

namespace understudy::libvirt {
namespace {

constexpr const char* kAdvice =
    "Look after the storage of its disks; the VM goes on by itself once that answers.";

Result<> let_go_on(virDomainPtr domain) {
    if (virDomainResume(domain) == 0) return {};
    return fail(domain_error(domain, "resume")
                    .advising("The VM is still paused: `virsh resume` lets it go on."));
}

// However long it takes. Failed for one that is to go on: it does, or the error says otherwise.
Result<> suspend(virDomainPtr domain, Pauses::Late late) {
    if (virDomainSuspend(domain) == 0) return {};
    auto error = domain_error(domain, "pause");
    if (late == Pauses::Late::stay_paused) return fail(std::move(error));
    // It may stand still although libvirt could not say so.
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
    // Those that nobody waits for any more; under the mutex.
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
            if (attempt->waited_for) return;  // the one who waits takes it from here
            const bool resume = paused && attempt->late == Late::go_on;
            done.unlock();
            // A thaw that fell due while it stood still was not heard.
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
