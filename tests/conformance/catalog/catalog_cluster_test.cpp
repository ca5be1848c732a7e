#include "catalog_fixture.hpp"

namespace understudy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CatalogCluster : public CatalogTest {};
EVERY_CATALOG(CatalogCluster);

TEST_P(CatalogCluster, a_new_catalog_has_no_cluster_and_nothing_else) {
    EXPECT_EQ(must(catalog().find_cluster()), std::nullopt);
    EXPECT_THAT(must(catalog().peers()), IsEmpty());
    EXPECT_THAT(must(catalog().vms()), IsEmpty());
    EXPECT_THAT(must(catalog().transfers()), IsEmpty());
    EXPECT_THAT(must(catalog().tasks({})), IsEmpty());
}

TEST_P(CatalogCluster, the_first_cluster_stays_and_can_only_be_renamed) {
    const model::Cluster first{ClusterId::random(), "main"};
    must(catalog().save_cluster(first));
    EXPECT_EQ(must(catalog().find_cluster()), first);
    const auto other = catalog().save_cluster({ClusterId::random(), "other"});
    ASSERT_EQ(kind_of(other), "conflict");
    EXPECT_THAT(other.error().text(), HasSubstr("'main'"));
    must(catalog().save_cluster({first.id, "renamed"}));
    EXPECT_EQ(must(catalog().find_cluster()), (model::Cluster{first.id, "renamed"}));
}

TEST_P(CatalogCluster, a_peer_comes_back_whole_and_is_replaced_whole) {
    auto peer = some_peer("dr");
    must(catalog().save_peer(peer));
    EXPECT_EQ(must(catalog().peer(peer.id)), peer);
    peer.name = "dr2";
    peer.address = "[2001:db8::1]:7373";
    peer.certificate_pem = "other";
    peer.fingerprint = "other fingerprint";
    peer.networks.clear();
    peer.pools = {{"a", "b"}};
    peer.rate_limit = ByteSize(0);
    peer.last_contact.reset();
    peer.capabilities = {};
    must(catalog().save_peer(peer));
    EXPECT_THAT(must(catalog().peers()), ElementsAre(peer));
    EXPECT_EQ(kind_of(catalog().peer(ClusterId::random())), "not_found");
}

TEST_P(CatalogCluster, a_peer_is_found_by_its_exact_fingerprint) {
    const auto one = some_peer("one");
    const auto two = some_peer("two");
    must(catalog().save_peer(one));
    must(catalog().save_peer(two));
    EXPECT_EQ(must(catalog().find_peer_by_fingerprint(two.fingerprint)), two);
    EXPECT_EQ(must(catalog().find_peer_by_fingerprint("fingerprint of %")), std::nullopt);
}

TEST_P(CatalogCluster, touching_a_peer_changes_contact_and_capabilities_only) {
    auto peer = some_peer("dr");
    must(catalog().save_peer(peer));
    peer.last_contact = at(99);
    peer.capabilities.version = "0.2.0";
    must(catalog().touch_peer(peer.id, at(99), peer.capabilities));
    EXPECT_EQ(must(catalog().peer(peer.id)), peer);
    EXPECT_EQ(kind_of(catalog().touch_peer(ClusterId::random(), at(99), {})), "not_found");
}

TEST_P(CatalogCluster, removing_a_peer_takes_its_base_holds_and_replication_but_no_others) {
    const auto gone = some_peer("gone");
    const auto stays = some_peer("stays");
    must(catalog().save_peer(gone));
    must(catalog().save_peer(stays));
    const auto made = publish_new(catalog(), "web1", "nightly");
    for (const auto& peer : {gone, stays})
        must(catalog().save_replication(
            {made.vm.id, peer.id, made.snapshot.id, made.snapshot.taken, at(1), "[]"}));
    const model::Hold by_user{made.snapshot.id, model::HoldKind::user, gone.id.text()};
    must(catalog().add_hold(by_user));
    must(catalog().remove_peer(gone.id));
    EXPECT_THAT(must(catalog().peers()), ElementsAre(stays));
    const auto replications = must(catalog().replications(std::nullopt));
    ASSERT_EQ(replications.size(), 1U);
    EXPECT_EQ(replications[0].peer, stays.id);
    EXPECT_THAT(must(catalog().holds(made.vm.id)),
                ElementsAre(model::Hold{made.snapshot.id, model::HoldKind::base, stays.id.text()},
                            by_user));
}

TEST_P(CatalogCluster, an_invite_is_taken_once) {
    must(catalog().add_invite("hash", at(100)));
    EXPECT_FALSE(must(catalog().take_invite("another", at(1))));
    EXPECT_TRUE(must(catalog().take_invite("hash", at(1))));
    EXPECT_FALSE(must(catalog().take_invite("hash", at(1))));
}

TEST_P(CatalogCluster, an_expired_invite_is_gone_for_good) {
    must(catalog().add_invite("early", at(100)));
    must(catalog().add_invite("late", at(200)));
    EXPECT_FALSE(must(catalog().take_invite("early", at(100))));
    EXPECT_FALSE(must(catalog().take_invite("early", at(1)))) << "it was not deleted";
    EXPECT_TRUE(must(catalog().take_invite("late", at(199))));
}

}  // namespace
}  // namespace understudy::test
