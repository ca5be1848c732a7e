#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(Cluster, init_and_status) {
    Program program;
    program.api.answer("POST /v1/cluster", {{"cluster", {{"id", "c-id"}, {"name", "home"}}}});
    EXPECT_THAT(program.run({"cluster", "init", "home"}).out, HasSubstr("cluster home (c-id)"));
    EXPECT_EQ(program.api.last_body(), json({{"name", "home"}}));

    json status{
        {"cluster", nullptr},
        {"version", "0.1.0"},
        {"node", "alpha"},
        {"hypervisor", {{"uri", "qemu:///system"}, {"ok", false}, {"error", "no libvirtd"}}},
        {"pools", {{{"name", "vms"}, {"driver", "qcow2"}, {"total", 1ULL << 40}, {"free", 5}}}},
        {"peers", 1},
        {"vms", 2},
        {"replicas", 3},
        {"tasks_running", 0},
        {"listen_peers", "0.0.0.0:7373"}};
    program.api.answer("GET /v1/cluster", status);
    const auto ran = program.run({"cluster", "status"});
    for (const char* part :
         {"not set up yet: `understudy cluster init NAME`", "does not answer: no libvirtd",
          "API port:       unknown", "Replicas:       3", "vms   qcow2   1.0 TiB   5 B"})
        EXPECT_THAT(ran.out, HasSubstr(part));
    EXPECT_EQ(program.run({"cluster", "status", "--format", "json"}).json(), status);
}

}  // namespace
}  // namespace understudy::cli
