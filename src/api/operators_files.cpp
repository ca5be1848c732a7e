#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "base/shell_word.hpp"
#include "model/json.hpp"
#include "tasks/files/export_directory.hpp"
#include "tasks/kinds.hpp"
#include "tasks/records/file_records.hpp"

#include <fmt/format.h>

#include <algorithm>

// Calls that export a snapshot to files on the daemon's node, or import one from there. Both check
// the request and queue a task, which does the work. An import first reads the export's description
// (read_export) to learn which VM the task is about. The ids of a new VM and of its snapshot are
// chosen here and stand in the task's arguments, so that every attempt uses the same ones.

namespace understudy::api {
namespace {

using nlohmann::json;

Result<std::string> directory_field(const json& body, const char* name) {
    auto path = text_field(body, name);
    if (!path) return path;
    if (!path->empty() && (path->front() != '/' || path->find('\0') != path->npos))
        return fail(ErrorKind::invalid,
                    fmt::format("field '{}' must be an absolute path on the daemon's node", name));
    return path;
}

Result<std::string> required_directory(const json& body) {
    auto path = directory_field(body, "directory");
    if (path && path->empty()) return fail(ErrorKind::invalid, "field 'directory' is missing");
    return path;
}

Result<std::string> format_field(tasks::Site& site, const json& body) {
    auto format = text_field(body, "as");
    if (!format) return format;
    if (format->empty()) *format = "qcow2";
    if (site.formats.contains(*format)) return format;
    std::string known;
    for (const auto& [name, unused] : site.formats) known += (known.empty() ? "" : ", ") + name;
    return fail(ErrorKind::invalid, fmt::format("there is no format '{}'; the formats are: {}",
                                                format->substr(0, 64), known));
}

Result<Reply> export_snapshot(const Asked& asked) {
    auto& site = asked.site();
    auto id = UNDERSTUDY_VALUE(find_vm(site, asked.path[1]));
    auto snapshot = UNDERSTUDY_VALUE(find_snapshot(site, id, asked.path[3]));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
    auto directory = UNDERSTUDY_VALUE(required_directory(asked.body));
    auto base_directory = UNDERSTUDY_VALUE(directory_field(asked.body, "base_directory"));
    auto format = UNDERSTUDY_VALUE(format_field(site, asked.body));
    auto base_word = UNDERSTUDY_VALUE(text_field(asked.body, "incremental_from"));
    tasks::SnapshotExportArguments arguments{.vm = id,
                                             .snapshot = snapshot.id,
                                             .directory = directory,
                                             .format = format,
                                             .base_directory = base_directory};
    if (!base_word.empty()) {
        auto base = find_snapshot(site, id, base_word);
        if (!base) return fail(std::move(base.error()).during("--incremental-from"));
        arguments.base = base->id;
    } else if (!base_directory.empty()) {
        return fail(ErrorKind::invalid,
                    "base_directory can be used only for an incremental export");
    }
    return queue(asked, tasks::kSnapshotExport, id,
                 fmt::format("export {}@{} to {}", vm.name, snapshot.name, directory), arguments);
}

Result<Reply> import_snapshot(const Asked& asked) {
    auto& site = asked.site();
    auto directory = UNDERSTUDY_VALUE(required_directory(asked.body));
    auto base_directory = UNDERSTUDY_VALUE(directory_field(asked.body, "base_directory"));
    auto name = UNDERSTUDY_VALUE(text_field(asked.body, "as_new_vm"));
    auto pool = UNDERSTUDY_VALUE(text_field(asked.body, "pool"));
    if (!pool.empty()) UNDERSTUDY_TRY(site.pool(pool));
    auto accept = UNDERSTUDY_VALUE(texts_field(asked.body, "accept"));
    auto found = UNDERSTUDY_VALUE(tasks::read_export(site, directory));
    const auto what = fmt::format("import {}@{}", found.vm_name, found.snapshot.name);
    tasks::SnapshotImportArguments arguments{.directory = directory, .pool = pool};
    if (name.empty()) {
        if (!found.ownership)
            return fail(
                Error(ErrorKind::invalid,
                      fmt::format("{} does not come from an Understudy cluster; it can only be "
                                  "imported as a new VM",
                                  directory))
                    .advising(fmt::format("Use --as-new-vm {}.", base::shell_word(found.vm_name))));
        arguments.vm = found.vm;
        return queue(asked, tasks::kSnapshotImport, found.vm, what, arguments);
    }
    UNDERSTUDY_TRY(check_new_name(site, name));
    const auto id = site.random.id<VmId>();
    arguments.vm = id;
    arguments.name = name;
    arguments.snapshot = site.random.id<SnapshotId>();
    arguments.base_directory = base_directory;
    arguments.accept = accept;
    return queue(asked, tasks::kSnapshotImport, id, fmt::format("{} as {}", what, name), arguments);
}

}  // namespace

Answer answer_files(const Asked& asked) {
    const auto& path = asked.path;
    if (asked.is("POST", 5) && path[0] == "vms" && path[2] == "snapshots" && path[4] == "export")
        return export_snapshot(asked);
    if (asked.is("POST", 1) && path[0] == "imports") return import_snapshot(asked);
    return std::nullopt;
}

}  // namespace understudy::api
