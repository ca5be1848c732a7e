#include "net/identity.hpp"

#include "net/openssl_handles.hpp"
#include "net/secrets.hpp"

#include <gtest/gtest.h>
#include <openssl/asn1.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace understudy::net {
namespace {

namespace fs = std::filesystem;

class IdentityFiles : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "identity-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        directory_ = root_ + "/keys";
    }
    void TearDown() override { fs::remove_all(root_); }

    unsigned mode_of(const std::string& path) {
        struct stat status{};
        EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
        return status.st_mode & 07777;
    }
    void write(const std::string& path, std::string_view text) { std::ofstream(path) << text; }

    std::string root_;
    std::string directory_;
};

TEST(Identity, lasts_a_century_and_carries_its_name) {
    auto identity = make_identity("site a, Größe");
    ASSERT_TRUE(identity) << identity.error().text();
    auto certificate = parse_certificate(identity->certificate_pem);
    ASSERT_TRUE(certificate);
    int days = 0;
    int seconds = 0;
    ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate->get()));
    EXPECT_GT(days, 99 * 365);
    EXPECT_EQ(X509_cmp_current_time(X509_get0_notBefore(certificate->get())), -1);
    EXPECT_EQ(X509_get_version(certificate->get()), X509_VERSION_3);
}

TEST(Identity, accepts_names_longer_than_a_certificate_holds) {
    std::string name;
    for (int i = 0; i < 100; ++i) name += "ü";
    EXPECT_TRUE(make_identity(name));
    EXPECT_EQ(make_identity("").error().kind(), ErrorKind::invalid);
}

TEST(Identity, is_never_made_twice) {
    auto one = make_identity("a");
    auto two = make_identity("a");
    EXPECT_NE(fingerprint(one->certificate_pem).value(), fingerprint(two->certificate_pem).value());
    EXPECT_EQ(fingerprint(one->certificate_pem)->size(), 64u);
    EXPECT_EQ(fingerprint("nonsense").error().kind(), ErrorKind::invalid);
}

TEST_F(IdentityFiles, keeps_the_key_to_its_owner_and_survives_a_restart) {
    auto made = load_or_create_identity(directory_, "a");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(mode_of(directory_), 0700u);
    EXPECT_EQ(mode_of(directory_ + "/key.pem"), 0600u);
    auto loaded = load_or_create_identity(directory_, "another name");
    ASSERT_TRUE(loaded) << loaded.error().text();
    EXPECT_EQ(loaded->certificate_pem, made->certificate_pem);
    EXPECT_EQ(loaded->private_key_pem, made->private_key_pem);
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
}

TEST_F(IdentityFiles, is_made_again_after_a_crash_between_key_and_certificate) {
    fs::create_directory(directory_);
    write(directory_ + "/key.pem", "half a key");
    write(directory_ + "/key.pem.new", "left over");
    auto made = load_or_create_identity(directory_, "a");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(mode_of(directory_ + "/key.pem"), 0600u);
    EXPECT_TRUE(load_or_create_identity(directory_, "a"));
}

TEST_F(IdentityFiles, refuses_a_key_that_others_can_read) {
    ASSERT_TRUE(load_or_create_identity(directory_, "a"));
    ::chmod((directory_ + "/key.pem").c_str(), 0640);
    auto loaded = load_or_create_identity(directory_, "a");
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind(), ErrorKind::refused);
    EXPECT_NE(loaded.error().advice().find("chmod 600"), std::string::npos);
}

TEST_F(IdentityFiles, is_not_replaced_when_damaged) {
    auto made = load_or_create_identity(directory_, "a");
    auto other = make_identity("a");
    for (const std::string& key : {other->private_key_pem, std::string("garbage"), std::string()}) {
        write(directory_ + "/key.pem", key);
        EXPECT_EQ(load_or_create_identity(directory_, "a").error().kind(), ErrorKind::corrupt);
    }
    fs::remove(directory_ + "/key.pem");
    EXPECT_EQ(load_or_create_identity(directory_, "a").error().kind(), ErrorKind::corrupt);
    write(directory_ + "/key.pem", made->private_key_pem);
    ::chmod((directory_ + "/key.pem").c_str(), 0600);
    EXPECT_EQ(load_or_create_identity(directory_, "a")->certificate_pem, made->certificate_pem);
}

TEST(Secrets, match_published_vectors) {
    EXPECT_EQ(sha256_hex("abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"),  // RFC 4231, case 2
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(hmac_sha256_hex("", "").size(), 64u);
}

TEST(Secrets, are_random_and_compared_whole) {
    EXPECT_EQ(random_secret(32).size(), 43u);
    EXPECT_NE(random_secret(32), random_secret(32));
    EXPECT_TRUE(constant_time_equal("secret", "secret"));
    EXPECT_FALSE(constant_time_equal("secret", "secreT"));
    EXPECT_FALSE(constant_time_equal("secret", "secre"));
    EXPECT_TRUE(constant_time_equal("", ""));
}

}  // namespace
}  // namespace understudy::net
