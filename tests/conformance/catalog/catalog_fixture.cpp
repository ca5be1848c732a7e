#include "catalog_fixture.hpp"

#include <cstdlib>

namespace understudy::test {

std::vector<std::string> all_backends() {
    return {"sqlite_memory", "sqlite_file"};
}

std::vector<std::string> file_backends() {
    return {"sqlite_file"};
}

CatalogTest::CatalogTest() {
    std::string name = (std::filesystem::temp_directory_path() / "catalog test XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    directory_ = name;
    open();
}

CatalogTest::~CatalogTest() {
    close();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

catalog::CatalogSettings CatalogTest::settings() const {
    catalog::CatalogSettings settings;
    settings.path = GetParam() == "sqlite_memory" ? ":memory:" : path();
    return settings;
}

void CatalogTest::open() {
    catalog_ = must(catalog::open_catalog(settings()));
}

model::Capabilities some_capabilities() {
    model::Capabilities some;
    some.version = "0.1.0";
    some.features = {"resume", "lz4"};
    some.pools = {{"vms", "qcow2", GiB(100), GiB(40)}};
    some.networks = {"lan"};
    some.machines = {"pc-q35-7.2", "q35"};
    some.cpu_models = {"Skylake-Server"};
    some.host_arch = "x86_64";
    some.uefi = true;
    some.kvm = true;
    return some;
}

model::Peer some_peer(const std::string& name) {
    model::Peer peer;
    peer.id = ClusterId::random();
    peer.name = name;
    peer.address = "192.0.2.1:7373";
    peer.certificate_pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    peer.fingerprint = "fingerprint of " + name;
    peer.networks = {{"lan", "vlan7"}, {"dmz", "vlan8"}};
    peer.pools = {{"fast", "vms"}};
    peer.rate_limit = MiB(50);
    peer.last_contact = at(5);
    peer.capabilities = some_capabilities();
    return peer;
}

model::Vm some_vm(const std::string& name) {
    model::Vm vm;
    vm.id = VmId::random();
    vm.name = name;
    vm.ownership = {7, ClusterId::random(), model::Phase::replica};
    vm.autostart = true;
    vm.disks = {{"vda", VolumeId::random(), "vms"}, {"vdb", VolumeId::random(), "bulk"}};
    vm.head_parent = SnapshotId::random();
    return vm;
}

model::Snapshot some_snapshot(const model::Vm& vm, const std::string& name, std::int64_t taken_ms,
                              std::optional<SnapshotId> parent) {
    model::Snapshot snapshot;
    snapshot.id = SnapshotId::random();
    snapshot.vm = vm.id;
    snapshot.name = name;
    snapshot.parent = parent;
    snapshot.taken = at(taken_ms);
    snapshot.consistency = model::Consistency::filesystem;
    snapshot.epoch = 7;
    snapshot.origin = ClusterId::random();
    for (const auto& disk : vm.disks)
        snapshot.disks.push_back({disk.target, disk.volume, disk.pool, GiB(4)});
    return snapshot;
}

model::Definition some_definition() {
    return {"<domain type='kvm'><name>a \"b\" & 'c'</name></domain>\n",
            std::string("\0\xFF\x01", 3)};
}

model::Transfer some_transfer(const model::Vm& vm, const model::Snapshot& snapshot) {
    model::Transfer transfer;
    transfer.id = TransferId::random();
    transfer.source = ClusterId::random();
    transfer.request = {vm.id,    vm.name,           vm.ownership,
                        snapshot, some_definition(), SnapshotId::random()};
    transfer.durable = {1, ByteOffset(4096)};
    transfer.received = MiB(3);
    transfer.created = at(10);
    transfer.updated = at(11);
    return transfer;
}

model::Task some_task(std::optional<VmId> vm, std::int64_t created_ms) {
    model::Task task;
    task.id = TaskId::random();
    task.kind = "send";
    task.vm = vm;
    task.title = "send web1@nightly to dr";
    task.arguments = R"({"peer":"dr"})";
    task.step = "plan";
    task.memo = R"({"seen":1})";
    task.progress = {1, 2, 3, 4, "vda: 41 %"};
    task.created = at(created_ms);
    task.not_before = at(created_ms);
    return task;
}

Published publish_new(ports::Catalog& catalog, const std::string& vm_name,
                      const std::string& snapshot_name) {
    Published made{some_vm(vm_name), {}};
    made.snapshot = some_snapshot(made.vm, snapshot_name, 0);
    must(catalog.publish_snapshot(made.vm, made.snapshot, some_definition(), {}, std::nullopt));
    return made;
}

model::Snapshot publish_child(ports::Catalog& catalog, const Published& of, const std::string& name,
                              std::int64_t taken_ms) {
    const auto child = some_snapshot(of.vm, name, taken_ms, of.snapshot.id);
    must(catalog.publish_snapshot(of.vm, child, some_definition(), {}, std::nullopt));
    return child;
}

}  // namespace understudy::test
