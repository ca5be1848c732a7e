#include "net/encoding.hpp"

#include <gtest/gtest.h>

namespace understudy::net {
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
                      "Zm 8=", "-_8=", "Zm8*"})
        EXPECT_FALSE(base64_decode(text)) << text;
    for (auto text : {"Zg==", "Z", "Zh", "Zm9", "+/8", "Zg Zg"})
        EXPECT_FALSE(base64url_decode(text)) << text;
    EXPECT_EQ(base64_decode("Zm8*").error().kind(), ErrorKind::invalid);
}

TEST(PercentCoding, carries_any_name_through_a_path_segment) {
    std::string every_byte;
    for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
    for (const std::string& name : {std::string("web 1/../$(reboot);'\"?&#%+"),
                                    std::string("Größe-数据库"), every_byte, std::string()}) {
        std::string encoded = percent_encode(name);
        EXPECT_EQ(encoded.find_first_of("/ ?&#\"'$+"), encoded.npos) << encoded;
        EXPECT_EQ(percent_decode(encoded).value(), name);
    }
    EXPECT_EQ(percent_encode("a b/ü"), "a%20b%2F%C3%BC");
    EXPECT_EQ(percent_decode("a+b%2b").value(), "a+b+");
}

TEST(PercentCoding, refuses_cut_off_or_wrong_digits) {
    for (auto text : {"%", "%4", "a%", "%zz", "%4x", "%%20"})
        EXPECT_FALSE(percent_decode(text)) << text;
}

}  // namespace
}  // namespace understudy::net
