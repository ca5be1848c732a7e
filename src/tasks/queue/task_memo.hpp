#pragma once

#include "model/task.hpp"
#include "tasks/records/record.hpp"

namespace understudy::tasks {

// A part of a task that is made of others: what a task of that kind would have in its row.
struct PartRecord {
    std::string kind;
    std::string step;  // to run next, or running; empty: from the beginning
    nlohmann::json arguments = nlohmann::json::object();
    nlohmann::json memo = nlohmann::json::object();
    nlohmann::json partial_result = nlohmann::json::object();
    std::optional<nlohmann::json> result;  // it has ended well, and is not run again

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("kind", self.kind);
        field("step", self.step);
        field("arguments", self.arguments);
        field("memo", self.memo);
        field("partial_result", self.partial_result);
        field("result", self.result);
    }
};

// How a task ended whose clean-up is not finished.
struct EndedAs {
    std::string kind;  // of its error
    std::string text;

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("kind", self.kind);
        field.required("text", self.text);
    }
};

// The memo of a task's row: its kind's own, and what the runner keeps beside it.
struct TaskMemo {
    static constexpr int kVersion = 1;
    std::uint64_t attempts_without_progress = 0;  // in a row
    std::optional<EndedAs> ended_as;
    std::map<std::string, PartRecord> parts;
    nlohmann::json memo = nlohmann::json::object();  // the kind's record

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("attempts_without_progress", self.attempts_without_progress);
        field("ended_as", self.ended_as);
        field("parts", self.parts);
        field("memo", self.memo);
    }
    // Version 0 had all of it in one object, under other names.
    static void upgrade(nlohmann::json& j, int from);
};

Result<TaskMemo> read_task_memo(const model::Task& task);
std::string write_task_memo(const TaskMemo& memo);

}  // namespace understudy::tasks
