#include "daemon/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace understudy::daemon {
namespace {

using ::testing::HasSubstr;

class ConfigFile : public ::testing::Test {
protected:
    ConfigFile() {
        std::string pattern = std::filesystem::temp_directory_path() / "us-config.XXXXXX";
        directory_ = mkdtemp(pattern.data());
        path_ = directory_ / "understudyd.toml";
    }
    ~ConfigFile() override { std::filesystem::remove_all(directory_); }

    Result<Config> load(std::string_view text) {
        std::ofstream(path_) << text;
        return load_config(path_);
    }

    std::filesystem::path directory_;
    std::string path_;
};

TEST_F(ConfigFile, says_how_old_a_point_may_be) {
    EXPECT_EQ(load("")->recovery.rpo_target, std::chrono::hours(24));
    const auto config =
        load("[recovery]\nrpo_target = \"4h\"\n[recovery.rpo_targets]\n\"db 1\" = \"15m\"\n");
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(config->recovery.rpo_target, std::chrono::hours(4));
    EXPECT_EQ(config->recovery.rpo_targets.at("db 1"), std::chrono::minutes(15));
    EXPECT_THAT(load("[recovery.rpo_targets]\ndb1 = \"soon\"\n").error().text(), HasSubstr("db1"));
    EXPECT_THAT(load("[recovery]\nrpo = \"1h\"\n").error().text(), HasSubstr("recovery.rpo"));
}

TEST_F(ConfigFile, says_how_drills_are_to_go) {
    EXPECT_EQ(load("")->drill.limit, std::chrono::minutes(5));
    const auto config =
        load("[drill]\ntimeout = \"10m\"\nsettle = \"90s\"\nconsole = \"login:\"\nat_once = 4\n");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->drill.limit, std::chrono::minutes(10));
    EXPECT_EQ(config->drill.min_uptime, std::chrono::seconds(90));
    EXPECT_EQ(config->drill.console, "login:");
    EXPECT_EQ(config->drill.at_once, 4u);
    EXPECT_THAT(load("[drill]\nconsole = \"(\"\n").error().text(), HasSubstr("drill.console"));
    EXPECT_THAT(load("[drill]\nat_once = 0\n").error().text(), HasSubstr("drill.at_once"));
    EXPECT_THAT(load("[drill]\nwait = \"x\"\n").error().text(), HasSubstr("drill.wait"));
}

TEST_F(ConfigFile, says_how_often_replicas_are_verified_or_that_they_are_not) {
    EXPECT_EQ(load("")->verify_every, Duration(0));
    EXPECT_EQ(load("[verify]\nevery = \"7d\"\n")->verify_every, std::chrono::hours(7 * 24));
    EXPECT_THAT(load("[verify]\nevery = \"1s\"\n").error().text(), HasSubstr("verify.every"));
    EXPECT_THAT(load("[verify]\nevry = \"7d\"\n").error().text(), HasSubstr("verify.evry"));
    EXPECT_FALSE(load("verify = \"7d\"\n"));
}

TEST_F(ConfigFile, may_be_missing_altogether) {
    const auto config = load_config("");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->socket, "/run/understudy/understudy.sock");
    EXPECT_FALSE(config->node.empty());
    EXPECT_EQ(config->advertise, config->node + ":7373");
    EXPECT_EQ(config->listen_api, "");
    ASSERT_EQ(config->pools.size(), 1U);
    EXPECT_EQ(std::get<Qcow2PoolConfig>(config->pools.front().settings),
              (Qcow2PoolConfig{"/var/lib/understudy/pool", "qcow2"}));
}

TEST_F(ConfigFile, says_all_that_it_can_say) {
    const auto config = load(R"(
state_dir = "/s"
socket = "/s/sock"
socket_mode = "0600"
node = "n1"
listen_peers = "[::1]:7000"
advertise = "site.example"
listen_api = "127.0.0.1:7001"
hypervisor = "test:///default"
workers = 2
channels = 3
contact_every = "1m"
checkpoint_every = "250ms"
checkpoint_bytes = "64MiB"
[pools.fast]
path = "/fast"
[pools.slow]
driver = "qcow2"
path = "/slow"
full_format = "raw"
)");
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(config->state_dir, "/s");
    EXPECT_EQ(config->socket_mode, 0600U);
    EXPECT_EQ(config->node, "n1");
    EXPECT_EQ(config->listen_peers, "[::1]:7000");
    EXPECT_EQ(config->advertise, "site.example");
    EXPECT_EQ(config->listen_api, "127.0.0.1:7001");
    EXPECT_EQ(config->workers, 2U);
    EXPECT_EQ(config->channels, 3U);
    EXPECT_EQ(config->contact_every, Duration(60'000));
    EXPECT_EQ(config->checkpoint_every, Duration(250));
    EXPECT_EQ(config->checkpoint_bytes, base::MiB(64));
    ASSERT_EQ(config->pools.size(), 2U);
    EXPECT_EQ(std::get<Qcow2PoolConfig>(config->pools[1].settings),
              (Qcow2PoolConfig{"/slow", "raw"}));
}

TEST_F(ConfigFile, describes_pools_in_ceph_whose_name_is_the_ceph_pool_s_unless_it_says_otherwise) {
    const auto config = load(R"(
[pools.here]
driver = "rbd"
ceph_conf = "/c/ceph.conf"
user = "understudy"
keyring = "/c/keyring"
pool = "vms"
namespace = "prod"
data_pool = "ec"
secret = "0c7d1e3c-6b0a-4d0e-9a53-2b7f3f1b8f11"
object_size = "1MiB"
timeout = "5s"
[pools.rbd]
driver = "rbd"
)");
    ASSERT_TRUE(config) << config.error().text();
    ASSERT_EQ(config->pools.size(), 2U);
    EXPECT_EQ(
        std::get<RbdPoolConfig>(config->pools[0].settings),
        (RbdPoolConfig{"/c/ceph.conf", "understudy", "/c/keyring", "vms", "prod", "ec",
                       "0c7d1e3c-6b0a-4d0e-9a53-2b7f3f1b8f11", base::MiB(1), Duration(5000)}));
    EXPECT_EQ(std::get<RbdPoolConfig>(config->pools[1].settings).pool, "rbd");
}

TEST_F(ConfigFile, without_advertise_is_reached_by_its_host_name_and_the_peers_port) {
    const auto config = load("node = \"n1\"\nlisten_peers = \"0.0.0.0:7400\"\n");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->advertise, "n1:7400");
}

struct Wrong {
    const char* text;
    const char* where;
    const char* what;
};

class WrongConfig : public ConfigFile, public ::testing::WithParamInterface<Wrong> {};

TEST_P(WrongConfig, is_refused_with_file_line_and_field) {
    const auto config = load(GetParam().text);
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(config.error().text(), HasSubstr(path_));
    EXPECT_THAT(config.error().text(), HasSubstr(GetParam().where));
    EXPECT_THAT(config.error().text(), HasSubstr(GetParam().what));
}

constexpr Wrong kWrong[] = {
    {"\n\nstate_dri = \"/x\"\n", "line 3", "unknown field 'state_dri'"},
    {"state_dir = 7\n", "line 1: 'state_dir'", "absolute path"},
    {"state_dir = \"var\"\n", "line 1: 'state_dir'", "absolute path"},
    {"socket = \"\"\n", "line 1: 'socket'", "absolute path"},
    {"socket_mode = \"0666\"\n", "line 1: 'socket_mode'", "0600"},
    {"node = [1]\n", "line 1: 'node'", "must be a text"},
    {"listen_peers = \"\"\n", "line 1: 'listen_peers'", "not an address"},
    {"advertise = \"a:b:c:d\"\n", "line 1: 'advertise'", "not an address"},
    {"listen_api = \"0.0.0.0:99999\"\n", "line 1: 'listen_api'", "65535"},
    {"workers = 0\n", "line 1: 'workers'", "from 1 to 64"},
    {"workers = 2.5\n", "line 1: 'workers'", "from 1 to 64"},
    {"channels = 9223372036854775807\n", "line 1: 'channels'", "from 1 to 16"},
    {"contact_every = 5\n", "line 1: 'contact_every'", "text such as"},
    {"contact_every = \"5\"\n", "line 1: 'contact_every'", "not a duration"},
    {"contact_every = \"0s\"\n", "line 1: 'contact_every'", "must be from"},
    {"checkpoint_every = \"1d\"\n", "line 1: 'checkpoint_every'", "must be from"},
    {"checkpoint_bytes = \"1\"\n", "line 1: 'checkpoint_bytes'", "must be from"},
    {"checkpoint_bytes = \"lots\"\n", "line 1: 'checkpoint_bytes'", "not a size"},
    {"pools = 1\n", "line 1: 'pools'", "[pools.NAME]"},
    {"[pools]\nvms = 1\n", "line 2: 'pools.vms'", "[pools.NAME]"},
    {"[pools.vms]\n", "line 1: 'pools.vms'", "'path' is missing"},
    {"[pools.vms]\npath = \"vms\"\n", "line 2: 'pools.vms.path'", "absolute path"},
    {"[pools.vms]\npath = \"/v\"\ndriver = \"zfs\"\n", "line 3: 'pools.vms.driver'", "\"qcow2\""},
    {"[pools.vms]\npath = \"/v\"\nfull_format = \"vhd\"\n", "line 3", "\"qcow2\" or \"raw\""},
    {"[pools.vms]\npath = \"/v\"\nsize = 3\n", "line 3", "unknown field 'pools.vms.size'"},
    {"[pools.vms]\ndriver = \"rbd\"\npath = \"/v\"\n", "line 3", "unknown field 'pools.vms.path'"},
    {"[pools.vms]\ndriver = \"rbd\"\nsecret = \"x\"\n", "line 3: 'pools.vms.secret'", "UUID"},
    {"[pools.vms]\ndriver = \"rbd\"\nobject_size = \"3MiB\"\n", "line 1", "power of two"},
    {"[pools.a]\ndriver = \"rbd\"\npool = \"p\"\n[pools.b]\ndriver = \"rbd\"\npool = \"p\"\n",
     "line 4", "place of pool 'a'"},
    {"[pools.a]\npath = \"/v\"\n[pools.b]\npath = \"/x/../v\"\n", "line 3", "place of pool 'a'"},
    {"node = \"a\"\nnode = \"b\"\n", "line 2", "node"},
    {"workers = [1,\n", "line", "array"},
    {"\xff\xfe\n", "line 1", ""},
};

INSTANTIATE_TEST_SUITE_P(Table, WrongConfig, ::testing::ValuesIn(kWrong));

TEST_F(ConfigFile, that_cannot_be_read_is_named_with_the_reason) {
    const auto missing = load_config(directory_ / "nosuch.toml");
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().text(), HasSubstr("nosuch.toml: No such file"));
    const auto folder = load_config(directory_);
    ASSERT_FALSE(folder);
    EXPECT_THAT(folder.error().text(), HasSubstr("is a directory"));
}

}  // namespace
}  // namespace understudy::daemon
