#include "cli/grammar/snapshot_name.hpp"

namespace understudy::cli {

SnapshotName split_at_snapshot(const std::string& word) {
    const auto mark = word.find('@');
    if (mark == std::string::npos) return {word, ""};
    SnapshotName name{word.substr(0, mark), word.substr(mark + 1)};
    if (name.snapshot == "newest") name.snapshot = "@newest";
    return name;
}

SnapshotName snapshot_name(const Arguments& arguments) {
    if (const auto snapshot = arguments.find("SNAPSHOT")) return {arguments.text("VM"), *snapshot};
    return split_at_snapshot(arguments.text("VM"));
}

Result<SnapshotName> required_snapshot_name(const Arguments& arguments) {
    auto name = snapshot_name(arguments);
    if (name.vm.empty() || name.snapshot.empty())
        return fail(Error(ErrorKind::invalid, "no snapshot is named")
                        .advising("Name it as VM SNAPSHOT or VM@SNAPSHOT (VM@newest is the "
                                  "newest); `understudy vm snapshot list VM` shows them."));
    return name;
}

std::string snapshot_of_word(const std::string& word) {
    const auto name = split_at_snapshot(word);
    return word.starts_with('@') || name.snapshot.empty() ? word : name.snapshot;
}

}  // namespace understudy::cli
