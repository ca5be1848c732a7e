#include "api/files_site_test.hpp"

#include <filesystem>
#include <fstream>

// Exports and imports as tasks over memory drivers, with real files: cut off, cancelled, damaged.

namespace understudy::api {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InFormat : public Files, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, InFormat, ::testing::Values("qcow2", "rbd"));

TEST_P(InFormat, a_chain_goes_out_and_comes_back_as_the_owners_replica) {
    const auto one = add_snapshot("one", "first");
    const auto two = add_snapshot("two", "second", one);
    EXPECT_EQ(state(export_to("one", one, {{"as", GetParam()}})), "succeeded ");
    EXPECT_EQ(state(export_to("two", two, {{"as", GetParam()}, {"incremental_from", "one"}})),
              "succeeded ");
    EXPECT_THAT(must(catalog_->holds(one.vm)), IsEmpty());
    forget_all(one.vm, one.disks.front().volume);
    pair_with(dr_);

    EXPECT_EQ(state(import_from("one")), "succeeded ");
    EXPECT_EQ(state(import_from("two")), "succeeded ");
    EXPECT_EQ(text_of(one), "first");
    EXPECT_EQ(text_of(two), "second");
    const auto vm = must(catalog_->vm(one.vm));
    EXPECT_EQ(vm.ownership, (model::Ownership{1, dr_.id, model::Phase::replica}));
    const auto listed = must(catalog_->snapshots(one.vm));
    ASSERT_EQ(listed.size(), 2U);
    EXPECT_EQ(listed[1].parent, one.id);
    EXPECT_EQ(must(catalog_->definition(one.id)).domain_xml.substr(0, 3), "vm ");
    const auto holds = must(catalog_->holds(one.vm));
    ASSERT_EQ(holds.size(), 1U) << "the base of what the owner sends next";
    EXPECT_EQ(holds[0].snapshot, two.id);
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
    EXPECT_FALSE(hypervisor_.runs(one.vm));
    EXPECT_THAT(must(hypervisor_.list()), IsEmpty()) << "a replica is not defined";
}

TEST_P(InFormat, an_import_of_what_is_here_says_so) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one, {{"as", GetParam()}});
    const auto again = import_from("one");
    EXPECT_EQ(state(again), "succeeded ");
    EXPECT_EQ(json::parse(again.result).at("kind"), "nothing");
}

TEST_P(InFormat, a_new_vm_is_made_of_a_chain_of_directories_or_of_a_base_that_is_here) {
    const auto one = add_snapshot("one", "first");
    const auto two = add_snapshot("two", "second", one);
    export_to("one", one, {{"as", GetParam()}});
    export_to("two", two, {{"as", GetParam()}, {"incremental_from", "one"}});
    const auto on_base = import_from("two", {{"as_new_vm", "copy"}});
    ASSERT_EQ(state(on_base), "succeeded ");
    forget_all(one.vm, one.disks.front().volume);
    const auto by_chain = import_from("two", {{"as_new_vm", "other"}});
    ASSERT_EQ(state(by_chain), "succeeded ");
    for (const auto& task : {on_base, by_chain}) {
        const auto result = json::parse(task.result);
        const auto id = *VmId::parse(result.at("vm_id").get<std::string>());
        EXPECT_NE(id, one.vm);
        const auto snapshots = must(catalog_->snapshots(id));
        ASSERT_EQ(snapshots.size(), 1U);
        EXPECT_EQ(text_of(snapshots[0]), "second");
        EXPECT_NE(snapshots[0].id, two.id);
        EXPECT_NE(snapshots[0].disks[0].volume, two.disks[0].volume);
        EXPECT_EQ(must(catalog_->vm(id)).ownership.phase, model::Phase::owned);
        EXPECT_FALSE(hypervisor_.runs(id));
        // A rollback defines the VM from this, so it must not have the exported VM's UUID.
        EXPECT_THAT(must(catalog_->definition(snapshots[0].id)).domain_xml,
                    HasSubstr("uuid " + id.text()));
        EXPECT_EQ(hypervisor_.disks(id).size(), 1U);
    }
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
}

TEST_P(InFormat, an_increment_without_its_base_is_refused_by_name) {
    const auto one = add_snapshot("one", "first");
    const auto two = add_snapshot("two", "second", one);
    export_to("one", one, {{"as", GetParam()}});
    export_to("two", two, {{"as", GetParam()}, {"incremental_from", "one"}});
    forget_all(one.vm, one.disks.front().volume);
    fs::rename(at("one"), root_.path() + ".elsewhere");
    for (const auto& body : {json::object(), json{{"as_new_vm", "copy"}}}) {
        const auto task = import_from("two", body);
        EXPECT_EQ(task.state, model::TaskState::failed);
        EXPECT_EQ(task.error_kind, "not_found");
        EXPECT_THAT(task.error, HasSubstr("snapshot 'one'"));
    }
    EXPECT_THAT(must(catalog_->vms()), IsEmpty());
    EXPECT_THAT(pool_->volumes(), IsEmpty());
    const auto found = import_from(
        "two", {{"as_new_vm", "copy"}, {"base_directory", root_.path() + ".elsewhere"}});
    EXPECT_EQ(state(found), "succeeded ");
    fs::remove_all(root_.path() + ".elsewhere");
}

TEST_P(InFormat, a_byte_changed_anywhere_in_a_file_is_found_and_nothing_is_listed) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one, {{"as", GetParam()}});
    forget_all(one.vm, one.disks.front().volume);
    const auto file = at("one") + "/vda." + GetParam();
    const auto size = fs::file_size(file);
    for (const auto place : {std::uintmax_t{0}, size / 2, size - 1}) {
        std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
        bytes.seekg(static_cast<std::streamoff>(place));
        const int was = bytes.get();
        const auto put = [&](int value) {
            bytes.seekp(static_cast<std::streamoff>(place));
            bytes.put(static_cast<char>(value));
            bytes.flush();
        };
        put(was ^ 1);
        const auto task = import_from("one");
        EXPECT_EQ(task.error_kind, "corrupt") << place << ": " << state(task);
        EXPECT_THAT(task.error, HasSubstr(file));
        put(was);
    }
    EXPECT_THAT(must(catalog_->vms()), IsEmpty());
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
    EXPECT_THAT(pool_->volumes(), IsEmpty());
    EXPECT_EQ(state(import_from("one")), "succeeded ");
}

TEST_F(Files, a_file_exchanged_after_it_was_summed_up_is_found_by_its_content) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    const auto other = add_snapshot("one", "other");
    export_to("other", other);
    forget_all(other.vm, other.disks.front().volume);
    watched_->after_sum = [&](const std::string& path) {
        if (path == at("one/vda.qcow2"))
            fs::copy_file(at("other/vda.qcow2"), path, fs::copy_options::overwrite_existing);
    };
    const auto task = import_from("one");
    EXPECT_EQ(task.error_kind, "corrupt");
    EXPECT_THAT(task.error, HasSubstr("the content of " + at("one/vda.qcow2")));
    EXPECT_THAT(must(catalog_->vms()), IsEmpty());
    EXPECT_THAT(pool_->volumes(), IsEmpty());
}

TEST_F(Files, of_two_exports_of_a_base_the_one_in_the_same_format_is_built_on) {
    const auto one = add_snapshot("one", "first");
    const auto two = add_snapshot("two", "second", one);
    for (const char* format : {"qcow2", "rbd"})
        EXPECT_EQ(state(export_to(fmt::format("one-{}", format), one, {{"as", format}})),
                  "succeeded ");
    for (const char* format : {"qcow2", "rbd"}) {
        const auto name = fmt::format("two-{}", format);
        ASSERT_EQ(state(export_to(name, two, {{"as", format}, {"incremental_from", "one"}})),
                  "succeeded ");
        const auto manifest = must(watched_->read_text(at(name) + "/manifest.json", 1U << 20));
        EXPECT_THAT(manifest, HasSubstr(fmt::format("\"../one-{}\"", format)));
    }
}

TEST_F(Files, an_export_that_was_cut_off_begins_again_and_leaves_nothing_beside_it) {
    const auto one = add_snapshot("one", "first");
    const auto task = queued(fmt::format("/v1/vms/{}/snapshots/one/export", one.vm.text()),
                             {{"directory", at("one")}});
    watched_->at_sum = [](const std::string&) { throw Killed{}; };
    run_until_killed();
    EXPECT_EQ(names_in_root().size(), 1U);
    EXPECT_FALSE(fs::exists(at("one"))) << "a directory that is not whole";
    EXPECT_EQ(must(catalog_->holds(one.vm)).size(), 1U) << "the snapshot must stay meanwhile";
    EXPECT_EQ(state(run(task)), "succeeded ");
    EXPECT_THAT(names_in_root(), ::testing::ElementsAre("one"));
    EXPECT_THAT(must(catalog_->holds(one.vm)), IsEmpty());
}

TEST_F(Files, a_cancelled_export_leaves_nothing) {
    const auto one = add_snapshot("one", "first");
    const auto task = queued(fmt::format("/v1/vms/{}/snapshots/one/export", one.vm.text()),
                             {{"directory", at("one")}});
    watched_->at_sum = [&](const std::string&) {
        must(catalog_->request_cancel(task.id, clock_.now()));
        clock_.sleep(Duration(1000));
    };
    EXPECT_EQ(run(task).state, model::TaskState::cancelled);
    EXPECT_THAT(names_in_root(), IsEmpty());
    EXPECT_THAT(must(catalog_->holds(one.vm)), IsEmpty());
}

TEST_F(Files, an_export_never_writes_into_a_directory_that_holds_something) {
    const auto one = add_snapshot("one", "first");
    fs::create_directory(at("one"));
    std::ofstream(at("one") + "/precious") << "x";
    const auto taken = export_to("one", one);
    EXPECT_EQ(taken.error_kind, "refused");
    EXPECT_THAT(must(watched_->list(at("one"))), ::testing::ElementsAre("precious"));
    fs::create_directory(at("empty"));
    EXPECT_EQ(state(export_to("empty", one)), "succeeded ");
}

TEST_F(Files, an_import_that_was_cut_off_begins_again_from_the_files_as_they_are) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    const auto task = queued("/v1/imports", {{"directory", at("one")}});
    watched_->at_sum = [](const std::string& path) {
        if (path.ends_with(".qcow2")) throw Killed{};
    };
    run_until_killed();
    EXPECT_THAT(must(catalog_->vms()), IsEmpty()) << "nothing is listed before all of it is there";
    EXPECT_EQ(must(catalog_->transfers()).size(), 1U);
    EXPECT_EQ(state(run(task)), "succeeded ");
    EXPECT_EQ(text_of(one), "first");
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
    EXPECT_THAT(pool_->unfinished(one.disks.front().volume), IsEmpty());
}

TEST_F(Files, a_cancelled_import_leaves_nothing_and_its_base_is_free_again) {
    const auto one = add_snapshot("one", "first");
    const auto two = add_snapshot("two", "second", one);
    export_to("two", two, {{"incremental_from", "one"}, {"as", "rbd"}});
    must(catalog_->remove_snapshot(two.id));
    must(pool_->remove_snapshot(two.disks.front().volume, two.id));
    const auto before = pool_->traces(one.disks.front().volume);
    const auto task = queued("/v1/imports", {{"directory", at("two")}});
    watched_->at_sum = [&](const std::string& path) {
        if (!path.ends_with(".rbd")) return;
        EXPECT_EQ(must(catalog_->holds(one.vm)).size(), 1U) << "its base is held";
        must(catalog_->request_cancel(task.id, clock_.now()));
        clock_.sleep(Duration(1000));
    };
    EXPECT_EQ(run(task).state, model::TaskState::cancelled);
    EXPECT_EQ(pool_->traces(one.disks.front().volume), before);
    EXPECT_THAT(must(catalog_->holds(one.vm)), IsEmpty());
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
    EXPECT_EQ(must(catalog_->snapshots(one.vm)).size(), 1U);
}

TEST_F(Files, a_peer_waits_while_a_snapshot_of_its_vm_is_imported_and_the_import_for_a_peer) {
    pair_with(dr_);
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    auto offered = request_from(dr_, 201);
    const auto task = queued("/v1/imports", {{"directory", at("one")}});
    watched_->at_sum = [&](const std::string& path) {
        if (!path.ends_with(".qcow2")) return;
        const auto offer = receiving_.offer(dr_.id, offered);
        ASSERT_FALSE(offer);
        EXPECT_EQ(offer.error().kind(), ErrorKind::unavailable) << offer.error().text();
    };
    EXPECT_EQ(state(run(task)), "succeeded ");
    forget_all(one.vm, one.disks.front().volume);
    must(receiving_.offer(dr_.id, offered));
    const auto waiting = queued("/v1/imports", {{"directory", at("one")}});
    must(runner_->run_one());
    EXPECT_EQ(must(catalog_->task(waiting.id)).error_kind, "unavailable");
    must(receiving_.forget(dr_.id));
    EXPECT_EQ(state(run(waiting)), "succeeded ");
}

TEST_F(Files, a_snapshot_of_an_owned_vm_comes_back_and_its_owner_stays) {
    auto one = add_snapshot("one", "first");
    export_to("one", one);
    const auto before = must(catalog_->vm(one.vm)).ownership;
    const model::Ownership ours{5, here_.id, model::Phase::owned};
    must(catalog_->set_ownership(one.vm, before, ours, {}));
    const auto two = add_snapshot("two", "second", one);
    must(catalog_->remove_snapshot(one.id));
    must(pool_->remove_snapshot(one.disks.front().volume, one.id));
    const auto record = must(catalog_->vm(one.vm));
    EXPECT_EQ(state(import_from("one")), "succeeded ");
    EXPECT_EQ(text_of(one), "first");
    EXPECT_EQ(text_of(two), "second");
    EXPECT_EQ(must(catalog_->vm(one.vm)), record) << "neither its owner nor its disks change";
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
}

TEST_F(Files, an_import_makes_no_vm_startable_under_the_id_that_it_had) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    EXPECT_EQ(state(import_from("one")), "succeeded ");
    EXPECT_EQ(ask("POST", "/v1/vms/vm201/start").status, 403);
    forget_all(one.vm, one.disks.front().volume);
    // The file says that this cluster owns the VM, but the catalog does not know it.
    auto text = must(watched_->read_text(at("one") + "/manifest.json", 1U << 20));
    for (auto place = text.find(dr_.id.text()); place != text.npos;
         place = text.find(dr_.id.text()))
        text.replace(place, dr_.id.text().size(), here_.id.text());
    must(watched_->write_text(at("one") + "/manifest.json", text));
    EXPECT_EQ(ask("POST", "/v1/imports", json{{"directory", at("one")}}.dump()).kind(), "corrupt");
    const auto sum =
        must(watched_->sum(at("one") + "/manifest.json", [](ByteSize) { return Result<>{}; }));
    must(watched_->write_text(at("one") + "/SHA256SUMS", sum.sha256 + "  manifest.json\n"));
    const auto refused = import_from("one");
    EXPECT_EQ(refused.error_kind, "refused");
    EXPECT_THAT(refused.error, HasSubstr("--as-new-vm"));
    EXPECT_THAT(must(catalog_->vms()), IsEmpty());
}

TEST_F(Files, a_new_vm_that_libvirt_does_not_take_leaves_nothing) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    hypervisor_.set_adapt_issues({{model::Severity::blocks, "tpm", "no TPM here"}});
    const auto blocked = import_from("one", {{"as_new_vm", "copy"}});
    EXPECT_EQ(blocked.error_kind, "refused") << state(blocked);
    EXPECT_THAT(blocked.error, HasSubstr("tpm"));
    const auto accepted = import_from("one", {{"as_new_vm", "copy"}, {"accept", {"tpm"}}});
    EXPECT_EQ(state(accepted), "succeeded ");
    hypervisor_.set_adapt_issues({});
    hypervisor_.add(VmId(base::uuid_from_random(7, 7)), "taken", {});
    const auto taken = import_from("one", {{"as_new_vm", "taken"}});
    EXPECT_EQ(taken.state, model::TaskState::failed);
    EXPECT_EQ(must(catalog_->vms()).size(), 1U);
    EXPECT_EQ(pool_->volumes().size(), 1U);
    EXPECT_THAT(must(catalog_->transfers()), IsEmpty());
}

TEST_F(Files, a_new_vm_whose_name_was_taken_meanwhile_goes_again_whole) {
    const auto one = add_snapshot("one", "first");
    export_to("one", one);
    forget_all(one.vm, one.disks.front().volume);
    watched_->after_sum = [&](const std::string& path) {
        if (path.ends_with(".qcow2"))
            hypervisor_.add(VmId(base::uuid_from_random(7, 7)), "copy", {});
    };
    const auto task = import_from("one", {{"as_new_vm", "copy"}});
    EXPECT_EQ(task.error_kind, "refused") << state(task);
    EXPECT_THAT(must(catalog_->vms()), IsEmpty());
    EXPECT_THAT(pool_->volumes(), IsEmpty());
    EXPECT_EQ(must(hypervisor_.list()).size(), 1U);
}

TEST_F(Files, words_that_make_no_sense_are_refused_before_a_task_is_made) {
    const auto one = add_snapshot("one", "first");
    const auto path = fmt::format("/v1/vms/{}/snapshots/one/export", one.vm.text());
    export_to("one", one);
    const auto tasks = must(catalog_->tasks({std::nullopt, false, 1000})).size();
    const std::vector<std::pair<std::string, json>> wrong{
        {path, json::object()},
        {path, {{"directory", "relative"}}},
        {path, {{"directory", std::string("/nul\0x", 6)}}},
        {path, {{"directory", at("x")}, {"as", "vmdk"}}},
        {path, {{"directory", at("x")}, {"incremental_from", "nosuch"}}},
        {path, {{"directory", at("x")}, {"base_directory", at("one")}}},
        {"/v1/imports", json::object()},
        {"/v1/imports", {{"directory", at("nosuch")}}},
        {"/v1/imports", {{"directory", root_.path()}}},
        {"/v1/imports", {{"directory", at("one")}, {"pool", "nosuch"}}},
        {"/v1/imports", {{"directory", at("one")}, {"as_new_vm", "a/b"}}},
        {"/v1/imports", {{"directory", at("one")}, {"as_new_vm", "vm201"}}}};
    for (const auto& [target, body] : wrong) {
        const auto answer = ask("POST", target, body.dump());
        EXPECT_GE(answer.status, 400) << target << body;
        EXPECT_LT(answer.status, 500) << target << body;
    }
    EXPECT_EQ(must(catalog_->tasks({std::nullopt, false, 1000})).size(), tasks);
}

}  // namespace
}  // namespace understudy::api
