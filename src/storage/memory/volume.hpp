#pragma once

#include "base/ids.hpp"
#include "ports/storage.hpp"
#include "storage/memory/content.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::memory {

enum class Role { snapshot, unnamed, head, drill, successor, prepared, incoming };

struct Layer {
    std::string location;  // unique in the pool
    std::string parent;    // location of the layer below; empty: none
    bool adopted = false;
    ByteSize size;
    Role role = Role::head;
    SnapshotId snapshot;  // held, or to be held; for head and drill: activated from
    SnapshotId base;      // incoming: what it was begun on
    std::shared_ptr<Content> content = std::make_shared<Content>();
    Content unsynced;      // incoming: written since the last flush
    bool written = false;  // by a guest, since it was made

    // Content to change; readers keep what they opened.
    Content& own_content();
};

struct Merge {
    std::string base;
    std::string top;
    bool done = false;  // the hypervisor did it
};

// One volume's layers and what happens to them, without locks and capacity.
class Volume {
public:
    ports::VolumeLabel label;
    std::vector<Layer> layers;  // parents before children
    std::optional<Merge> merge;
    bool in_place = false;               // as PoolState's
    std::optional<SnapshotId> rollback;  // in place: the head is to go back to it

    Layer* at(const std::string& location);
    Layer* find(Role role);
    Layer* find(Role role, const SnapshotId& snapshot);
    std::vector<Layer*> children_of(const Layer& layer);
    bool is_above(const Layer& upper, const Layer& lower);
    bool is_under_head(const Layer& layer);
    View view(const Layer& top);
    bool is_writable(const Layer& layer) const;

    void remove(const std::string& location);
    void unname(const SnapshotId& id);
    void prune();                         // unnamed layers that nothing needs
    void succeed(Layer& successor);       // it becomes the head; the one that was there goes
    void sweep(bool also_under_head);     // merges all that can be
    Layer* next_merge(bool under_head);   // the base of one
    void merge_content(const Merge& of);  // base gets what top holds
    void finish_merge(const Merge& of);   // base takes the place of top
    void freeze(const SnapshotId& id, const std::string& location);  // in place: below the head
    void commit_back(const Layer& onto);                             // in place: the head

private:
    bool may_merge(const Layer& base, const Layer& top);
};

}  // namespace understudy::memory
