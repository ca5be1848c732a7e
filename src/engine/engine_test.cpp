#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"

#include <gtest/gtest.h>

namespace understudy::engine {
namespace {

using model::Ownership;
using model::Phase;
using model::Snapshot;

template <class AnyId>
AnyId id(std::uint64_t n) {
    return AnyId(base::uuid_from_random(n, n));
}

Snapshot snapshot(std::uint64_t n, std::optional<std::uint64_t> parent) {
    Snapshot made;
    made.id = id<SnapshotId>(n);
    made.name = "s" + std::to_string(n);
    if (parent) made.parent = id<SnapshotId>(*parent);
    return made;
}

const ClusterId kHere = id<ClusterId>(1);
const ClusterId kThere = id<ClusterId>(2);

// 1 ─ 2 ─ 3 and, after a rollback to 2, 2 ─ 4
const std::vector<Snapshot> kTree{snapshot(1, {}), snapshot(2, 1), snapshot(3, 2), snapshot(4, 2)};

SendQuestion question(std::uint64_t until, const std::vector<std::uint64_t>& at_peer) {
    SendQuestion asked;
    asked.here = kTree;
    asked.snapshot = kTree[until - 1];
    for (const auto n : at_peer) asked.at_peer.push_back(id<SnapshotId>(n));
    return asked;
}

TEST(Lineage, base_is_the_newest_ancestor_that_both_hold_and_never_a_sibling) {
    EXPECT_EQ(plan_send(question(4, {1, 2, 3})).value().base, id<SnapshotId>(2));
    EXPECT_EQ(plan_send(question(4, {1, 3})).value().base, id<SnapshotId>(1));
}

TEST(Lineage, a_loop_in_the_records_ends) {
    const std::vector<Snapshot> loop{snapshot(1, 2), snapshot(2, 1)};
    EXPECT_LE(ancestry(loop, id<SnapshotId>(1)).size(), 3U);
}

TEST(Lineage, a_replica_goes_on_from_its_owners_line_and_from_no_branch) {
    auto all = kTree;  // 3 and 4 are two lines from 2
    for (auto& one : all) one.origin = kHere;
    const auto newest = [&](const std::vector<model::Hold>& holds) {
        const auto point = newest_point(all, kThere, holds);
        return point ? point->name : "none";
    };
    using model::HoldKind;
    const model::Hold branch{all[3].id, HoldKind::branch, "2"};
    EXPECT_EQ(newest({}), "s4") << "nothing is known of its owner's";
    EXPECT_EQ(newest({branch}), "s3");
    EXPECT_EQ(newest({branch, {all[1].id, HoldKind::base, kThere.text()}}), "s2")
        << "what was written here alone before the branch is not the owner's either";
    EXPECT_EQ(newest({branch, {all[1].id, HoldKind::base, kHere.text()}}), "s3")
        << "a base for another peer";
    all[2].origin = kThere;
    EXPECT_EQ(newest({branch, {all[1].id, HoldKind::base, kThere.text()}}), "s3");
    EXPECT_FALSE(newest_point({}, kThere, {}));
}

TEST(Lineage, a_person_names_a_snapshot_by_name_id_or_newest) {
    EXPECT_EQ(find_snapshot(kTree, "s2").value().id, id<SnapshotId>(2));
    EXPECT_EQ(find_snapshot(kTree, id<SnapshotId>(3).text()).value().name, "s3");
    EXPECT_EQ(find_snapshot(kTree, "@newest").value().name, "s4");
    EXPECT_EQ(find_snapshot(kTree, "$(reboot)").error().kind(), ErrorKind::not_found);
    EXPECT_EQ(find_snapshot({}, "s1").error().kind(), ErrorKind::not_found);
}

TEST(SendPlan, is_full_for_a_new_replica_and_nothing_for_what_is_there) {
    EXPECT_EQ(plan_send(question(3, {})).value().kind, SendKind::full);
    EXPECT_EQ(plan_send(question(3, {3})).value().kind, SendKind::nothing);
}

TEST(SendPlan, without_common_snapshot_compares_what_the_peer_has_of_the_disks) {
    auto asked = question(3, {99});
    EXPECT_TRUE(asks_for_contents(asked));
    asked.contents = {{id<VolumeId>(7), id<SnapshotId>(99)}};
    const auto plan = plan_send(asked).value();
    EXPECT_EQ(plan.kind, SendKind::resync);
    EXPECT_EQ(plan.resync, *asked.contents);
    EXPECT_EQ(plan.base, std::nullopt);
    // Also if the peer's catalog has lost the VM. If the peer has no content to compare with: full.
    asked.at_peer.clear();
    EXPECT_EQ(plan_send(asked).value().kind, SendKind::resync);
    asked.contents->clear();
    EXPECT_EQ(plan_send(asked).value().kind, SendKind::full);
    asked.at_peer = {id<SnapshotId>(99)};
    EXPECT_EQ(plan_send(asked).value().kind, SendKind::full);
}

TEST(SendPlan, contents_are_asked_for_only_where_lineage_has_no_answer) {
    EXPECT_FALSE(asks_for_contents(question(3, {1})));
    EXPECT_FALSE(asks_for_contents(question(3, {3})));
    EXPECT_TRUE(asks_for_contents(question(3, {})));
    auto full = question(3, {99});
    full.full = true;
    EXPECT_FALSE(asks_for_contents(full));
}

TEST(SendPlan, without_common_snapshot_and_digests_offers_an_update_and_full) {
    const auto refused = plan_send(question(3, {9}));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().kind(), ErrorKind::unsupported);
    EXPECT_NE(refused.error().text().find("--full"), std::string::npos);
    auto forced = question(3, {9});
    forced.full = true;
    EXPECT_EQ(plan_send(forced).value().kind, SendKind::full);
}

TEST(SendPlan, refuses_a_named_base_that_is_no_ancestor_or_not_at_the_peer) {
    auto sibling = question(4, {3});
    sibling.base = id<SnapshotId>(3);
    EXPECT_EQ(plan_send(sibling).error().kind(), ErrorKind::invalid);
    auto absent = question(4, {1});
    absent.base = id<SnapshotId>(2);
    EXPECT_EQ(plan_send(absent).error().kind(), ErrorKind::invalid);
}

TEST(SendPlan, an_added_disk_travels_whole) {
    auto base = snapshot(1, {});
    base.disks.push_back({"vda", id<VolumeId>(7), "vms", base::GiB(1)});
    EXPECT_EQ(base_of_disk(base, id<VolumeId>(7)), base.id);
    EXPECT_EQ(base_of_disk(base, id<VolumeId>(8)), std::nullopt);
}

TEST(SendPlan, an_obstacle_stops_a_send_until_it_is_accepted_by_name) {
    const std::vector<model::ReadinessIssue> issues{
        {model::Severity::blocks, "tpm", "the TPM's state cannot travel"},
        {model::Severity::warns, "cpu", "another CPU"}};
    const auto refused = check_obstacles(issues, {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().text().find("--accept tpm"), std::string::npos);
    EXPECT_TRUE(check_obstacles(issues, {"tpm"}).has_value());
}

TEST(Ownership, promote_raises_the_epoch_by_one_and_only_from_a_replica) {
    const Ownership replica{5, kThere, Phase::replica};
    EXPECT_EQ(promoted(replica, kHere).value(), (Ownership{6, kHere, Phase::owned}));
    for (const auto phase : {Phase::owned, Phase::superseded, Phase::handing_over})
        EXPECT_EQ(promoted({5, kThere, phase}, kHere).error().kind(), ErrorKind::refused);
}

TEST(Ownership, an_owner_that_hears_of_a_higher_epoch_is_superseded_and_may_not_start) {
    const Ownership ours{1, kHere, Phase::owned};
    ASSERT_TRUE(may_start(ours, kHere, "web1", "here").has_value());
    const auto next = after_hearing(ours, {2, kThere, Phase::owned}, kHere);
    ASSERT_TRUE(next.has_value());
    EXPECT_EQ(next->phase, Phase::superseded);
    EXPECT_EQ(may_start(*next, kHere, "web1", "dr").error().kind(), ErrorKind::refused);
}

TEST(Ownership, a_replica_refuses_start_with_the_words_that_tell_how_to_promote) {
    const auto refused = may_start({1, kThere, Phase::replica}, kHere, "web1", "prod");
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().text().find("understudy replica promote web1"), std::string::npos);
}

TEST(Ownership, of_two_owners_that_hear_each_other_exactly_one_may_go_on) {
    for (std::uint64_t a = 1; a <= 4; ++a)
        for (std::uint64_t b = 1; b <= 4; ++b) {
            Ownership here{a, kHere, Phase::owned};
            Ownership there{b, kThere, Phase::owned};
            const auto here_next = after_hearing(here, there, kHere).value_or(here);
            const auto there_next = after_hearing(there, here, kThere).value_or(there);
            const int running = may_start(here_next, kHere, "v", "o").has_value() +
                                may_start(there_next, kThere, "v", "o").has_value();
            EXPECT_EQ(running, 1) << "epochs " << a << " and " << b;
        }
}

TEST(Ownership, news_of_a_lower_epoch_changes_nothing) {
    EXPECT_FALSE(after_hearing({3, kHere, Phase::owned}, {2, kThere, Phase::owned}, kHere));
}

TEST(Ownership, a_cluster_that_forgot_its_own_epoch_does_not_run_on_a_peers_word) {
    const auto next = after_hearing({1, kThere, Phase::replica}, {4, kHere, Phase::owned}, kHere);
    ASSERT_TRUE(next.has_value());
    EXPECT_FALSE(may_start(*next, kHere, "v", "o").has_value());
    EXPECT_EQ(promoted(*next, kHere).value().epoch, 5U);
}

TEST(Ownership, a_snapshot_is_taken_only_from_the_owner_by_what_both_sides_know) {
    const Ownership offered{2, kThere, Phase::owned};
    EXPECT_TRUE(may_receive(std::nullopt, offered, kHere, kThere, "v").has_value());
    EXPECT_TRUE(may_receive(Ownership{1, kHere, Phase::owned}, offered, kHere, kThere, "v"));
    EXPECT_FALSE(may_receive(Ownership{3, kHere, Phase::owned}, offered, kHere, kThere, "v"));
    EXPECT_FALSE(may_receive(Ownership{2, kHere, Phase::owned}, offered, kHere, kThere, "v"));
    EXPECT_FALSE(may_receive(std::nullopt, {2, kHere, Phase::owned}, kHere, kThere, "v"));
    EXPECT_FALSE(may_receive(std::nullopt, {2, kThere, Phase::superseded}, kHere, kThere, "v"));
}

// What a handover leaves behind at both sides, whatever order its messages arrive in.
TEST(Ownership, of_a_handover_exactly_one_side_owns_the_vm_in_the_end) {
    const Ownership ours{4, kHere, Phase::owned};
    const auto offered = handing_over(ours, kHere, kThere).value();
    EXPECT_EQ(offered, (Ownership{5, kThere, Phase::handing_over}));
    EXPECT_FALSE(may_start(offered, kHere, "v", "there").has_value());
    const Ownership replica{4, kHere, Phase::replica};
    const auto taken = taken_over(replica, offered, kThere, kHere).value();
    EXPECT_EQ(taken, (Ownership{5, kThere, Phase::owned}));
    EXPECT_EQ(taken_over(taken, offered, kThere, kHere), taken) << "asked twice";
    EXPECT_EQ(declined(taken, offered, kHere), taken) << "too late";
    EXPECT_EQ(after_answer(offered, taken, kHere, kThere), (Ownership{5, kThere, Phase::replica}));

    const auto back = declined(replica, offered, kHere);
    EXPECT_EQ(back, (Ownership{6, kHere, Phase::replica}));
    EXPECT_FALSE(taken_over(back, offered, kThere, kHere).has_value()) << "too late";
    EXPECT_EQ(after_answer(offered, back, kHere, kThere), (Ownership{6, kHere, Phase::owned}));
    EXPECT_EQ(after_answer(offered, replica, kHere, kThere), std::nullopt) << "not decided";
    const auto unresolved = declined({4, kHere, Phase::superseded}, offered, kHere);
    EXPECT_EQ(unresolved, (Ownership{6, kHere, Phase::superseded}));
    EXPECT_EQ(after_answer(offered, unresolved, kHere, kThere),
              (Ownership{6, kHere, Phase::owned}));
}

TEST(Ownership, a_vm_that_was_taken_and_is_on_its_way_back_is_no_declined_one) {
    const Ownership offered{5, kThere, Phase::handing_over};
    const Ownership returning{6, kHere, Phase::handing_over};
    const auto here = after_answer(offered, returning, kHere, kThere).value();
    EXPECT_EQ(here, (Ownership{5, kThere, Phase::replica}));
    EXPECT_EQ(taken_over(here, returning, kHere, kThere), (Ownership{6, kHere, Phase::owned}));
}

// The third cluster's claim is what decides: above what was ours, or below.
TEST(Ownership, an_offer_to_a_cluster_that_knows_a_prevailing_owner_counts_for_nothing) {
    const ClusterId third = id<ClusterId>(77);
    const ClusterId least = id<ClusterId>(0);
    ASSERT_TRUE(least < kHere && kHere < third);
    const Ownership offered{5, kThere, Phase::handing_over};
    for (const auto phase : {Phase::replica, Phase::superseded}) {
        const Ownership theirs{4, third, phase};
        EXPECT_FALSE(taken_over(theirs, offered, kThere, kHere).has_value());
        EXPECT_EQ(declined(theirs, offered, kHere), theirs) << "nothing comes back";
        const auto here = after_answer(offered, theirs, kHere, kThere);
        ASSERT_EQ(here, (Ownership{4, third, Phase::superseded}));
        EXPECT_TRUE(is_transition(offered, *here, kHere));
        EXPECT_EQ(after_hearing(*here, {4, third, Phase::owned}, kHere), std::nullopt);
    }
    const Ownership behind{4, least, Phase::replica};
    EXPECT_EQ(after_answer(offered, behind, kHere, kThere), std::nullopt) << "it may take it yet";
    EXPECT_EQ(declined(behind, offered, kHere), (Ownership{6, kHere, Phase::replica}));
    const Ownership moving{4, third, Phase::handing_over};
    EXPECT_EQ(after_answer(offered, moving, kHere, kThere), std::nullopt) << "it may come back";
    const Ownership elsewhere{5, third, Phase::handing_over};
    EXPECT_EQ(after_answer(elsewhere, {4, third, Phase::replica}, kHere, kThere), std::nullopt)
        << "no word of the cluster that it was offered to";
    EXPECT_FALSE(is_transition({5, kHere, Phase::owned}, {4, third, Phase::superseded}, kHere));
}

TEST(Ownership, a_handover_is_taken_from_the_owner_alone) {
    const ClusterId third = id<ClusterId>(77);
    const Ownership offered{5, kThere, Phase::handing_over};
    for (const Ownership here :
         {Ownership{4, third, Phase::replica}, Ownership{5, kHere, Phase::replica},
          Ownership{4, kThere, Phase::owned}, Ownership{4, kHere, Phase::superseded}})
        EXPECT_FALSE(taken_over(here, offered, kThere, kHere).has_value());
    EXPECT_FALSE(handing_over({4, kThere, Phase::replica}, kHere, kThere).has_value());
    EXPECT_FALSE(handing_over({4, kHere, Phase::owned}, kHere, kHere).has_value());
}

TEST(Ownership, what_is_superseded_goes_on_under_a_later_epoch_or_becomes_a_replica) {
    const Ownership here{5, kThere, Phase::superseded};
    EXPECT_EQ(kept_here(here, kHere), (Ownership{6, kHere, Phase::owned}));
    EXPECT_EQ(kept_there(here), (Ownership{5, kThere, Phase::replica}));
    EXPECT_EQ(kept_here({5, kThere, Phase::handing_over}, kHere),
              (Ownership{6, kHere, Phase::owned}))
        << "the target is lost";
    EXPECT_FALSE(kept_here({5, kThere, Phase::replica}, kHere).has_value());
    EXPECT_FALSE(kept_there({5, kHere, Phase::owned}).has_value());
}

// Over all records that two clusters can have of a VM and hear of each other.
TEST(Ownership, every_rule_makes_a_change_that_the_table_allows) {
    for (const auto phase : {Phase::owned, Phase::handing_over, Phase::replica, Phase::superseded})
        for (const auto& owner : {kHere, kThere})
            for (std::uint64_t epoch = 1; epoch <= 4; ++epoch) {
                const Ownership here{epoch, owner, phase};
                // Other records do not exist: an owned VM is ours, and no other phase is.
                if ((phase == Phase::owned) != (owner == kHere)) continue;
                std::vector<Ownership> next;
                const auto add = [&](const auto& result) {
                    if (result) next.push_back(*result);
                };
                add(promoted(here, kHere));
                add(handing_over(here, kHere, kThere));
                add(kept_here(here, kHere));
                add(kept_there(here));
                for (std::uint64_t other = 1; other <= 5; ++other) {
                    const Ownership offered{other, kHere, Phase::handing_over};
                    add(taken_over(here, offered, kHere, kThere));
                    next.push_back(declined(here, offered, kThere));
                    add(after_hearing(here, {other, kThere, Phase::owned}, kHere));
                    for (const auto there : {Phase::owned, Phase::replica})
                        for (const auto& of : {kThere, kHere, id<ClusterId>(77)})
                            add(after_answer(here, {other, of, there}, kHere, kThere));
                }
                for (const auto& to : next) {
                    if (to == here) continue;
                    EXPECT_TRUE(is_transition(here, to, kHere))
                        << static_cast<int>(phase) << "@" << epoch << " → "
                        << static_cast<int>(to.phase) << "@" << to.epoch;
                }
            }
    EXPECT_FALSE(is_transition({5, kThere, Phase::handing_over}, {5, kHere, Phase::owned}, kHere));
    EXPECT_FALSE(is_transition({5, kHere, Phase::owned}, {4, kThere, Phase::superseded}, kHere));
    EXPECT_FALSE(is_transition({5, kThere, Phase::superseded}, {5, kHere, Phase::owned}, kHere));
}

TEST(Ownership, a_file_makes_no_cluster_an_owner) {
    const Ownership in_file{7, kThere, Phase::owned};
    EXPECT_EQ(after_import(std::nullopt, in_file, kHere, "v"),
              (Ownership{7, kThere, Phase::replica}));
    EXPECT_FALSE(after_import(std::nullopt, {7, kHere, Phase::owned}, kHere, "v").has_value());
    for (const auto phase : {Phase::owned, Phase::replica, Phase::superseded})
        for (const auto& owner : {kHere, kThere}) {
            const Ownership here{2, owner, phase};
            EXPECT_EQ(after_import(here, in_file, kHere, "v"), here);
        }
    EXPECT_FALSE(after_import(Ownership{2, kThere, Phase::handing_over}, in_file, kHere, "v"));
}

}  // namespace
}  // namespace understudy::engine
