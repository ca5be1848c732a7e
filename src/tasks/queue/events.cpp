#include "tasks/queue/events.hpp"

#include <spdlog/spdlog.h>

namespace understudy::tasks {

model::Event new_event(Site& site, std::string_view actor, std::string_view kind,
                       std::optional<VmId> vm, std::string text) {
    model::Event event;
    event.time = site.clock.now();
    event.actor = actor.empty() ? "understudyd" : actor;
    event.kind = kind;
    event.vm = vm;
    event.text = std::move(text);
    return event;
}

void record_event(Site& site, std::string_view actor, std::string_view kind, std::optional<VmId> vm,
                  std::string text) {
    const auto event = new_event(site, actor, kind, vm, std::move(text));
    auto recorded = site.catalog.add_event(event);
    if (!recorded) spdlog::error("event '{}': {}", event.text, recorded.error().text());
    site.bells->changed.ring();
}

}  // namespace understudy::tasks
