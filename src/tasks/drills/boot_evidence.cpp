#include "tasks/drills/boot_evidence.hpp"

#include <fmt/format.h>

#include <algorithm>

// The files of one look at a guest: result.json always, screen.png and console.txt if there is
// anything in them. A crash may leave some of the files: the attempt after it looks anew and keeps
// what it saw under a name of its own.

namespace understudy::tasks {

Result<std::string> keep_boot_evidence(Work& work, const VmId& vm, TimePoint ended,
                                       const BootEvidence& evidence) {
    auto name = base::format_time(ended).substr(0, 19);
    std::ranges::replace(name, ':', '-');
    // A guest may print bytes that are not UTF-8. They must not end the dump.
    std::vector<ports::EvidenceFile> files{
        {"result.json",
         evidence.report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"}};
    if (!evidence.screen.empty()) files.push_back({"screen.png", evidence.screen});
    if (!evidence.console.empty()) files.push_back({"console.txt", evidence.console});
    return work.site().evidence->keep(
        vm, fmt::format("{}-{}", name, work.task().id.text().substr(0, 8)), files);
}

}  // namespace understudy::tasks
