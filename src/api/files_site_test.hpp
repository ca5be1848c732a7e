#pragma once

#include "api/memory_site_test.hpp"
#include "base/temporary_directory_test.hpp"
#include "model/json.hpp"
#include "storage/directories/posix_directories.hpp"
#include "storage/qcow2/disk_format.hpp"
#include "storage/rbd_stream/format.hpp"
#include "tasks/kinds.hpp"
#include "tasks/queue/runner.hpp"

#include <fmt/format.h>

#include <functional>

namespace understudy::api {

struct Killed {};  // the daemon's process ends here

// A directory whose sums call back: every file is summed up once it was written, and before it is
// read.
class Watched final : public ports::Directories {
public:
    std::function<void(const std::string&)> at_sum = [](const std::string&) {};
    std::function<void(const std::string&)> after_sum = [](const std::string&) {};

    Result<std::string> resolve(const std::string& path) override { return inner_->resolve(path); }
    Result<bool> is_free(const std::string& path) override { return inner_->is_free(path); }
    Result<std::vector<std::string>> list(const std::string& path) override {
        return inner_->list(path);
    }
    Result<> make(const std::string& path) override { return inner_->make(path); }
    Result<> remove(const std::string& path) override { return inner_->remove(path); }
    Result<> put_in_place(const std::string& from, const std::string& to) override {
        return inner_->put_in_place(from, to);
    }
    Result<> write_text(const std::string& path, const std::string& text) override {
        return inner_->write_text(path, text);
    }
    Result<std::string> read_text(const std::string& path, std::size_t limit) override {
        return inner_->read_text(path, limit);
    }
    Result<ports::FileSum> sum(const std::string& path,
                               const std::function<Result<>(ByteSize)>& go_on) override {
        at_sum(path);
        auto sum = inner_->sum(path, go_on);
        after_sum(path);
        return sum;
    }

private:
    std::unique_ptr<ports::Directories> inner_ = directories::posix_directories();
};

inline std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

class Files : public MemorySite {
protected:
    Files() {
        site_.settings.default_pool = "vms";
        site_.settings.threads = false;
        site_.directories = watched_;
        site_.formats.emplace("qcow2", qcow2::qcow2_format());
        site_.formats.emplace("rbd", rbd_stream::rbd_format());
        runner_ = std::make_unique<tasks::Runner>(site_, tasks::all_kinds());
    }

    std::string at(const std::string& name) const { return root_ / name; }

    // A snapshot of a replica: `text` at 64 KiB of its 1 MiB disk, on a base or by itself.
    model::Snapshot add_snapshot(const std::string& name, const std::string& text,
                                 std::optional<model::Snapshot> base = {}) {
        auto request = request_from(dr_, 201);
        request.snapshot.name = name;
        request.definition.domain_xml += "disk vda raw 1048576 /there/vda\n";
        if (base) {
            request.snapshot.parent = base->id;
            request.snapshot.disks = base->disks;
        }
        const auto& disk = request.snapshot.disks.front();
        std::optional<SnapshotId> on;
        if (base) on = base->id;
        auto incoming = must(pool_->receive(disk.volume, {}, on, request.snapshot.id, disk.size));
        must(incoming->write(ByteOffset(65536), bytes_of(padded(text))));
        must(incoming->publish());
        model::Vm vm{request.vm, request.vm_name, {1, dr_.id, model::Phase::replica}, false, {},
                     {}};
        vm.disks = {{disk.target, disk.volume, disk.pool}};
        must(catalog_->publish_snapshot(vm, request.snapshot, request.definition, {}, {}));
        return request.snapshot;
    }
    static std::string padded(std::string text) {
        text.resize(4096, 'x');
        return text;
    }
    std::string text_of(const model::Snapshot& snapshot) {
        auto reader = must(pool_->open_snapshot(snapshot.disks.front().volume, snapshot.id));
        std::string text(4096, '?');
        must(reader->read(ByteOffset(65536), std::as_writable_bytes(std::span(text))));
        return text.substr(0, text.find('x'));
    }
    void forget_all(const VmId& vm, const VolumeId& volume) {
        must(catalog_->remove_vm(vm));
        must(pool_->forget(volume, true));
    }

    model::Task queued(const std::string& path, const nlohmann::json& body) {
        const auto answer = ask("POST", path, body.dump());
        EXPECT_EQ(answer.status, 202) << answer.body;
        if (answer.status != 202) return {};
        const auto id = answer.body.at("task").at("id").get<std::string>();
        return must(catalog_->task(must(TaskId::parse(id))));
    }
    model::Task run(const model::Task& task) {
        for (int i = 0; i < 100; ++i) {
            auto now = must(catalog_->task(task.id));
            if (now.ended_already()) return now;
            if (!must(runner_->run_one())) clock_.sleep(Duration(300'000));
        }
        return must(catalog_->task(task.id));
    }
    model::Task export_to(const std::string& name, const model::Snapshot& snapshot,
                          nlohmann::json more = nlohmann::json::object()) {
        more["directory"] = at(name);
        return run(queued(
            fmt::format("/v1/vms/{}/snapshots/{}/export", snapshot.vm.text(), snapshot.id.text()),
            more));
    }
    model::Task import_from(const std::string& name,
                            nlohmann::json more = nlohmann::json::object()) {
        more["directory"] = at(name);
        return run(queued("/v1/imports", more));
    }
    static std::string state(const model::Task& task) {
        return std::string(model::to_string(task.state)) + " " + task.error;
    }
    std::vector<std::string> names_in_root() { return must(watched_->list(root_.path())); }

    // A daemon dies in the middle, and the next one starts.
    void run_until_killed() {
        EXPECT_THROW((void)runner_->run_one(), Killed);
        watched_->at_sum = [](const std::string&) {};
        pool_->crash();
        runner_ = std::make_unique<tasks::Runner>(site_, tasks::all_kinds());
        must(runner_->recover());
    }

    base::TemporaryDirectory root_;
    std::shared_ptr<Watched> watched_ = std::make_shared<Watched>();
    std::unique_ptr<tasks::Runner> runner_;
};

}  // namespace understudy::api
