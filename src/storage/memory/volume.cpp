#include "storage/memory/volume.hpp"

#include <algorithm>
#include <utility>

namespace understudy::memory {

Content& Layer::own_content() {
    if (content.use_count() > 1) content = std::make_shared<Content>(*content);
    return *content;
}

Layer* Volume::at(const std::string& location) {
    const auto found = std::ranges::find(layers, location, &Layer::location);
    return found == layers.end() ? nullptr : &*found;
}

Layer* Volume::find(Role role) {
    const auto found = std::ranges::find(layers, role, &Layer::role);
    return found == layers.end() ? nullptr : &*found;
}

Layer* Volume::find(Role role, const SnapshotId& snapshot) {
    const auto found = std::ranges::find_if(layers, [&](const Layer& layer) {
        return layer.role == role && layer.snapshot == snapshot;
    });
    return found == layers.end() ? nullptr : &*found;
}

std::vector<Layer*> Volume::children_of(const Layer& layer) {
    std::vector<Layer*> children;
    for (auto& other : layers)
        if (other.parent == layer.location) children.push_back(&other);
    return children;
}

bool Volume::is_above(const Layer& upper, const Layer& lower) {
    for (const Layer* layer = &upper; layer; layer = at(layer->parent))
        if (layer->location == lower.location) return true;
    return false;
}

bool Volume::is_under_head(const Layer& layer) {
    const auto* head = find(Role::head);
    return head && is_above(*head, layer);
}

View Volume::view(const Layer& top) {
    View view;
    for (const Layer* layer = &top; layer; layer = at(layer->parent))
        view.push_back({.content = layer->content, .size = layer->size});
    return view;
}

bool Volume::is_writable(const Layer& layer) const {
    return layer.role == Role::head || layer.role == Role::drill || layer.role == Role::successor ||
           (layer.role == Role::prepared && !in_place) ||
           (merge && merge->done && merge->base == layer.location);
}

void Volume::remove(const std::string& location) {
    std::erase_if(layers, [&](const Layer& layer) { return layer.location == location; });
    if (merge && (merge->base == location || merge->top == location)) merge.reset();
}

void Volume::unname(const SnapshotId& id) {
    if (auto* layer = find(Role::snapshot, id)) {
        layer->role = Role::unnamed;
        layer->snapshot = {};
    }
}

void Volume::prune() {
    for (;;) {
        const auto unneeded = std::ranges::find_if(layers, [&](const Layer& layer) {
            return layer.role == Role::unnamed && children_of(layer).empty();
        });
        if (unneeded == layers.end()) return;
        remove(std::string(unneeded->location));
    }
}

bool Volume::may_merge(const Layer& base, const Layer& top) {
    if (base.role != Role::unnamed) return false;
    if (top.role != Role::snapshot && top.role != Role::unnamed && top.role != Role::head)
        return false;
    return std::ranges::none_of(layers, [&](const Layer& layer) {
        if (layer.role == Role::drill || layer.role == Role::successor)
            return is_above(layer, base);
        if (layer.role == Role::incoming || layer.role == Role::prepared)
            return layer.parent == base.location || layer.parent == top.location;
        return false;
    });
}

Layer* Volume::next_merge(bool under_head) {
    for (auto& layer : layers) {
        const auto children = children_of(layer);
        if (children.size() != 1 || !may_merge(layer, *children.front())) continue;
        if (is_under_head(*children.front()) == under_head) return &layer;
    }
    return nullptr;
}

void Volume::merge_content(const Merge& of) {
    const auto& top = *at(of.top);
    auto& base = *at(of.base);
    if (top.size < base.size) base.own_content().cut(top.size);
    base.own_content().put_on_top(*top.content);
    base.size = top.size;
}

void Volume::finish_merge(const Merge& of) {
    const auto& top = *at(of.top);
    auto& base = *at(of.base);
    base.role = top.role;
    base.snapshot = top.snapshot;
    base.written = true;
    const bool stays = in_place && top.role == Role::head;
    const bool adopted = top.adopted;
    for (auto& layer : layers)
        if (layer.parent == of.top) layer.parent = of.base;
    remove(std::string(of.top));
    if (!stays) return;
    auto& head = *at(of.base);
    head.location = of.top;
    head.adopted = adopted;
}

void Volume::freeze(const SnapshotId& id, const std::string& location) {
    auto* head = find(Role::head);
    Layer frozen;
    frozen.location = location;
    frozen.parent = head->parent;
    frozen.size = head->size;
    frozen.role = Role::prepared;
    frozen.snapshot = id;
    frozen.content = std::exchange(head->content, std::make_shared<Content>());
    head->parent = location;
    layers.insert(std::ranges::find(layers, Role::head, &Layer::role), std::move(frozen));
}

void Volume::commit_back(const Layer& onto) {
    auto* head = find(Role::head);
    head->parent = onto.location;
    head->size = onto.size;
    head->snapshot = onto.snapshot;
    head->content = std::make_shared<Content>();
    head->written = false;
    rollback.reset();
    const auto last = *head;  // parents come before children
    std::erase_if(layers, [](const Layer& layer) { return layer.role == Role::head; });
    layers.push_back(last);
    prune();
}

void Volume::succeed(Layer& successor) {
    successor.role = Role::head;
    for (auto& layer : layers) {
        const bool old = layer.role == Role::head && &layer != &successor;
        if (!old && layer.role != Role::successor) continue;
        if (merge && merge->top == layer.location) merge.reset();
        layer.role = Role::unnamed;
        layer.snapshot = {};
    }
    prune();
}

void Volume::sweep(bool also_under_head) {
    for (;;) {
        prune();
        if (merge) return;
        const auto* base = next_merge(false);
        if (!base && also_under_head) base = next_merge(true);
        if (!base) return;
        const Merge step{
            .base = base->location, .top = children_of(*base).front()->location, .done = false};
        merge_content(step);
        finish_merge(step);
    }
}

}  // namespace understudy::memory
