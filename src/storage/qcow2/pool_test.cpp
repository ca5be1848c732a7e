#include "storage/qcow2/pool.hpp"

#include "storage/qcow2/image/test_tools.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

namespace understudy::qcow2 {
namespace {

using testing::Bytes;
using testing::run_qemu_io;
using testing::run_tool;

const ports::VolumeLabel kLabel{.vm_name = "web1", .disk_target = "vda"};
constexpr ByteSize kSize = base::MiB(4);

// A program that has an image open as a VM would, until it goes out of scope.
class Opened {
public:
    explicit Opened(const std::string& image) {
        std::vector<std::string> argv{"qemu-io", "-f", "qcow2", "-c", "sleep 600000", image};
        std::vector<char*> arguments;
        for (auto& argument : argv) arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        EXPECT_EQ(posix_spawnp(&child_, "qemu-io", nullptr, nullptr, arguments.data(), environ), 0);
        for (int tries = 0; tries < 2000 && !in_use_by_qemu(image); ++tries) usleep(5000);
        EXPECT_TRUE(in_use_by_qemu(image));
    }
    ~Opened() {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
    }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;

private:
    pid_t child_ = -1;
};

class Qcow2Pool : public ::testing::Test {
protected:
    ports::StoragePool& pool() {
        if (!pool_) {
            auto opened = open_qcow2_pool("disks", directory_ / "pool", {});
            EXPECT_TRUE(opened.has_value()) << opened.error().text();
            pool_ = std::move(*opened);
        }
        return *pool_;
    }
    void close() { pool_.reset(); }
    std::string in_volume(const std::string& name) const {
        return (directory_ / "pool") + "/" + volume_.text() + "/" + name;
    }
    ports::DiskSource disk(const std::string& name = "disk.qcow2") {
        const auto path = directory_ / name;
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", path, "4M"});
        return {.type = "file", .format = "qcow2", .location = path};
    }
    ports::DiskSource adopted() {
        const auto source = disk();
        EXPECT_TRUE(pool().adopt(volume_, kLabel, source).has_value());
        return source;
    }
    SnapshotId take() {
        const auto id = SnapshotId::random();
        EXPECT_TRUE(pool().prepare_snapshot(volume_, id, kSize).has_value());
        EXPECT_TRUE(pool().commit_snapshot(volume_, id).has_value());
        return id;
    }
    std::string head() { return (*pool().head(volume_))->location; }
    void expect_refused(const ports::DiskSource& source, ErrorKind kind, const std::string& word) {
        const auto result = pool().adopt(volume_, kLabel, source);
        ASSERT_FALSE(result.has_value()) << word;
        EXPECT_EQ(result.error().kind(), kind) << result.error().text();
        EXPECT_NE(result.error().text().find(word), std::string::npos) << result.error().text();
        EXPECT_FALSE(*pool().knows(volume_));
    }
    void damage_record() {
        close();
        std::ofstream(in_volume("volume.json"), std::ios::trunc) << "{\"version\": 1, ";
    }

    testing::TemporaryDirectory directory_;
    const VolumeId volume_ = VolumeId::random();

private:
    std::unique_ptr<ports::StoragePool> pool_;
};

// libvirt gives a VM's files to QEMU's user, so that user must be able to enter their directories.
TEST_F(Qcow2Pool, qemu_under_its_own_user_reaches_layers_whatever_the_umask) {
    const auto before = umask(0077);
    adopted();
    take();
    umask(before);
    for (std::filesystem::path at = std::filesystem::path(head()).parent_path();
         at.string() != std::filesystem::path(directory_ / "x").parent_path();
         at = at.parent_path())
        EXPECT_EQ(std::filesystem::status(at).permissions(), std::filesystem::perms(0711)) << at;
}

TEST_F(Qcow2Pool, directory_serves_one_opener_and_names_it) {
    pool();
    const auto second = open_qcow2_pool("again", directory_ / "pool", {});
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
    EXPECT_NE(second.error().text().find(std::to_string(getpid())), std::string::npos)
        << second.error().text();
    close();
    EXPECT_TRUE(open_qcow2_pool("again", directory_ / "pool", {}).has_value());
}

TEST_F(Qcow2Pool, settings_are_checked) {
    EXPECT_EQ(open_qcow2_pool("p", "relative", {}).error().kind(), ErrorKind::invalid);
    EXPECT_EQ(open_qcow2_pool("p", directory_ / "pool", {.full_format = "vdi"}).error().kind(),
              ErrorKind::invalid);
}

TEST_F(Qcow2Pool, disks_that_cannot_take_part_are_named_with_the_reason) {
    auto snapped = disk("snapped.qcow2");
    run_tool({"qemu-img", "snapshot", "-c", "s1", snapped.location});
    expect_refused(snapped, ErrorKind::unsupported, "qemu-img snapshot -d");
    auto other = disk("luks.qcow2");
    const Bytes luks{std::byte{2}};  // the header's crypt_method; qemu-img takes long to make one
    testing::patch_file(other.location, 35, luks);
    expect_refused(other, ErrorKind::unsupported, "encrypt");
    other.location = directory_ / "external.qcow2";
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
              "data_file=" + (directory_ / "data.raw"), other.location, "4M"});
    expect_refused(other, ErrorKind::unsupported, "external data file");
    other.location = "disk.qcow2";
    expect_refused(other, ErrorKind::invalid, "absolute");
    other.location = directory_ / "nothing.qcow2";
    expect_refused(other, ErrorKind::not_found, "nothing.qcow2");
    expect_refused({"file", "raw", "/dev/null"}, ErrorKind::unsupported, "regular file");
    expect_refused({"file", "", snapped.location}, ErrorKind::unsupported, "format");
    expect_refused({"network", "raw", "rbd/image"}, ErrorKind::unsupported, "network");
}

TEST_F(Qcow2Pool, the_same_file_by_another_name_is_a_conflict) {
    const auto source = adopted();
    auto link = source;
    link.location = directory_ / "link.qcow2";
    std::filesystem::create_symlink(source.location, link.location);
    const auto result = pool().adopt(VolumeId::random(), kLabel, link);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind(), ErrorKind::conflict);
    EXPECT_NE(result.error().text().find("web1"), std::string::npos) << result.error().text();
}

TEST_F(Qcow2Pool, what_lies_under_a_users_disk_is_read_but_never_written) {
    const auto golden = disk("golden.qcow2");
    run_qemu_io(golden.location, {"write -P 1 0 1M"});
    const auto before = testing::read_file(golden.location);
    const ports::DiskSource top{"file", "qcow2", directory_ / "top.qcow2"};
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "golden.qcow2", "-F", "qcow2",
              top.location});
    ASSERT_TRUE(pool().adopt(volume_, kLabel, top).has_value());
    const auto first = take();
    run_qemu_io(head(), {"write -P 2 64k 64k"});
    Bytes seen(1 << 20);
    ASSERT_TRUE((*pool().open_snapshot(volume_, first))->read(ByteOffset(0), seen).has_value());
    EXPECT_EQ(seen[1 << 16], std::byte{1});
    const auto extent = *(*pool().changes(volume_, {}, first, {}))->next();
    ASSERT_TRUE(extent.has_value());
    EXPECT_EQ(extent->length, base::MiB(1)) << "a full listing has the whole chain";
    ASSERT_TRUE(pool().remove_snapshot(volume_, first).has_value());
    EXPECT_EQ(head(), top.location);
    EXPECT_EQ(testing::as_we_read(top.location)[1 << 16], std::byte{2});
    EXPECT_EQ(testing::as_we_read(top.location)[0], std::byte{1});
    EXPECT_TRUE(testing::read_file(golden.location) == before);
}

TEST_F(Qcow2Pool, leftovers_go_and_what_is_not_ours_stays) {
    adopted();
    take();
    close();
    const auto ours = in_volume(SnapshotId::random().text() + ".qcow2");
    const auto begun = in_volume(SnapshotId::random().text() + ".raw.tmp");
    const auto open_one = in_volume(SnapshotId::random().text() + ".qcow2");
    const auto foreign = in_volume("notes.txt");
    for (const auto& path : {ours, begun, foreign}) std::ofstream(path) << "x";
    run_tool({"qemu-img", "create", "-q", "-f", "qcow2", open_one, "4M"});
    {
        const Opened vm(open_one);
        ASSERT_TRUE(pool().snapshots(volume_).has_value());
        EXPECT_FALSE(std::filesystem::exists(ours));
        EXPECT_FALSE(std::filesystem::exists(begun));
        EXPECT_TRUE(std::filesystem::exists(open_one)) << "a VM runs on it";
    }
    EXPECT_TRUE(std::filesystem::exists(foreign));
    EXPECT_TRUE(std::filesystem::exists(head()));
}

// Called between two steps of a call. If it throws, the call ends there, as by a crash.
class Meanwhile {
public:
    Meanwhile(std::string step, std::function<void()> happens) {
        step_ = std::move(step);
        happens_ = std::move(happens);
        crash_hook = [](std::string_view at) {
            if (at == step_ && happens_) std::exchange(happens_, nullptr)();
        };
    }
    ~Meanwhile() { crash_hook = nullptr; }
    Meanwhile(const Meanwhile&) = delete;
    Meanwhile& operator=(const Meanwhile&) = delete;
    static bool happened() { return !happens_; }

private:
    static inline std::string step_;
    static inline std::function<void()> happens_;
};
struct Crash {};

TEST_F(Qcow2Pool, a_vm_that_starts_while_its_head_is_merged_keeps_its_disk) {
    adopted();
    const auto id = take();
    const auto top = head();
    run_qemu_io(top, {"write -P 1 0 64k"});
    std::optional<Opened> vm;
    {
        const Meanwhile meanwhile("content merged", [&] { vm.emplace(top); });
        EXPECT_EQ(pool().remove_snapshot(volume_, id).error().kind(), ErrorKind::conflict);
        EXPECT_TRUE(Meanwhile::happened());
    }
    EXPECT_EQ(head(), top);
    vm.reset();
    run_qemu_io(top, {"write -P 2 0 64k"});
    ASSERT_TRUE(pool().remove_snapshot(volume_, id).has_value());
    EXPECT_NE(head(), top);
    run_qemu_io(head(), {"read -P 2 0 64k"});
}

TEST_F(Qcow2Pool, no_vm_starts_on_a_head_that_is_about_to_be_deleted) {
    adopted();
    const auto id = take();
    const auto top = head();
    const Meanwhile meanwhile("merge sealed", [&] {
        {
            const auto vm =
                testing::try_tool({"qemu-io", "-f", "qcow2", "-c", "write -P 2 0 64k", top});
            EXPECT_NE(vm.output.find("lock"), std::string::npos) << vm.output;
        }
    });
    EXPECT_TRUE(pool().remove_snapshot(volume_, id).has_value());
    EXPECT_TRUE(Meanwhile::happened());
    EXPECT_FALSE(std::filesystem::exists(top));
}

TEST_F(Qcow2Pool, writes_to_a_merged_head_after_a_crash_are_merged_as_well) {
    for (const char* step :
         {"merge sealed", "merged head deleted", "merge finished in the record"}) {
        if (!*pool().knows(volume_)) adopted();
        const auto id = take();
        const auto top = head();
        run_qemu_io(top, {"write -P 1 0 64k"});
        {
            const Meanwhile meanwhile(step, [] { throw Crash{}; });
            EXPECT_THROW((void)pool().remove_snapshot(volume_, id), Crash);
        }
        close();
        const bool there = std::filesystem::exists(top);  // the VM is still defined with it
        EXPECT_EQ(there, std::string_view(step) == "merge sealed");
        if (there) run_qemu_io(top, {"write -P 2 0 64k"});
        ASSERT_TRUE(pool().remove_snapshot(volume_, id).has_value());
        run_qemu_io(head(), {there ? "read -P 2 0 64k" : "read -P 1 0 64k"});
    }
}

TEST_F(Qcow2Pool, nothing_is_taken_from_under_a_running_vm) {
    adopted();
    const auto first = take();
    const auto second = take();
    {
        const Opened vm(head());
        const auto merged = pool().remove_snapshot(volume_, second);
        ASSERT_FALSE(merged.has_value());
        EXPECT_EQ(merged.error().kind(), ErrorKind::conflict) << merged.error().text();
        EXPECT_NE(merged.error().text().find("stop it"), std::string::npos)
            << merged.error().text();
        EXPECT_EQ(pool().activate(volume_, first, ports::ActivationKind::rollback).error().kind(),
                  ErrorKind::refused);
        EXPECT_EQ(pool().forget(volume_, true).error().kind(), ErrorKind::refused);
        const auto plan = pool().plan_removal(volume_, second);
        ASSERT_TRUE(plan.has_value() && *plan);
        EXPECT_TRUE((*plan)->top_is_head);
        EXPECT_EQ(pool().finish_removal(volume_, second).error().kind(), ErrorKind::conflict);
    }
    const auto next = SnapshotId::random();
    EXPECT_EQ(pool().prepare_snapshot(volume_, next, kSize).error().kind(), ErrorKind::conflict);
    ASSERT_TRUE(pool().adopt(volume_, kLabel, *(*pool().head(volume_))).has_value());
    const auto overlay = pool().prepare_snapshot(volume_, next, kSize);
    ASSERT_TRUE(overlay.has_value());
    const Opened vm(overlay->location);
    EXPECT_EQ(pool().cancel_snapshot(volume_, next).error().kind(), ErrorKind::refused);
    EXPECT_EQ(pool().set_aside(volume_, next).error().kind(), ErrorKind::refused);
}

TEST_F(Qcow2Pool, an_overlay_that_was_set_aside_outlives_its_volume) {
    adopted();
    const auto next = SnapshotId::random();
    const auto overlay = pool().prepare_snapshot(volume_, next, kSize);
    ASSERT_TRUE(overlay.has_value());
    const auto kept = pool().set_aside(volume_, next);
    ASSERT_TRUE(kept.has_value()) << kept.error().text();
    EXPECT_FALSE(std::filesystem::exists(overlay->location));
    take();
    ASSERT_TRUE(pool().forget(volume_, true).has_value());
    EXPECT_TRUE(std::filesystem::exists(*kept));
}

TEST_F(Qcow2Pool, a_running_drill_is_not_taken_away) {
    adopted();
    const auto first = take();
    const auto drill = pool().activate(volume_, first, ports::ActivationKind::drill);
    ASSERT_TRUE(drill.has_value());
    const Opened vm(drill->location);
    EXPECT_EQ(pool().deactivate(volume_, *drill).error().kind(), ErrorKind::refused);
    const auto other = pool().activate(volume_, first, ports::ActivationKind::drill);
    ASSERT_TRUE(other.has_value());
    EXPECT_NE(other->location, drill->location);
}

TEST_F(Qcow2Pool, a_damaged_record_changes_nothing_and_stops_no_other_volume) {
    adopted();
    take();
    const auto file = head();
    damage_record();
    const auto result = pool().snapshots(volume_);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind(), ErrorKind::corrupt);
    EXPECT_NE(result.error().text().find("volume.json"), std::string::npos);
    EXPECT_FALSE(pool().forget(volume_, true).has_value());
    EXPECT_TRUE(std::filesystem::exists(file));
    EXPECT_TRUE(pool().adopt(VolumeId::random(), kLabel, disk("other.qcow2")).has_value());
}

TEST_F(Qcow2Pool, a_damaged_incoming_takes_nothing_more_but_can_be_discarded) {
    const auto id = SnapshotId::random();
    {
        ASSERT_TRUE(pool().receive(volume_, kLabel, {}, id, kSize).has_value());
    }
    std::filesystem::resize_file(in_volume(id.text() + ".qcow2"), 100);
    const auto again = pool().receive(volume_, kLabel, {}, id, kSize);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ((*again)->flush().error().kind(), ErrorKind::corrupt);
    EXPECT_EQ((*again)->publish().error().kind(), ErrorKind::corrupt);
    EXPECT_TRUE((*again)->discard().has_value());
    EXPECT_FALSE(*pool().knows(volume_));
}

TEST_F(Qcow2Pool, volumes_are_worked_on_by_many_threads_at_once) {
    pool();
    std::vector<std::thread> workers;
    std::atomic<int> failures{0};
    const auto shared = VolumeId::random();
    for (unsigned char worker = 0; worker < 4; ++worker)
        workers.emplace_back([&, worker] {
            const auto volume = worker % 2 == 0 ? shared : VolumeId::random();
            const Bytes data(1 << 20, std::byte{worker});
            std::optional<SnapshotId> base;
            for (int round = 0; round < 4; ++round) {
                const auto id = SnapshotId::random();
                auto incoming = pool().receive(volume, kLabel, base, id, kSize);
                if (!incoming || !(*incoming)->write(ByteOffset(0), data) ||
                    !(*incoming)->publish())
                    ++failures;
                Bytes seen(4096);
                auto reader = pool().open_snapshot(volume, id);
                if (!reader || !(*reader)->read(ByteOffset(0), seen) ||
                    seen[99] != std::byte{worker})
                    ++failures;
                if (base && !pool().remove_snapshot(volume, *base)) ++failures;
                base = id;
            }
        });
    for (auto& worker : workers) worker.join();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(pool().snapshots(shared)->size(), 2U);
}

}  // namespace
}  // namespace understudy::qcow2
