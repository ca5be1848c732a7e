#include "model/snapshot.hpp"

#include <queue>
#include <unordered_map>

namespace understudy::model {
namespace {

struct Later {
    const std::vector<Snapshot>& all;

    bool operator()(std::size_t a, std::size_t b) const {
        const auto& one = all[a];
        const auto& other = all[b];
        if (one.epoch != other.epoch) return one.epoch > other.epoch;
        if (one.taken != other.taken) return one.taken > other.taken;
        return a > b;
    }
};

}  // namespace

void sort_by_lineage(std::vector<Snapshot>& snapshots) {
    std::unordered_map<SnapshotId, std::size_t> at;
    for (std::size_t i = 0; i < snapshots.size(); ++i) at[snapshots[i].id] = i;
    std::vector<std::vector<std::size_t>> children(snapshots.size());
    std::priority_queue<std::size_t, std::vector<std::size_t>, Later> ready(Later{snapshots});
    for (std::size_t i = 0; i < snapshots.size(); ++i) {
        const auto& parent = snapshots[i].parent;
        const auto found = parent ? at.find(*parent) : at.end();
        if (found == at.end())
            ready.push(i);
        else
            children[found->second].push_back(i);
    }
    std::vector<Snapshot> sorted;
    while (!ready.empty()) {
        const auto next = ready.top();
        ready.pop();
        sorted.push_back(snapshots[next]);
        for (const auto child : children[next]) ready.push(child);
    }
    snapshots = std::move(sorted);
}

}  // namespace understudy::model
