#pragma once

#include "base/must_test.hpp"
#include "catalog/open_catalog.hpp"
#include "model/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace understudy::test {

using base::GiB;
using base::MiB;

template <class T>
std::string kind_of(const Result<T>& result) {
    return result ? "ok" : std::string(base::to_string(result.error().kind()));
}

// A test per backend: "sqlite_memory", "sqlite_file".
class CatalogTest : public testing::TestWithParam<std::string> {
protected:
    CatalogTest();
    ~CatalogTest() override;
    CatalogTest(const CatalogTest&) = delete;
    CatalogTest& operator=(const CatalogTest&) = delete;

    ports::Catalog& catalog() { return *catalog_; }
    std::string path() const { return (directory_ / "catalog.db").string(); }
    catalog::CatalogSettings settings() const;
    void close() { catalog_.reset(); }
    void open();

private:
    std::filesystem::path directory_;
    std::unique_ptr<ports::Catalog> catalog_;
};

std::vector<std::string> all_backends();
std::vector<std::string> file_backends();  // what they hold survives the process

#define EVERY_CATALOG(Suite)                                                                    \
    INSTANTIATE_TEST_SUITE_P(Every, Suite, testing::ValuesIn(understudy::test::all_backends()), \
                             [](const auto& test) { return test.param; })

constexpr TimePoint at(std::int64_t ms) {
    return TimePoint(Duration(1'700'000'000'000 + ms));
}

// Values with every field set to something of its own.
model::Peer some_peer(const std::string& name);
model::Capabilities some_capabilities();
model::Vm some_vm(const std::string& name);
model::Snapshot some_snapshot(const model::Vm&, const std::string& name, std::int64_t taken_ms,
                              std::optional<SnapshotId> parent = std::nullopt);
model::Definition some_definition();
model::Transfer some_transfer(const model::Vm&, const model::Snapshot&);
model::Task some_task(std::optional<VmId> vm, std::int64_t created_ms);

// A published snapshot of a new VM.
struct Published {
    model::Vm vm;
    model::Snapshot snapshot;
};
Published publish_new(ports::Catalog&, const std::string& vm_name,
                      const std::string& snapshot_name);
// A further one on top of it.
model::Snapshot publish_child(ports::Catalog&, const Published&, const std::string& name,
                              std::int64_t taken_ms);

template <class T>
std::string json(const T& value) {
    return model::dump_json(value);
}

}  // namespace understudy::test
