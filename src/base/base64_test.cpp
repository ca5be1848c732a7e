#include "base/base64.hpp"

#include <gtest/gtest.h>

#include <random>

namespace understudy::base {
namespace {

TEST(Base64, writes_the_vectors_of_rfc_4648) {
    EXPECT_EQ(base64_encode(""), "");
    EXPECT_EQ(base64_encode("f"), "Zg==");
    EXPECT_EQ(base64_encode("fo"), "Zm8=");
    EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
    EXPECT_EQ(base64_encode("\xfb\xff"), "+/8=");
    EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
}

TEST(Base64, returns_every_byte_at_every_length) {
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
        EXPECT_EQ(base64url_decode(base64url_encode(bytes)).value(), bytes);
        bytes += static_cast<char>(255 - i);
    }
}

TEST(Base64, refuses_what_the_encoder_never_writes) {
    for (auto text : {"Zg", "Zg=", "Zg===", "=", "====", "Z", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n",
                      "Zm 8=", "-_8=", "Zm8*", "Z===", "=Zg=", "Zm9\xff"})
        EXPECT_FALSE(base64_decode(text)) << text;
    for (auto text : {"Zg==", "Z", "Zh", "Zm9", "+/8", "Zg Zg"})
        EXPECT_FALSE(base64url_decode(text)) << text;
    EXPECT_EQ(base64_decode("Zm8*").error().kind(), ErrorKind::invalid);
}

TEST(Base64, is_strict_and_reversible) {
    std::mt19937 random(3);
    for (std::size_t size = 0; size < 100; ++size) {
        std::string bytes(size, '\0');
        for (auto& c : bytes) c = static_cast<char>(random());
        EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
    }
    EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");  // RFC 4648, section 10
    EXPECT_EQ(base64_encode("fo"), "Zm8=");
    for (const std::string text : {"Zg=", "Zg", "Z===", "Zm8=Zm8=", "Zh==", "Zm9v\n", "Zm9-"})
        EXPECT_FALSE(base64_decode(text).has_value()) << text;
}

}  // namespace
}  // namespace understudy::base
