#include "trace.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace understudy::sim {

void Trace::mix(std::string_view text) {
    for (const char letter : text)
        hash_ = (hash_ ^ static_cast<unsigned char>(letter)) * 0x100000001B3;
}

void Trace::event(Duration when, std::string_view who, const std::string& what) {
    mix(who);
    mix(what);
    if (loud_ == Loud::silent) return;
    fmt::print("{:>9.3f}  {:<3} {}\n", static_cast<double>(when.count()) / 1000, who, what);
    std::fflush(stdout);
}

void Trace::call(Duration when, std::string_view who, std::string_view name) {
    ++calls_;
    mix(who);
    mix(name);
    if (loud_ == Loud::calls)
        fmt::print("{:>9.3f}  {:<3}     {}\n", static_cast<double>(when.count()) / 1000, who, name);
}

}  // namespace understudy::sim
