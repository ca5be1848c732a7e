#include "engine/outlook.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::engine {

std::string why_not(const ReplicaStatus& replica) {
    if (!replica.age) return "nothing of it has arrived whole yet";
    if (!replica.blocked.empty())
        return fmt::format("{} {} in the way", fmt::join(replica.blocked, ", "),
                           replica.blocked.size() == 1 ? "is" : "are");
    if (replica.equal == false) return "it was found to differ from its source";
    if (replica.boots == false) return "its last drill failed";
    return "";
}

namespace {

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
    return fmt::format("{}", fmt::join(parts, between));
}

std::string come_back_text(const std::string& peer, const Outlook& seen) {
    if (seen.all == 1)
        return fmt::format("If '{}' were lost now, its one VM here {} come back", peer,
                           seen.come_back == 1 ? "would" : "would NOT");
    if (seen.come_back == seen.all)
        return fmt::format("If '{}' were lost now, all {} of its VMs would come back here", peer,
                           seen.all);
    return fmt::format("If '{}' were lost now, {} of {} VMs would come back here", peer,
                       seen.come_back == 0 ? "NONE" : std::to_string(seen.come_back), seen.all);
}

std::string time_text(const Outlook& seen) {
    if (!seen.slowest) return "how long it would take is unknown: no drill has passed";
    std::string text = fmt::format("the slowest took {} to come up in its drill",
                                   base::format_duration(*seen.slowest));
    if (seen.undrilled > 0) text += fmt::format(", {} never drilled", seen.undrilled);
    return text;
}

}  // namespace

Outlook outlook(const std::string& peer, const std::vector<ReplicaStatus>& replicas) {
    Outlook seen;
    std::string loser;
    std::vector<std::string> late;
    std::vector<std::string> missing;
    for (const auto& replica : replicas) {
        ++seen.all;
        if (replica.is_late()) late.push_back(replica.name);
        if (const auto why = why_not(replica); !why.empty()) {
            missing.push_back(fmt::format("{} ({})", replica.name, why));
            continue;
        }
        ++seen.come_back;
        if (!seen.worst_loss || *replica.age > *seen.worst_loss) {
            seen.worst_loss = replica.age;
            loser = replica.name;
        }
        if (replica.boots == true)
            seen.slowest = std::max(seen.slowest.value_or(Duration(0)), replica.ready);
        else
            ++seen.undrilled;
    }
    seen.late = late.size();
    seen.text = come_back_text(peer, seen);
    if (seen.worst_loss)
        seen.text += fmt::format(", without what was written in the last {}{}; {}",
                                 base::format_duration(*seen.worst_loss),
                                 seen.come_back > 1 ? " (" + loser + ")" : "", time_text(seen));
    seen.text += ".";
    if (!missing.empty()) seen.text += fmt::format(" Not {}.", joined(missing, "; "));
    if (!late.empty()) seen.text += fmt::format(" Later than wished: {}.", joined(late, ", "));
    return seen;
}

}  // namespace understudy::engine
