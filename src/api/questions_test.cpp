#include "api/replica_site_test.hpp"
#include "base/temporary_directory_test.hpp"
#include "model/json.hpp"
#include "protocol/features.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <fstream>
#include <set>

// Questions change nothing: every GET of OPERATORS.md and every dry run leave the catalog as it
// was, here and at the peer, and ask nothing of the hypervisor but to look.

namespace understudy::api {
namespace {

using model::Phase;
using nlohmann::json;

// The hypervisor's calls that only look.
const std::set<std::string> kLooks{"list",  "describe",    "capabilities",
                                   "adapt", "free_memory", "read_nvram"};

// Counts what others commit to a database: data_version changes with each commit that wrote.
class Watch {
public:
    explicit Watch(const std::string& path) {
        if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READONLY, nullptr) != SQLITE_OK)
            throw std::runtime_error("no catalog at " + path);
    }
    ~Watch() { sqlite3_close(db_); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    int version() {
        sqlite3_stmt* row = nullptr;
        sqlite3_prepare_v2(db_, "PRAGMA data_version", -1, &row, nullptr);
        const bool there = sqlite3_step(row) == SQLITE_ROW;
        const int version = there ? sqlite3_column_int(row, 0) : -1;
        sqlite3_finalize(row);
        return version;
    }

private:
    sqlite3* db_ = nullptr;
};

// Its record changes as soon as it is told anything.
class ListeningPeer : public HoldingLink {
public:
    int told = 0;

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities&) override {
        ++told;
        return model::Capabilities{};
    }
    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>&) override {
        ++told;
        return std::vector<ports::OwnershipNote>{};
    }
};

class Questions : public ReplicaSite {
protected:
    Questions() : Questions(std::make_unique<base::TemporaryDirectory>()) {}
    explicit Questions(std::unique_ptr<base::TemporaryDirectory> directory)
        : ReplicaSite(*directory / "catalog"),
          directory_(std::move(directory)),
          watch_(*directory_ / "catalog") {
        auto peer = must(catalog_->peer(dr_.id));
        peer.capabilities.features = protocol::our_features();
        must(catalog_->save_peer(peer));
        site_.settings.default_pool = "vms";
        web1_ = add_vm("web1", 9);
        ended(ask("POST", "/v1/vms/web1/snapshots", json{{"name", "first"}}.dump()));
        task_ = must(catalog_->tasks({})).front().id.text();
        peer_->holds = {.known = true,
                        .ownership = {1, here_.id, Phase::replica},
                        .snapshots = {must(catalog_->snapshots(web1_)).front().id}};
        links_.link = peer_;
    }

    // Asks, and says what the question changed.
    Answered ask_watched(const std::string& method, const std::string& target,
                         const json& body = json::object()) {
        const auto before = watch_.version();
        const auto told = peer_->told;
        hypervisor_calls_.clear();
        const auto answer = ask(method, target, method == "GET" ? "" : body.dump());
        EXPECT_EQ(watch_.version(), before) << method << ' ' << target << " wrote to the catalog";
        for (const auto& call : hypervisor_calls_)
            EXPECT_TRUE(kLooks.contains(call)) << method << ' ' << target << ": " << call;
        EXPECT_EQ(peer_->told, told) << method << ' ' << target << " told the peer something";
        return answer;
    }

    std::string target_of(std::string path) const {
        path = path.substr(0, path.find('?'));
        const bool replica = path.starts_with("/v1/replicas");
        const std::vector<std::pair<std::string, std::string>> names{
            {"{peer}", "dr"},
            {"{vm}", replica ? "vm7" : "web1"},
            {"{uuid}", web1_.text()},
            {"{snapshot}", "first"},
            {"{task}", task_}};
        for (const auto& [name, value] : names)
            for (auto at = path.find(name); at != std::string::npos; at = path.find(name))
                path.replace(at, name.size(), value);
        return path;
    }

    std::unique_ptr<base::TemporaryDirectory> directory_;
    Watch watch_;
    std::shared_ptr<ListeningPeer> peer_ = std::make_shared<ListeningPeer>();
    VmId web1_;
    std::string task_;
};

// The paths of all "| GET …" rows.
std::vector<std::string> documented_questions() {
    std::ifstream file(UNDERSTUDY_OPERATORS);
    std::vector<std::string> paths;
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("| GET ")) paths.push_back(line.substr(6, line.find(" |", 6) - 6));
    return paths;
}

TEST_F(Questions, every_get_leaves_the_catalog_and_the_peer_as_they_were) {
    const auto questions = documented_questions();
    EXPECT_GE(questions.size(), 16U);
    for (const auto& question : questions) {
        const auto target = target_of(question);
        EXPECT_EQ(target.find('{'), std::string::npos) << target;
        EXPECT_EQ(ask_watched("GET", target).status, 200) << target;
    }
}

TEST_F(Questions, every_dry_run_leaves_the_catalog_and_the_peer_as_they_were) {
    const json dry{{"peer", "dr"}, {"dry_run", true}};
    EXPECT_EQ(ask_watched("POST", "/v1/vms/web1/snapshots/first/send", dry).status, 200);
    EXPECT_EQ(ask_watched("POST", "/v1/vms/web1/move", dry).status, 200);
    EXPECT_EQ(ask_watched("GET", "/v1/replicas/vm7/promote").status, 200);
}

TEST_F(Questions, what_a_peer_claims_is_answered_but_not_recorded) {
    peer_->holds.ownership = {2, dr_.id, Phase::owned};
    model::Replication sent;
    sent.vm = web1_;
    sent.peer = dr_.id;
    sent.snapshot = peer_->holds.snapshots.front();
    sent.readiness = "[]";
    must(catalog_->save_replication(sent));
    const json dry{{"peer", "dr"}, {"dry_run", true}};
    for (const auto* target : {"/v1/vms/web1/snapshots/first/send", "/v1/vms/web1/move"}) {
        const auto answer = ask_watched("POST", target, dry);
        EXPECT_EQ(answer.kind(), "refused") << answer.text();
    }
    const auto may = "/v1/vms/" + web1_.text() + "/may-start";
    EXPECT_EQ(ask_watched("GET", may).kind(), "refused");
    EXPECT_EQ(must(catalog_->vm(web1_)).ownership.phase, Phase::owned);

    EXPECT_EQ(ask("POST", may, "{}").kind(), "refused");
    EXPECT_EQ(must(catalog_->vm(web1_)).ownership.phase, Phase::superseded);
    links_.link = nullptr;
    EXPECT_EQ(ask("POST", may, "{}").kind(), "refused") << "the peer is silent now";
}

TEST_F(Questions, a_peer_that_has_not_heard_who_owns_the_vm_is_not_told_by_a_dry_run) {
    peer_->holds.ownership = {1, third_.id, Phase::replica};
    const auto answer = ask_watched("POST", "/v1/vms/web1/snapshots/first/send",
                                    {{"peer", "dr"}, {"dry_run", true}});
    EXPECT_EQ(answer.kind(), "refused") << answer.text();
    EXPECT_THAT(answer.text(), testing::HasSubstr("does not know yet"));
}

}  // namespace
}  // namespace understudy::api
