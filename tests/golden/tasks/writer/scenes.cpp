#include "theatre.hpp"

// What is cut off. Each scene is played once for every point at which a daemon may die.

namespace understudy::golden {
namespace {

using nlohmann::json;

void one_vm(Theatre& it) {
    it.pair();
    it.make_vm();
}

void one_snapshot(Theatre& it) {
    one_vm(it);
    it.snapshot("first");
}

void two_snapshots(Theatre& it) {
    one_snapshot(it);
    it.write(it.a, "vda", 64, 4);
    it.write(it.a, "vdb", 128, 5);
    it.snapshot("second");
    it.write(it.a, "vda", 128, 6);
}

void a_replica(Theatre& it) {
    one_snapshot(it);
    it.send("first");
    it.write(it.a, "vda", 64, 4);
}

void a_replica_of_two(Theatre& it) {
    a_replica(it);
    it.snapshot("second");
    it.send("second");
    it.write(it.a, "vda", 128, 5);
}

void stopped(Theatre& it) {
    must(it.a.hypervisor().stop(it.vm));
}

// Both know of each other's claim: a was superseded, and what it wrote alone is kept or not.
void superseded(Theatre& it) {
    one_vm(it);
    it.part();
    it.stage.contact_all();
}

void take(Theatre& it) {
    it.queue(it.a, "snapshot_create", "snapshot web1@new",
             {{"snapshot", it.stage.random().id<SnapshotId>().text()},
              {"name", "new"},
              {"freeze", true}});
}

void remove_first(Theatre& it) {
    it.queue(it.a, "snapshot_remove", "remove web1@first", {{"snapshots", {it.id(it.a, "first")}}});
}

void move(Theatre& it) {
    it.queue(it.a, "move", "move web1 to b",
             {{"peer", it.b.identity().id.text()},
              {"start", true},
              {"limit_ms", 120'000},
              {"force_off", false},
              {"rate_bytes", 0},
              {"accept", json::array()}});
}

void promote(Theatre& it) {
    it.a.go_away();
    it.queue(it.b, "promote", "promote web1@second",
             {{"snapshot", it.id(it.b, "second")},
              {"start", true},
              {"owner_may_answer", false},
              {"accept", json::array()},
              {"check", true},
              {"wait", ""},
              {"limit_ms", 60'000}});
}

void resolve(Theatre& it, const std::string& keep, const json& more = json::object()) {
    json arguments{{"keep", keep}, {"start", true}, {"even_if_owner_runs", true}};
    arguments.update(more);
    it.queue(it.a, "resolve", "resolve web1 --keep-" + keep, arguments);
}

json as_new_vm(Theatre& it) {
    return {{"as_new_vm", "web2"},
            {"start_new_vm", true},
            {"new_vm", it.stage.random().id<VmId>().text()},
            {"new_snapshot", it.stage.random().id<SnapshotId>().text()},
            {"accept", json::array()}};
}

void verify(Theatre& it, bool repair) {
    it.queue(it.b, "replica_verify", "verify web1@second",
             {{"snapshot", it.id(it.b, "second")}, {"repair", repair}, {"rate_bytes", 0}});
}

void on_b(Theatre& it, std::string_view kind, const json& arguments) {
    it.queue(it.b, kind, std::string(kind) + " web1", arguments);
}

void export_to(Theatre& it, const std::string& snapshot, const json& more = json::object()) {
    json arguments{{"snapshot", it.id(it.a, snapshot)},
                   {"directory", it.files(it.a, snapshot)},
                   {"base_directory", ""},
                   {"format", "qcow2"}};
    arguments.update(more);
    it.queue(it.a, "snapshot_export", "export web1@" + snapshot, arguments);
}

void import_from(Theatre& it, Host& on, const json& more) {
    json arguments{{"pool", ""}};
    arguments.update(more);
    it.queue(on, "snapshot_import", "import web1", arguments);
}

std::vector<Scene> scenes_of_snapshots() {
    return {
        {"create", one_vm, take},
        {"create2", two_snapshots, take},
        {"create_off",
         [](Theatre& it) {
             one_snapshot(it);
             stopped(it);
         },
         take},
        {"create_gone",  // a disk was unplugged since, and has no snapshot
         [](Theatre& it) {
             one_snapshot(it);
             it.send("first");
             it.unplug("vdb");
         },
         take},
        {"remove", two_snapshots, remove_first},
        {"remove_off",
         [](Theatre& it) {
             two_snapshots(it);
             stopped(it);
         },
         remove_first},
        {"remove_all",
         [](Theatre& it) {
             two_snapshots(it);
             stopped(it);
         },
         [](Theatre& it) {
             it.queue(it.a, "snapshot_remove", "remove web1@first @second",
                      {{"snapshots", {it.id(it.a, "first"), it.id(it.a, "second")}}});
         }},
        {"rollback",
         [](Theatre& it) {
             two_snapshots(it);
             stopped(it);
         },
         [](Theatre& it) {
             it.queue(it.a, "snapshot_rollback", "rollback web1@first",
                      {{"snapshot", it.id(it.a, "first")}, {"accept", json::array()}});
         }},
        {"release", [](Theatre& it) { a_replica_of_two(it); },
         [](Theatre& it) { it.queue(it.a, "release", "release web1", json::object()); }},
        {"release_off",
         [](Theatre& it) {
             a_replica_of_two(it);
             stopped(it);
         },
         [](Theatre& it) { it.queue(it.a, "release", "release web1", json::object()); }},
        // A second death, in what the first one left.
        {"again_m", {}, {}, {}, {}, "create snapshot_create.moment after-catalog.save_step"},
        {"again_r", {}, {}, {}, {}, "remove_off snapshot_remove.merge after-catalog.save_step"},
        {"again_b", {}, {}, {}, {}, "rollback snapshot_rollback.go_back after-catalog.save_step"},
    };
}

std::vector<Scene> scenes_of_sends() {
    return {
        {"send_full", one_snapshot, [](Theatre& it) { it.queue_send("first"); }},
        {"send",
         [](Theatre& it) {
             a_replica(it);
             it.snapshot("second");
         },
         [](Theatre& it) { it.queue_send("second"); }},
        {"send_nothing", a_replica, [](Theatre& it) { it.queue_send("first"); }},
        {"resync",
         [](Theatre& it) {
             a_replica(it);
             must(it.b.catalog().remove_vm(it.vm));
             it.snapshot("second");
         },
         [](Theatre& it) { it.queue_send("second"); }},
        {"send_cut",  // an attempt in vain, then it is cancelled, and nobody hears of it at first
         [](Theatre& it) {
             a_replica(it);
             it.snapshot("second");
         },
         [](Theatre& it) {
             const auto task = it.queue_send("second");
             it.a.run_one();
             must(it.a.catalog().request_cancel(task, it.stage.clock().now()));
             it.a.run_one();
             it.stage.connected = true;
         },
         {},
         "b catalog.save_durable"},
        {"verify", a_replica_of_two, [](Theatre& it) { verify(it, false); }},
        {"repair",
         [](Theatre& it) {
             a_replica_of_two(it);
             it.damage(it.b, "second", 64);
         },
         [](Theatre& it) { verify(it, true); }},
        {"drill", a_replica_of_two,
         [](Theatre& it) {
             on_b(it, "replica_drill",
                  {{"snapshot", it.id(it.b, "second")},
                   {"wait", ""},
                   {"limit_ms", 60'000},
                   {"network", ""}});
         }},
        {"again_d", {}, {}, {}, {}, "drill replica_drill.rehearse after-catalog.save_step"},
        {"unreplica", a_replica_of_two,
         [](Theatre& it) { on_b(it, "replica_remove", json::object()); }},
    };
}

std::vector<Scene> scenes_of_owners() {
    return {
        {"promote", a_replica_of_two, promote},
        {"move", a_replica, move},
        {"move_off",
         [](Theatre& it) {
             a_replica(it);
             stopped(it);
         },
         move},
        {"refused", a_replica, move,
         [](tasks::SiteSettings& settings) { settings.takes_handovers = false; }},
        {"branch",
         [](Theatre& it) {
             one_vm(it);
             it.part();
         },
         [](Theatre& it) { it.stage.contact_all(); }},
        {"here", superseded, [](Theatre& it) { resolve(it, "here"); }},
        {"there", superseded, [](Theatre& it) { resolve(it, "there"); }},
        {"there_kept",
         [](Theatre& it) {
             superseded(it);
             it.work();
         },
         [](Theatre& it) { resolve(it, "there"); }},
        {"as_new",
         [](Theatre& it) {
             superseded(it);
             it.work();
             it.write(it.a, "vdb", 64, 77);
         },
         [](Theatre& it) { resolve(it, "there", as_new_vm(it)); }},
    };
}

std::vector<Scene> scenes_of_files() {
    const auto exported = [](Theatre& it) {
        two_snapshots(it);
        export_to(it, "first");
        it.work();
    };
    const auto both_exported = [exported](Theatre& it) {
        exported(it);
        export_to(it, "second", {{"base", it.id(it.a, "first")}});
        it.work();
    };
    const auto carried = [both_exported](Theatre& it) {
        both_exported(it);
        it.send("first");
    };
    return {
        {"export", two_snapshots, [](Theatre& it) { export_to(it, "first"); }},
        {"export_on", exported,
         [](Theatre& it) { export_to(it, "second", {{"base", it.id(it.a, "first")}}); }},
        {"import", carried,
         [](Theatre& it) { import_from(it, it.b, {{"directory", it.files(it.a, "second")}}); }},
        {"import_new", both_exported,
         [](Theatre& it) {
             import_from(it, it.b,
                         {{"directory", it.files(it.a, "second")},
                          {"vm", it.stage.random().id<VmId>().text()},
                          {"name", "web2"},
                          {"snapshot", it.stage.random().id<SnapshotId>().text()},
                          {"base_directory", ""},
                          {"start", true},
                          {"accept", json::array()}});
         }},
        {"import_of", two_snapshots,
         [](Theatre& it) {
             import_from(it, it.a,
                         {{"of", it.id(it.a, "first")},
                          {"vm", it.stage.random().id<VmId>().text()},
                          {"name", "web2"},
                          {"snapshot", it.stage.random().id<SnapshotId>().text()},
                          {"start", true},
                          {"accept", json::array()}});
         }},
    };
}

}  // namespace

std::vector<Scene> all_scenes() {
    std::vector<Scene> all;
    for (auto& some :
         {scenes_of_snapshots(), scenes_of_sends(), scenes_of_owners(), scenes_of_files()})
        all.insert(all.end(), some.begin(), some.end());
    return all;
}

}  // namespace understudy::golden
