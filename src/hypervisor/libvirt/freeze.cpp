#include "hypervisor/libvirt/freeze.hpp"

#include <chrono>

namespace understudy::libvirt {
namespace {

constexpr int kThawAttempts = 5;
constexpr std::chrono::milliseconds kBetweenAttempts{100};

}  // namespace

Freeze::Freeze(const Call& freeze, Call thaw, Duration limit) : thaw_(std::move(thaw)) {
    // The watchdog starts first, so the limit counts from the moment in which the guest is asked.
    watchdog_ = std::thread([this, limit] { watch(limit); });
    const bool frozen = freeze().has_value();
    std::unique_lock lock(mutex_);
    if (frozen && state_ == State::frozen) {
        held_ = true;
        return;
    }
    // Either the limit passed while the guest was still freezing, and the watchdog's thaw may have
    // come too early; or freezing failed half way. In both cases it must not stay frozen.
    changed_.wait(lock, [this] { return state_ != State::thawing; });
    state_ = State::frozen;
    thaw_locked(lock);
    state_ = State::thawed;
}

Freeze::~Freeze() {
    if (!asked_) thaw();
    watchdog_.join();
}

bool Freeze::held() {
    const std::unique_lock lock(mutex_);
    return held_ && state_ == State::frozen;
}

bool Freeze::thaw() {
    std::unique_lock lock(mutex_);
    asked_ = true;
    const bool held = held_ && state_ == State::frozen;
    thaw_locked(lock);
    state_ = State::thawed;  // no more can be done; the watchdog need not try
    changed_.notify_all();
    return held;
}

void Freeze::thaw_locked(std::unique_lock<std::mutex>& lock) {
    changed_.wait(lock, [this] { return state_ != State::thawing; });
    if (state_ == State::thawed) return;
    state_ = State::thawing;
    held_ = false;
    changed_.notify_all();
    lock.unlock();
    bool thawed = false;
    for (int attempt = 0; attempt < kThawAttempts && !thawed; ++attempt) {
        if (attempt > 0) std::this_thread::sleep_for(kBetweenAttempts);
        thawed = thaw_().has_value();
    }
    lock.lock();
    state_ = thawed ? State::thawed : State::frozen;
    changed_.notify_all();
}

void Freeze::watch(Duration limit) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, limit, [this] { return state_ != State::frozen; })) return;
    thaw_locked(lock);
}

}  // namespace understudy::libvirt
