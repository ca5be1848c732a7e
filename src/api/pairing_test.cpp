#include "api/pairing.hpp"

#include "api/memory_site_test.hpp"
#include "net/secrets.hpp"

#include <fmt/format.h>

namespace understudy::api {
namespace {

using ::testing::HasSubstr;

const InviteToken kToken{"site.example:7373", std::string(64, 'a'), "secret",
                         TimePoint(Duration(1'800'000'000'000))};

TEST(Invitation, survives_being_pasted_with_blanks_behind_it) {
    const auto text = encode_token(kToken);
    EXPECT_EQ(text.find_first_of(" \n'\"$`"), std::string::npos);
    for (const auto* tail : {"", "\n", "  \n"}) {
        const auto token = must(decode_token(text + tail));
        EXPECT_EQ(token.address, kToken.address);
        EXPECT_EQ(token.fingerprint, kToken.fingerprint);
        EXPECT_EQ(token.secret, kToken.secret);
        EXPECT_EQ(token.expires, kToken.expires);
    }
}

TEST(Invitation, that_lost_or_changed_any_character_is_told_to_be_mangled) {
    const auto text = encode_token(kToken);
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto shorter = text;
        shorter.erase(i, 1);
        EXPECT_FALSE(decode_token(shorter)) << i;
        auto changed = text;
        changed[i] = changed[i] == 'x' ? 'y' : 'x';
        const auto token = decode_token(changed);
        ASSERT_FALSE(token) << i;
        EXPECT_EQ(token.error().kind(), ErrorKind::invalid);
        EXPECT_THAT(token.error().text(), HasSubstr("not a whole invitation token"));
    }
    EXPECT_FALSE(decode_token(""));
    EXPECT_FALSE(decode_token(std::string(100'000, 'a')));
    EXPECT_FALSE(decode_token("understudy1." + std::string(100'000, 'a')));
    EXPECT_FALSE(decode_token(text + text));
}

class NewPeer : public MemorySite {};

TEST_F(NewPeer, is_a_cluster_of_its_own_with_a_name_of_its_own) {
    const auto known = pair_with(dr_);
    const std::vector peers{known};
    EXPECT_TRUE(check_new_peer(here_, peers, third_, std::string(64, 'f')));
    EXPECT_TRUE(check_new_peer(here_, peers, dr_, known.fingerprint));  // once more
    const auto refused = [&](const model::Cluster& theirs, const char* why) {
        const auto result = check_new_peer(here_, peers, theirs, std::string(64, 'f'));
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().kind(), ErrorKind::refused);
        EXPECT_THAT(result.error().text(), HasSubstr(why));
    };
    refused(here_, "its own peer");
    refused(cluster("here", 9), "both clusters are named 'here'");
    refused(cluster("dr", 9), "has another peer named 'dr'");
    refused(dr_, "with another certificate");
}

TEST_F(NewPeer, is_not_made_of_this_clusters_own_or_an_old_invitation) {
    const auto invited = ask("POST", "/v1/invites", R"({"ttl_ms": 60000})");
    ASSERT_EQ(invited.status, 200);
    const nlohmann::json own{{"token", invited.body.at("token")}};
    const auto joined = ask("POST", "/v1/peers", own.dump());
    EXPECT_EQ(joined.status, 403);
    EXPECT_THAT(joined.text(), HasSubstr("this cluster's own"));
    auto old = kToken;
    old.expires = clock_.now();
    const auto expired =
        ask("POST", "/v1/peers", nlohmann::json{{"token", encode_token(old)}}.dump());
    EXPECT_EQ(expired.status, 403);
    EXPECT_THAT(expired.text(), HasSubstr("expired at"));
}

TEST_F(NewPeer, is_invited_for_a_bounded_time_and_the_secret_is_kept_only_as_a_hash) {
    for (const auto* ttl : {"0", "604800001", "18446744073709551615", "-1", "1.5", "\"1h\""})
        EXPECT_EQ(ask("POST", "/v1/invites", fmt::format(R"({{"ttl_ms": {}}})", ttl)).kind(),
                  "invalid")
            << ttl;
    const auto invited = ask("POST", "/v1/invites");
    const auto token = must(decode_token(invited.body.at("token").get<std::string>()));
    EXPECT_FALSE(must(catalog_->take_invite(token.secret, clock_.now())));
    const auto hash = net::sha256_hex(token.secret);
    EXPECT_TRUE(must(catalog_->take_invite(hash, clock_.now())));
    EXPECT_FALSE(must(catalog_->take_invite(hash, clock_.now()))) << "used twice";
}

}  // namespace
}  // namespace understudy::api
