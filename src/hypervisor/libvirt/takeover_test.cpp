#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/embed_host.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <libvirt/libvirt.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

// A daemon that is killed leaves its guests running, and the next daemon finds them again, with an
// unfinished merge. Each daemon is a process of its own: this program again, on a host directory
// that only these processes use. The tests called Daemon exist only there.
namespace understudy::libvirt {
namespace {

using namespace testing;
using ::testing::ElementsAre;

const VmId kVm(base::uuid_from_random(7, 7));

std::string at(const std::string& name) {
    return (EmbedHost::instance().directory / name).string();
}

pid_t start_daemon(const std::filesystem::path& directory, const std::string& role) {
    std::vector<std::string> environment{"UNDERSTUDY_TEST_EMBED_ROOT=" + directory.string()};
    for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
    std::vector<std::string> words{"/proc/self/exe", "--gtest_filter=Daemon." + role};
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> found;
        for (auto& text : texts) found.push_back(text.data());
        found.push_back(nullptr);
        return found;
    };
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, pointers(words).data(),
                          pointers(environment).data()),
              0);
    return child;
}

TEST(Takeover, guests_outlive_a_killed_daemon_and_the_next_one_goes_on) {
    std::string name = "/tmp/us-take-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    const std::filesystem::path directory(name);

    const pid_t first = start_daemon(directory, "runs_a_guest");
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(directory / "ready"); }));
    kill(first, SIGKILL);
    int status = 0;
    waitpid(first, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));

    const pid_t second = start_daemon(directory, "takes_over");
    waitpid(second, &status, 0);
    EXPECT_EQ(status, 0);
    std::filesystem::remove_all(directory);
}

void run_a_guest() {
    auto& virt = *EmbedHost::instance().hypervisor;
    make_qcow2(at("a"), "32M");
    make_overlay(at("a.1"), at("a"), "qcow2", "32M");
    auto* guest = new Guest(kVm, "survivor", {{"vda", at("a"), "qcow2"}});  // never ended
    guest->start();
    ASSERT_TRUE(virt.snapshot(kVm, {{"vda", {"file", "qcow2", at("a.1")}}}, Duration(0), {}));
    guest->write("vda", 0, 65536, 0x41);
    guest->begin_commit("vda", at("a"), at("a.1"));
    ASSERT_TRUE(
        eventually([&] { return guest->xml(false).find("ready='yes'") != std::string::npos; }));
    std::ofstream(at("ready")) << "yes";
    while (true) pause();
}

void take_over() {
    auto& virt = *EmbedHost::instance().hypervisor;
    {
        const auto survivor = Guest::existing(kVm);
        auto described = virt.describe(kVm);
        ASSERT_TRUE(described) << described.error().text();
        ASSERT_EQ(described->summary.state, ports::VmState::running);
        auto merged = virt.merge(kVm, "vda", {at("a"), at("a.1"), true}, nullptr);
        EXPECT_TRUE(merged) << merged.error().text();
        EXPECT_THAT(survivor->chain("vda"), ElementsAre(at("a")));
        make_overlay(at("a.2"), at("a"), "qcow2", "32M");
        auto taken = virt.snapshot(kVm, {{"vda", {"file", "qcow2", at("a.2")}}}, Duration(0), {});
        EXPECT_TRUE(taken) << taken.error().text();
        survivor->write("vda", 0, 4096, 0x42);
        EXPECT_TRUE(reads(at("a"), "qcow2", 0, 65536, 0x41));
        EXPECT_TRUE(reads(at("a.2"), "qcow2", 0, 4096, 0x42));
    }
    EXPECT_EQ(virt.describe(kVm).error().kind(), ErrorKind::not_found);
}

template <void (*body)()>
class Role : public ::testing::Test {
    void TestBody() override { body(); }
};

template <void (*body)()>
void add_role(const char* name) {
    ::testing::RegisterTest("Daemon", name, nullptr, nullptr, __FILE__, __LINE__,
                            []() -> ::testing::Test* { return new Role<body>; });
}

const bool kRolesAdded = [] {
    if (std::getenv("UNDERSTUDY_TEST_EMBED_ROOT") == nullptr) return false;
    add_role<run_a_guest>("runs_a_guest");
    add_role<take_over>("takes_over");
    return true;
}();

}  // namespace
}  // namespace understudy::libvirt
