#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::qcow2 {

// Called between two durable steps with the step's name. Set by tests only, to end the process
// there; empty in production. Process-wide.
using CrashHook = void (*)(std::string_view step);
extern std::atomic<CrashHook> crash_hook;
inline void crash_point(std::string_view step) {
    if (const auto hook = crash_hook.load(std::memory_order_relaxed)) hook(step);
}

// base::replace_file, private; a no_space error says how much room there is.
Result<> write_durably(const std::string& path, std::string_view text);
// base::make_directories with mode 0711, because QEMU under its own user must reach the files that
// libvirt gives to it. A no_space error says how much room there is.
Result<> make_directory(const std::string& path);
Result<> remove_file(const std::string& path);       // fine if it is not there; not made durable
Result<> remove_directory(const std::string& path);  // as remove_file; stays if it is not empty
// The reserve is room set aside, so that a full pool can still be told to let go of something.
// keep_reserve makes the file if it is missing and there is plenty of room. release_reserve gives
// the room back; false: there was no reserve.
void keep_reserve(const std::string& path);
bool release_reserve(const std::string& path);
bool file_exists(const std::string& path);
Result<std::vector<std::string>> list_directory(const std::string& path);  // names; none if missing
std::string change_stamp(const std::string& path);  // differs after every change; empty: missing
ByteSize allocated_bytes(const std::string& path);  // 0 for a missing file

struct FreeSpace {
    ByteSize total;
    ByteSize free;  // for a process without special rights
};
Result<FreeSpace> free_space(const std::string& path);
// Adds to a no_space error what there is, and what is needed if that is known (0: not known).
Error with_free_space(Error error, const std::string& directory, ByteSize needed = ByteSize(0));

}  // namespace understudy::qcow2
