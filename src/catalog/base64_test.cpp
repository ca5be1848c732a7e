#include "catalog/base64.hpp"

#include <gtest/gtest.h>

namespace understudy::catalog {
namespace {

TEST(Base64, writes_what_rfc_4648_says) {  // the examples of its section 10
    EXPECT_EQ(to_base64(""), "");
    EXPECT_EQ(to_base64("f"), "Zg==");
    EXPECT_EQ(to_base64("fo"), "Zm8=");
    EXPECT_EQ(to_base64("foo"), "Zm9v");
    EXPECT_EQ(to_base64("foob"), "Zm9vYg==");
    EXPECT_EQ(to_base64("fooba"), "Zm9vYmE=");
    EXPECT_EQ(to_base64("foobar"), "Zm9vYmFy");
}

TEST(Base64, reads_back_any_bytes) {
    std::string bytes;
    for (int i = 0; i < 600; ++i) {
        EXPECT_EQ(from_base64(to_base64(bytes)), bytes) << bytes.size();
        bytes += static_cast<char>(i * 37 ^ i >> 3);
    }
}

TEST(Base64, refuses_what_it_does_not_write) {
    for (const auto* text : {"Z", "Zg", "Zg=", "Zh==", "Z===", "====", "=Zg=", "Zg==Zg==", "Zm9v\n",
                             "Zm9\xff", "Zm 9"})
        EXPECT_FALSE(from_base64(text)) << text;
}

}  // namespace
}  // namespace understudy::catalog
