#pragma once

#include "base/units.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::sim {

// What happened in a run, in order: as one hash, and for people who ask as lines.
class Trace {
public:
    enum class Loud { silent, events, calls };

    explicit Trace(Loud loud) : loud_(loud) {}

    void event(Duration when, std::string_view who, const std::string& what);
    void call(Duration when, std::string_view who, std::string_view name);  // of a port
    std::uint64_t hash() const { return hash_; }
    std::uint64_t calls() const { return calls_; }

private:
    void mix(std::string_view text);

    const Loud loud_;
    std::uint64_t hash_ = 0xCBF29CE484222325;  // FNV-1a
    std::uint64_t calls_ = 0;
};

}  // namespace understudy::sim
