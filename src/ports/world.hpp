#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <cstdint>

namespace understudy::ports {

// The time. A simulation has a clock of its own. Thread-safe.
class Clock {
public:
    virtual ~Clock() = default;
    virtual TimePoint now() = 0;            // wall clock
    virtual Duration monotonic() = 0;       // since some fixed moment; never goes back
    virtual void sleep(Duration time) = 0;  // at least this long, unless the process is stopping
};

// Random bits for ids; a simulation seeds them. Secrets are not made from these. Thread-safe.
class Random {
public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;

    template <class AnyId>
    AnyId id() {
        const auto high = next();
        return AnyId(base::uuid_from_random(high, next()));
    }
};

}  // namespace understudy::ports
