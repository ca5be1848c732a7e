#pragma once

#include "base/units.hpp"
#include "ports/world.hpp"

#include <cstdint>
#include <vector>

namespace understudy::sim {

// Everything that is left to chance in one run, from one seed (SplitMix64).
class Chance final : public ports::Random {
public:
    explicit Chance(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() override {
        auto mixed = (state_ += 0x9E3779B97F4A7C15);
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return mixed ^ (mixed >> 31);
    }
    std::uint64_t below(std::uint64_t bound) { return next() % bound; }
    std::uint64_t between(std::uint64_t low, std::uint64_t high) {
        return low + below(high - low + 1);
    }
    bool one_in(std::uint64_t n) { return n != 0 && below(n) == 0; }  // 0: never
    template <class T>
    const T& pick(const std::vector<T>& of) {
        return of[below(of.size())];
    }

private:
    std::uint64_t state_;
};

// Time passes when somebody says so.
class StageClock final : public ports::Clock {
public:
    TimePoint now() override { return TimePoint(Duration(1'800'000'000'000) + passed_); }
    Duration monotonic() override { return passed_; }
    void sleep(Duration time) override { passed_ += time; }

private:
    Duration passed_{0};
};

// The clock of one cluster's hosts, which may be wrong.
class HostClock final : public ports::Clock {
public:
    explicit HostClock(StageClock& right) : right_(right) {}

    TimePoint now() override { return right_.now() + ahead_; }
    Duration monotonic() override { return right_.monotonic(); }
    void sleep(Duration time) override { right_.sleep(time); }
    void set_ahead(Duration ahead) { ahead_ = ahead; }  // less than 0: behind

private:
    StageClock& right_;
    Duration ahead_{0};
};

}  // namespace understudy::sim
