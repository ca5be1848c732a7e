#include "hypervisor/libvirt/isolation.hpp"

#include <gmock/gmock.h>

namespace understudy::libvirt {
namespace {

using testing::HasSubstr;

TEST(Isolation, a_network_that_forwards_is_not_isolated) {
    EXPECT_EQ(*way_out_of("<network><name>cellar</name><bridge name='virbr9'/></network>"), "");
    EXPECT_THAT(*way_out_of("<network><forward mode='route'/></network>"), HasSubstr("route"));
    EXPECT_THAT(*way_out_of("<network><forward/></network>"), HasSubstr("nat"));
    EXPECT_FALSE(way_out_of("<domain/>"));
    EXPECT_FALSE(way_out_of("nonsense"));
}

}  // namespace
}  // namespace understudy::libvirt
