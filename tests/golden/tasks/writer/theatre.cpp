#include "theatre.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace understudy::golden {
namespace {

using nlohmann::json;

void run(const std::string& command) {
    if (std::system((command + " >/dev/null").c_str()) != 0) throw std::runtime_error(command);
}

}  // namespace

void Theatre::pair() {
    for (auto& host : stage.hosts()) {
        must(host->catalog().save_cluster(host->identity()));
        for (auto& other : stage.hosts()) {
            if (host == other) continue;
            model::Peer peer;
            peer.id = other->identity().id;
            peer.name = other->name();
            peer.fingerprint = other->name();
            peer.capabilities = other->capabilities();
            must(host->catalog().save_peer(peer));
        }
    }
}

void Theatre::make_vm() {
    const auto disks = a.directory() + "/disks";
    std::filesystem::create_directories(disks);
    std::string text = fmt::format("vm web1\nuuid {}\n", vm.text());
    for (const auto& [target, size] : {std::pair{"vda", 2048U}, std::pair{"vdb", 1024U}}) {
        const auto path = fmt::format("{}/{}.qcow2", disks, target);
        run(fmt::format("qemu-img create -q -f qcow2 {} {}k", path, size));
        text += fmt::format("disk {} qcow2 {} {}\n", target, size * 1024, path);
    }
    text += "network lan\nnvram nvram/web1\n";
    must(a.hypervisor().define(text));
    must(a.hypervisor().write_nvram("nvram/web1", "uefi"));
    must(a.hypervisor().set_autostart(vm, true));
    must(a.hypervisor().start(vm));
    write(a, "vda", 0, 1);
    write(a, "vda", 1536, 2);
    write(a, "vdb", 512, 3);
}

void Theatre::write(Host& on, const std::string& target, unsigned at_kib, unsigned pattern) {
    for (const auto& disk : on.hypervisor().disks(vm))
        if (disk.target == target)
            run(fmt::format("qemu-io -f qcow2 -c 'write -q -P {} {}k 16k' {}", pattern, at_kib,
                            disk.source.location));
}

void Theatre::damage(Host& on, const std::string& snapshot, unsigned at_kib) {
    const auto known = must(on.catalog().snapshot(must(SnapshotId::parse(id(on, snapshot)))));
    const auto file = fmt::format("{}/pool/{}/{}.qcow2", on.directory(),
                                  known.disks.front().volume.text(), known.id.text());
    run(fmt::format("qemu-io -f qcow2 -c 'write -q -P 99 {}k 8k' {}", at_kib, file));
}

void Theatre::unplug(const std::string& target) {
    a.hypervisor().unplug(vm, target);
}

TaskId Theatre::queue(Host& on, std::string_view kind, const std::string& title, json arguments) {
    if (!arguments.contains("vm")) arguments["vm"] = vm.text();
    const auto of = must(VmId::parse(arguments["vm"].get<std::string>()));
    auto task = tasks::new_task(on.daemon()->site, kind, of, title, arguments);
    task.actor = "golden";
    must(on.catalog().add_task(task));
    return task.id;
}

void Theatre::done(Host& on, std::string_view kind, const std::string& title, json arguments) {
    const auto task = queue(on, kind, title, std::move(arguments));
    work();
    const auto ended = must(on.catalog().task(task));
    if (ended.state != model::TaskState::succeeded)
        throw std::runtime_error(fmt::format("{}: {}", title, ended.error));
}

void Theatre::work() {
    for (int round = 0; round < 3; ++round) {
        a.run_all();
        b.run_all();
    }
}

void Theatre::snapshot(const std::string& name) {
    done(a, "snapshot_create", "snapshot web1@" + name,
         {{"snapshot", stage.random().id<SnapshotId>().text()}, {"name", name}, {"freeze", true}});
}

TaskId Theatre::queue_send(const std::string& name, bool full) {
    return queue(a, "send", "send web1@" + name,
                 {{"snapshot", id(a, name)},
                  {"peer", b.identity().id.text()},
                  {"full", full},
                  {"rate_bytes", 0},
                  {"channels", 2},
                  {"accept", json::array()}});
}

void Theatre::send(const std::string& name) {
    const auto task = queue_send(name);
    work();
    if (const auto ended = must(a.catalog().task(task)); ended.state != model::TaskState::succeeded)
        throw std::runtime_error("send: " + ended.error);
}

void Theatre::part() {
    snapshot("first");
    send("first");
    stage.connected = false;
    done(b, "promote", "promote web1@first",
         {{"snapshot", id(b, "first")},
          {"start", true},
          {"owner_may_answer", true},
          {"accept", json::array()}});
    write(a, "vda", 256, 20);
    write(b, "vda", 256, 40);
    stage.connected = true;
}

std::string Theatre::id(Host& on, const std::string& snapshot) {
    for (const auto& known : must(on.catalog().snapshots(vm)))
        if (known.name == snapshot) return known.id.text();
    throw std::runtime_error("no snapshot " + snapshot);
}

}  // namespace understudy::golden
