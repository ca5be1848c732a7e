#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

// Snapshots to and from files: the words of an export, `vm snapshot export`, `vm snapshot import`,
// the declarations. The daemon writes and reads the files; cut off here, it goes on.

namespace understudy::cli {

using nlohmann::json;

namespace {

// The daemon has another working directory.
std::string absolute(const std::string& path) {
    std::error_code error;
    const auto whole = std::filesystem::absolute(path, error);
    return error ? path : whole.lexically_normal().string();
}

struct ExportWords {
    SnapshotName snapshot;
    std::string directory;
};

// VM SNAPSHOT DIR, or VM@SNAPSHOT DIR.
Result<ExportWords> export_words(const Arguments& arguments) {
    if (arguments.has("DIR"))
        return ExportWords{{arguments.text("VM"), arguments.text("SNAPSHOT")},
                           arguments.text("DIR")};
    const auto name = split_at_snapshot(arguments.text("VM"));
    if (name.snapshot.empty())
        return fail(ErrorKind::invalid,
                    fmt::format("the snapshot or the directory is missing: `understudy vm snapshot "
                                "export {} SNAPSHOT DIR`",
                                arguments.text("VM")));
    return ExportWords{name, arguments.text("SNAPSHOT")};
}

Result<Exit> snapshot_export(Context& context, const Arguments& arguments) {
    auto words = UNDERSTUDY_VALUE(export_words(arguments));
    json body{{"directory", absolute(words.directory)}};
    if (const auto format = arguments.find("as")) body["as"] = *format;
    if (const auto base = arguments.find("incremental-from"))
        body["incremental_from"] = snapshot_of_word(*base);
    if (const auto base = arguments.find("base-dir")) body["base_directory"] = absolute(*base);
    return run_task(context, request("POST",
                                     path_of({"v1", "vms", words.snapshot.vm, "snapshots",
                                              words.snapshot.snapshot, "export"}),
                                     body));
}

Result<Exit> snapshot_import(Context& context, const Arguments& arguments) {
    json body{{"directory", absolute(arguments.text("DIR"))}};
    const auto name = arguments.find("as-new-vm");
    if (name && name->empty()) return fail(ErrorKind::invalid, "--as-new-vm: a name is missing");
    if (!name && (arguments.has("accept") || arguments.has("base-dir")))
        return fail(ErrorKind::invalid,
                    "--accept and --base-dir can be used only with --as-new-vm");
    if (name) body["as_new_vm"] = *name;
    if (const auto pool = arguments.find("pool")) body["pool"] = *pool;
    if (const auto base = arguments.find("base-dir")) body["base_directory"] = absolute(*base);
    if (arguments.has("accept")) body["accept"] = arguments.all("accept");
    return run_task(context, request("POST", path_of({"v1", "imports"}), body));
}

}  // namespace

std::vector<CommandSpec> file_commands() {
    return {
        {"vm snapshot export",
         "Write a snapshot into a directory, as files that other tools read",
         "understudyd writes the directory on its own node. The directory appears only when it is "
         "complete. An incremental export holds what changed since an earlier snapshot. In the "
         "format qcow2, its files need the files of the earlier snapshot's export. The command "
         "looks for that export in the directories beside DIR. In the format rbd, the files are "
         "for `rbd import-diff`.",
         "understudy vm snapshot export web1 monday /mnt/usb/web1-monday\n"
         "understudy vm snapshot export web1@tuesday /mnt/usb/web1-tuesday --incremental-from "
         "monday\n"
         "understudy vm snapshot export web1 monday /mnt/ceph/web1 --as rbd",
         {kVmAtSnapshot,
          {.name = "SNAPSHOT", .help = "its name or id, or @newest", .names = Names::snapshot},
          {.name = "DIR",
           .help = "the new directory; it must not exist, or must be empty",
           .required = false,
           .names = Names::file}},
         {{.flags = "--incremental-from",
           .value = "SNAPSHOT",
           .help = "only what changed since this snapshot",
           .names = Names::snapshot},
          {.flags = "--as",
           .value = "FORMAT",
           .help = "qcow2 (the default) or rbd",
           .names = Names::words,
           .words = "qcow2 rbd"},
          {.flags = "--base-dir",
           .value = "DIR",
           .help = "where the export of that earlier snapshot is",
           .names = Names::file}},
         snapshot_export},
        {"vm snapshot import",
         "Import a snapshot from a directory of files",
         "If another cluster owns the VM, the snapshot becomes a replica's snapshot, and the next "
         "send from that cluster is incremental. If the VM is here, it becomes one more snapshot "
         "of it. With --as-new-vm it becomes a new VM, which is not started. Every byte is "
         "verified before the snapshot is listed. Snapshot exports and backups of Parallel Virtual "
         "Cluster are imported as new VMs.",
         "understudy vm snapshot import /mnt/usb/web1-monday\n"
         "understudy vm snapshot import /mnt/usb/web1-tuesday --as-new-vm web1-test --pool fast",
         {{.name = "DIR",
           .help = "the directory with manifest.json or snapshot.json",
           .names = Names::file}},
         {{"--as-new-vm", "NAME", "as a separate VM, with this name and a new UUID"},
          {"--pool", "POOL", "the pool for disks that are not here yet"},
          {.flags = "--base-dir",
           .value = "DIR",
           .help = "where the export of its base is",
           .names = Names::file},
          {.flags = "--accept",
           .value = "KEY",
           .help = "continue although KEY (tpm, network:lan …) prevents it from starting here as "
                   "before",
           .repeats = true}},
         snapshot_import},
    };
}

}  // namespace understudy::cli
