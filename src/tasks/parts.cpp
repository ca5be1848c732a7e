#include "tasks/parts.hpp"

#include "tasks/arguments.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

using nlohmann::json;

constexpr const char* kParts = "parts";

json object(const std::string& text) {
    auto parsed = json::parse(text, nullptr, false);
    return parsed.is_object() ? std::move(parsed) : json::object();
}

json object_in(const json& j, const char* name) {
    const auto found = j.find(name);
    return found != j.end() && found->is_object() ? *found : json::object();
}

}  // namespace

// A Work whose record is a part of another's memo.
class Part {
public:
    Part(Work& whole, const std::string& name) : work_(whole, name) {}

    Work& work() { return work_; }

    Result<> run(const Kind& kind) {
        for (auto i = index_of(kind); i < kind.steps.size(); ++i) {
            const auto& step = kind.steps[i];
            work_.part_step_ = step.name;
            UNDERSTUDY_TRY(work_.save_memo());
            if (!step.must_go_on) UNDERSTUDY_TRY(work_.checkpoint());
            auto done = run_step(work_, step);
            if (done) continue;
            if (done.error().kind() == ErrorKind::conflict && !step.must_go_on) {
                work_.part_step_.clear();
                UNDERSTUDY_TRY(work_.save_memo());
            }
            return done;
        }
        return work_.save_memo();
    }

private:
    std::size_t index_of(const Kind& kind) const {
        const auto found = std::ranges::find(kind.steps, work_.part_step_, &Step::name);
        return found == kind.steps.end() ? 0 : static_cast<std::size_t>(found - kind.steps.begin());
    }

    Work work_;
};

Result<json> run_part(Work& whole, const std::string& name, const Kind& kind,
                      const json& arguments) {
    auto& parts = whole.memo()[kParts];
    if (!parts.contains(name)) parts[name] = {{"kind", kind.name}, {"arguments", arguments}};
    if (parts[name].contains("result")) return parts[name]["result"];
    Part part(whole, name);
    UNDERSTUDY_TRY(part.run(kind));
    whole.memo()[kParts][name]["result"] = part.work().result();
    UNDERSTUDY_TRY(whole.save_memo());
    return part.work().result();
}

Result<> undo_parts(Work& whole, const std::vector<Kind>& kinds) {
    const auto parts = object_in(whole.memo(), kParts);
    for (const auto& [name, record] : parts.items()) {
        if (record.contains("result")) continue;
        const auto kind = std::ranges::find(kinds, text_in(record, "kind"), &Kind::name);
        if (kind == kinds.end() || kind->on_failure == nullptr) continue;
        Part part(whole, name);
        UNDERSTUDY_TRY(kind->on_failure(part.work()));
    }
    whole.memo().erase(kParts);
    return {};
}

bool has_part(Work& whole, const std::string& name) {
    return whole.memo().contains(kParts) && whole.memo()[kParts].contains(name);
}

void forget_part(Work& whole, const std::string& name) {
    if (whole.memo().contains(kParts)) whole.memo()[kParts].erase(name);
}

std::string stamped_name(Site& site, std::string_view prefix) {
    auto name = fmt::format("{}-{}", prefix, base::format_time(site.clock.now()));
    std::erase_if(name, [](char c) { return c == ':'; });
    return name;
}

std::vector<TaskPart> parts_of(const model::Task& task) {
    std::vector<TaskPart> all;
    all.push_back({task.kind, task.step, object(task.arguments), object(task.memo)});
    const auto parts = object_in(all.front().memo, kParts);
    for (const auto& record : parts) {
        if (!record.is_object() || record.contains("result")) continue;
        all.push_back({text_in(record, "kind"), text_in(record, "step"),
                       object_in(record, "arguments"), object_in(record, "memo")});
    }
    return all;
}

}  // namespace understudy::tasks
