#include "hypervisor/libvirt/libvirt_error.hpp"

#include <gtest/gtest.h>
#include <libvirt/virterror.h>

#include <cerrno>

namespace understudy::libvirt {
namespace {

TEST(LibvirtError, only_what_may_pass_by_itself_is_tried_again) {
    for (const int code :
         {VIR_ERR_NO_CONNECT, VIR_ERR_RPC, VIR_ERR_OPERATION_TIMEOUT, VIR_ERR_AGENT_UNRESPONSIVE})
        EXPECT_EQ(kind_of(code, 0, ""), ErrorKind::unavailable) << code;
    for (const int code : {VIR_ERR_INTERNAL_ERROR, VIR_ERR_OPERATION_FAILED})
        EXPECT_EQ(kind_of(code, 0, "QEMU exited"), ErrorKind::internal) << code;
    EXPECT_EQ(kind_of(VIR_ERR_OPERATION_INVALID, 0, ""), ErrorKind::conflict);
    EXPECT_EQ(kind_of(VIR_ERR_CONFIG_UNSUPPORTED, 0, ""), ErrorKind::unsupported);
}

TEST(LibvirtError, full_disks_are_known_by_errno_and_by_words) {
    EXPECT_EQ(kind_of(VIR_ERR_SYSTEM_ERROR, ENOSPC, ""), ErrorKind::no_space);
    EXPECT_EQ(kind_of(VIR_ERR_INTERNAL_ERROR, 0, "write: No space left on device"),
              ErrorKind::no_space);
}

}  // namespace
}  // namespace understudy::libvirt
