#include "tasks/records/record.hpp"

#include "tasks/records/drill_records.hpp"
#include "tasks/records/file_records.hpp"
#include "tasks/records/owner_records.hpp"
#include "tasks/records/proof_records.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/records/snapshot_records.hpp"

#include <gmock/gmock.h>

namespace understudy::tasks {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kVm = "6f3a0000-0000-4000-8000-000000000001";
constexpr const char* kSnapshot = "6f3a0000-0000-4000-8000-000000000002";
constexpr const char* kPeer = "6f3a0000-0000-4000-8000-000000000003";

template <class T>
T read(const json& stored) {
    auto record = read_record<T>(stored);
    if (!record) throw std::runtime_error(record.error().text());
    return std::move(*record);
}

TEST(Record, of_a_newer_version_is_refused_and_says_what_to_do) {
    auto record = read_record<ReleaseArguments>({{"version", 2}, {"vm", kVm}});
    ASSERT_FALSE(record);
    EXPECT_EQ(record.error().kind(), ErrorKind::unsupported);
    EXPECT_THAT(record.error().text(), HasSubstr("Update understudyd"));
}

TEST(Record, of_a_wrong_shape_is_corrupt_and_names_the_field) {
    const auto refusal = [](const json& stored) {
        auto record = read_record<SendArguments>(stored);
        EXPECT_FALSE(record) << stored;
        if (record) return std::string();
        EXPECT_EQ(record.error().kind(), ErrorKind::corrupt);
        return record.error().text();
    };
    const json right{{"vm", kVm}, {"snapshot", kSnapshot}, {"peer", kPeer}};
    EXPECT_TRUE(read_record<SendArguments>(right));
    for (const auto& [name, wrong] :
         std::vector<std::pair<std::string, json>>{{"vm", 7},
                                                   {"vm", "web1"},
                                                   {"full", "yes"},
                                                   {"rate_bytes", -1},
                                                   {"rate_bytes", 1.5},
                                                   {"accept", "name"},
                                                   {"accept", {1}},
                                                   {"base", "x"},
                                                   {"snapshot", nullptr}}) {
        auto stored = right;
        stored[name] = wrong;
        EXPECT_THAT(refusal(stored), HasSubstr("'" + name + "'"));
    }
    auto without = right;
    without.erase("peer");
    EXPECT_THAT(refusal(without), HasSubstr("'peer' is missing"));
    EXPECT_THAT(refusal(json::array()), HasSubstr("not an object"));
    EXPECT_THAT(refusal({{"version", "1"}}), HasSubstr("version"));
}

TEST(Record, a_field_that_is_unknown_is_ignored_and_one_that_is_missing_keeps_its_default) {
    const auto arguments = read<SnapshotCreateArguments>(
        {{"vm", kVm}, {"snapshot", kSnapshot}, {"name", "n"}, {"later", 1}});
    EXPECT_TRUE(arguments.freeze);
    EXPECT_FALSE(arguments.branch);
}

TEST(Record, changes_of_one_that_is_new_are_nothing) {
    EXPECT_EQ(write_changes(MoveMemo{}), json::object());
    MoveMemo memo;
    memo.was_running = false;
    memo.departed = true;
    const json written = write_changes(memo);
    EXPECT_EQ(written, json({{"version", 1}, {"was_running", false}, {"departed", true}}));
    EXPECT_EQ(read<MoveMemo>(written).was_running, false);
    EXPECT_EQ(read<MoveMemo>(json::object()).was_running, std::nullopt);
}

TEST(Record, version_0_of_a_send_had_its_plan_beside_the_rest) {
    const auto memo = read<SendMemo>({{"kind", "incremental"},
                                      {"base", kSnapshot},
                                      {"lost_known", true},
                                      {"resync", json::array()},
                                      {"transfer", kPeer},
                                      {"left_bytes", 7}});
    ASSERT_TRUE(memo.plan);
    EXPECT_EQ(memo.plan->kind, engine::SendKind::incremental);
    EXPECT_EQ(memo.plan->base->text(), kSnapshot);
    EXPECT_TRUE(memo.plan->peer_lost_newest);
    EXPECT_EQ(memo.left_bytes, 7u);
    const auto full = read<SendMemo>({{"kind", "full"}, {"base", ""}, {"lost_known", false}});
    EXPECT_FALSE(full.plan->base);
    EXPECT_FALSE(read<SendMemo>(json::object()).plan);
    EXPECT_EQ(write_record(read<SendMemo>(write_record(memo))), write_record(memo));
}

TEST(Record, version_0_of_a_promote_had_its_result_as_told) {
    const auto memo = read<PromoteMemo>({{"told", {{"vm", "web1"}, {"started", true}}}});
    ASSERT_TRUE(memo.result_before_boot_check);
    EXPECT_EQ(memo.result_before_boot_check->vm, "web1");
}

// As `ask` of commit c5b03b3 saved it: the answer came, and the record was not changed yet.
TEST(Record, version_0_of_a_move_says_what_the_target_answered) {
    const json next{{"epoch", 3}, {"owner", kPeer}, {"phase", "handing_over"}};
    const json answer{{"epoch", 4}, {"owner", kVm}, {"phase", "replica"}};
    const auto memo = read<MoveMemo>(
        {{"was_running", true},
         {"rest_is_small", true},
         {"stopped_at", "2026-11-30T10:00:00.250Z"},
         {"last", kSnapshot},
         {"next", next},
         {"disks", json::array({{{"target", "vda"}, {"volume", kVm}, {"pool", "vms"}}})},
         {"autostart", true},
         {"answer", answer}});
    EXPECT_EQ(memo.was_running, true);
    EXPECT_TRUE(memo.rest_is_small);
    ASSERT_TRUE(memo.stopped_at);
    EXPECT_EQ(base::format_time(*memo.stopped_at), "2026-11-30T10:00:00.250Z");
    ASSERT_TRUE(memo.last);
    EXPECT_EQ(memo.last->text(), kSnapshot);
    ASSERT_TRUE(memo.next);
    EXPECT_EQ(json(*memo.next), next);
    ASSERT_TRUE(memo.answer);
    EXPECT_EQ(json(*memo.answer), answer);
    ASSERT_EQ(memo.disks.size(), 1u);
    EXPECT_TRUE(memo.autostart);
    EXPECT_FALSE(memo.refusal);
    EXPECT_FALSE(memo.departed);
}

// A disk in Ceph goes back as it stands, a file gets a new head beside the present one.
TEST(Record, version_0_of_a_rollback_tells_heads_in_place_from_those_that_were_made) {
    const auto memo = read<SnapshotRollbackMemo>(
        {{"in_place", {{kVm, {{"type", "network"}, {"format", "raw"}, {"location", "vms/i"}}}}},
         {"made", {{kPeer, {{"type", "file"}, {"format", "qcow2"}, {"location", "/p/h.qcow2"}}}}},
         {"defining", true},
         {"former", json::array({{{"target", "vda"}, {"volume", kVm}, {"pool", "ceph"}}})}});
    ASSERT_EQ(memo.in_place.size(), 1u);
    EXPECT_EQ(memo.in_place.begin()->first.text(), kVm);
    EXPECT_EQ(memo.in_place.begin()->second.source(),
              (ports::DiskSource{"network", "raw", "vms/i"}));
    ASSERT_EQ(memo.made.size(), 1u);
    EXPECT_EQ(memo.made.begin()->first.text(), kPeer);
    EXPECT_EQ(memo.made.begin()->second.source(),
              (ports::DiskSource{"file", "qcow2", "/p/h.qcow2"}));
    EXPECT_TRUE(memo.defining);
    ASSERT_TRUE(memo.former);
    EXPECT_EQ(memo.former->size(), 1u);
}

// The daemon ended in the middle of the moment: the guest may stand still.
TEST(Record, version_0_of_a_snapshot_in_ceph_says_that_the_guest_stands_still) {
    const auto memo = read<SnapshotCreateMemo>(
        {{"disks", json::array({{{"target", "vda"}, {"volume", kVm}, {"pool", "ceph"}}})},
         {"switches", json::array({{{"target", "vda"},
                                    {"type", "network"},
                                    {"format", "raw"},
                                    {"location", "vms/i"},
                                    {"overlay", false},
                                    {"size", 65536}}})},
         {"domain_xml", "<domain/>"},
         {"taken", "2026-11-30T10:00:00.250Z"},
         {"stands_still", true}});
    EXPECT_TRUE(memo.stands_still);
    EXPECT_TRUE(memo.moment_is_open());
    EXPECT_FALSE(memo.moment_has_passed());
    EXPECT_FALSE(memo.overlays_stale);
    ASSERT_TRUE(memo.heads);
    ASSERT_EQ(memo.heads->size(), 1u);
    const auto& head = memo.heads->front();
    EXPECT_FALSE(head.overlay);
    EXPECT_EQ(head.target, "vda");
    EXPECT_EQ(head.size, 65536u);
    EXPECT_EQ(head.source.source(), (ports::DiskSource{"network", "raw", "vms/i"}));
    EXPECT_EQ(memo.domain_xml, "<domain/>");
}

TEST(Record, a_head_and_a_moment_come_back_whole) {
    SnapshotCreateMemo memo;
    memo.disks = {{"vda", VolumeId::random(), "vms"}};
    memo.heads = {
        {"vda", {"network", "raw", "vms/i", {"m:1", "m:2"}, "understudy", kPeer}, false, 1 << 20}};
    memo.taken = TimePoint(Duration(1'700'000'000'123));
    memo.overlays_stale = true;
    const auto back = read<SnapshotCreateMemo>(write_changes(memo));
    EXPECT_EQ(back.heads->front().source.source(), memo.heads->front().source.source());
    EXPECT_EQ(back.taken, memo.taken);
    EXPECT_FALSE(back.moment_is_open());
    EXPECT_FALSE(back.moment_has_passed());
    EXPECT_EQ(write_changes(back), write_changes(memo));
}

TEST(Record, words_of_enumerations_stay_as_they_were_on_disk) {
    for (const auto& [kind, word] : std::vector<std::pair<engine::SendKind, std::string>>{
             {engine::SendKind::full, "full"},
             {engine::SendKind::incremental, "incremental"},
             {engine::SendKind::resync, "resync"},
             {engine::SendKind::nothing, "nothing"}}) {
        SendMemo memo;
        memo.plan = SendPlanRecord{.kind = kind};
        const json written = write_changes(memo);
        EXPECT_EQ(written.dump(), R"({"plan":{"kind":")" + word +
                                      R"(","peer_lost_newest":false,"resync":[]},"version":1})");
        EXPECT_EQ(read<SendMemo>(written).plan->kind, kind);
        EXPECT_EQ(read<SendMemo>(written).sends_nothing(), word == "nothing");
        EXPECT_EQ(read<SendMemo>({{"kind", word}}).plan->kind, kind) << "version 0";
    }
    for (const auto& [level, word] : std::vector<std::pair<model::Consistency, std::string>>{
             {model::Consistency::crash, "crash"},
             {model::Consistency::filesystem, "filesystem"}}) {
        SnapshotCreateMemo memo;
        memo.consistency = level;
        const json written = write_changes(memo);
        EXPECT_EQ(written.dump(), R"({"consistency":")" + word + R"(","version":1})");
        EXPECT_EQ(read<SnapshotCreateMemo>(written).consistency, level);
    }
}

TEST(Record, a_word_that_no_enumeration_has_is_corrupt) {
    const auto expect_corrupt = [](const auto& record, const std::string& field) {
        ASSERT_FALSE(record);
        EXPECT_EQ(record.error().kind(), ErrorKind::corrupt);
        EXPECT_THAT(record.error().text(), HasSubstr("'" + field + "'"));
    };
    for (const json& wrong : {json("by hand"), json(""), json(0), json(nullptr)})
        expect_corrupt(read_record<SendMemo>({{"version", 1}, {"plan", {{"kind", wrong}}}}),
                       "kind");
    for (const json& wrong : {json("none"), json(""), json(1)})
        expect_corrupt(read_record<SnapshotCreateMemo>({{"consistency", wrong}}), "consistency");
}

// What every kind keeps can be written and read again when nothing was put into it yet.
template <class... Memos>
void all_are_readable_when_new() {
    ([] { EXPECT_TRUE(read_record<Memos>(write_changes(Memos{}))); }(), ...);
    ([] { EXPECT_TRUE(read_record<Memos>(write_record(Memos{}))); }(), ...);
}
TEST(Record, memos_and_results_of_all_kinds_begin_empty) {
    all_are_readable_when_new<
        SnapshotCreateMemo, SnapshotCreateResult, SnapshotRemoveMemo, SnapshotRollbackMemo,
        SnapshotRollbackResult, ReleaseMemo, ReleaseResult, SendMemo, SendResult, ReplicaRemoveMemo,
        ReplicaTidyMemo, KeepBranchResult, ReplicaDrillMemo, ReplicaDrillResult, ReplicaVerifyMemo,
        ReplicaVerifyResult, ReplicaRepairMemo, ReplicaRepairResult, SnapshotExportMemo,
        SnapshotExportResult, SnapshotImportMemo, SnapshotImportResult, PromoteMemo, PromoteResult,
        MoveMemo, MoveResult, ResolveMemo, ResolveResult>();
}

}  // namespace
}  // namespace understudy::tasks
