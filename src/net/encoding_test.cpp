#include "net/encoding.hpp"

#include <gtest/gtest.h>

namespace understudy::net {
namespace {

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
