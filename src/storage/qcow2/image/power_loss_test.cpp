#include "storage/qcow2/image/test_tools.hpp"
#include "storage/qcow2/image/writer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <random>

// Simulates power loss for one file. In this test program the calls below replace those of the C
// library, and pass everything on. For the watched file they also remember, sector by sector, what
// is not synced yet, so that a test can go back to any state that a real disk could be left in.
namespace {

using understudy::qcow2::testing::Bytes;

constexpr std::size_t kSector = 512;

struct Unsynced {
    enum class Kind { write, truncate } kind;
    std::uint64_t offset;
    Bytes data;
};

struct Disk {
    ino_t inode = 0;  // of the watched file; 0: none
    Bytes durable;    // what certainly survives
    std::vector<Unsynced> unsynced;
    int writes = 0;                 // calls of pwrite so far
    std::optional<int> calls_left;  // until the power goes; then every call fails

    bool watches(int fd) const {
        struct stat status{};
        return inode != 0 && fstat(fd, &status) == 0 && status.st_ino == inode;
    }
    bool power_is_gone() {
        if (!calls_left) return false;
        if (*calls_left > 0) --*calls_left;
        return *calls_left == 0;
    }
    void sync();
};

Disk disk;

void apply(Bytes& image, std::uint64_t offset, std::span<const std::byte> data) {
    if (image.size() < offset + data.size()) image.resize(offset + data.size());
    std::ranges::copy(data, image.begin() + static_cast<std::ptrdiff_t>(offset));
}

void Disk::sync() {
    for (const auto& change : unsynced) {
        if (change.kind == Unsynced::Kind::truncate) {
            durable.resize(change.offset);
        } else {
            apply(durable, change.offset, change.data);
        }
    }
    unsynced.clear();
}

template <class Record>
long watched(int fd, long number, long a, long b, long c, Record record) {
    if (!disk.watches(fd)) return syscall(number, fd, a, b, c);
    if (disk.power_is_gone()) {
        errno = EIO;
        return -1;
    }
    record();
    return syscall(number, fd, a, b, c);
}

int sync_file(int fd, long number) {
    if (disk.inode == 0) return static_cast<int>(syscall(number, fd));
    if (!disk.watches(fd)) return 0;  // a directory
    if (disk.power_is_gone()) {
        errno = EIO;
        return -1;
    }
    disk.sync();  // the real disk need not do it as well
    return 0;
}

}  // namespace

extern "C" {
ssize_t pwrite(int fd, const void* data, size_t length, off_t offset) {
    return watched(
        fd, SYS_pwrite64, reinterpret_cast<long>(data), static_cast<long>(length), offset, [&] {
            ++disk.writes;
            const auto* begin = static_cast<const std::byte*>(data);
            disk.unsynced.push_back({Unsynced::Kind::write, static_cast<std::uint64_t>(offset),
                                     Bytes(begin, begin + length)});
        });
}
int ftruncate(int fd, off_t size) noexcept {
    return static_cast<int>(watched(fd, SYS_ftruncate, size, 0, 0, [&] {
        disk.unsynced.push_back(
            {Unsynced::Kind::truncate, static_cast<std::uint64_t>(size), Bytes{}});
    }));
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
    return static_cast<int>(watched(fd, SYS_fallocate, mode, offset, length, [&] {
        disk.unsynced.push_back({Unsynced::Kind::write, static_cast<std::uint64_t>(offset),
                                 Bytes(static_cast<std::size_t>(length))});
    }));
}
int fdatasync(int fd) {
    return sync_file(fd, SYS_fdatasync);
}
int fsync(int fd) {
    return sync_file(fd, SYS_fsync);
}
}

namespace understudy::qcow2 {
namespace {

using namespace understudy::qcow2::testing;

// What each sector may hold: the value at the last flush and every value written since. A sector's
// content tells its value; 0 is zeroes.
struct Possible {
    std::uint64_t flushed = 0;
    std::vector<std::uint64_t> since;

    std::uint64_t latest() const { return since.empty() ? flushed : since.back(); }
};

class PowerLoss : public ::testing::Test {
protected:
    // Around the borders of L2 tables, and the disk's end inside of a subcluster.
    static constexpr std::uint64_t kSize = (2ULL << 30) + (3 << 20) + 1536;
    static constexpr std::uint64_t kZoneLength = 3 << 19;
    static constexpr std::uint64_t kGrain = 4096;
    static constexpr std::uint64_t kBelow = 1;  // the value that the backing file holds

    void TearDown() override { disk = {}; }

    static std::uint64_t word(std::uint64_t sector, std::uint64_t value) {
        return value == 0 ? 0 : value << 32 | sector;
    }

    // A random piece of one of three zones, on the grid.
    std::pair<std::uint64_t, std::uint64_t> somewhere() {
        static constexpr std::uint64_t kZones[] = {0, (1ULL << 30) - (3 << 18),
                                                   (kSize - kZoneLength) / kGrain * kGrain};
        const auto zone = kZones[random() % 3];
        const auto zone_end = std::min(kSize, zone + kZoneLength);
        const auto begin = zone + random() % kZoneLength / kGrain * kGrain;
        const auto longest = random() % 4 == 0 ? kZoneLength : 10 * kGrain;
        const auto end = begin + (random() % longest / kGrain + 1) * kGrain;
        return {begin, std::min(zone_end, end)};
    }

    Result<> write_or_zero(ImageWriter& writer) {
        const auto [begin, end] = somewhere();
        const auto value = random() % 4 == 0 ? 0 : ++last_value;
        Bytes data(end - begin);
        for (auto at = begin; at < end; at += kSector) {
            auto& sector = sectors.try_emplace(at / kSector, Possible{below, {}}).first->second;
            sector.since.push_back(value);
            const auto content = word(at / kSector, value);
            for (std::size_t i = 0; i < kSector; i += 8) {
                std::memcpy(&data[at - begin + i], &content, 8);
            }
        }
        if (value == 0) return writer.zero(ByteOffset(begin), ByteSize(data.size()));
        return writer.write(ByteOffset(begin), data);
    }

    void settle() {  // after a completed flush
        for (auto& [index, sector] : sectors) {
            sector.flushed = sector.latest();
            sector.since.clear();
        }
    }

    // The file after the power came back: any of the sectors that were not synced may be there.
    void lose_power() {
        const int kept_percent = std::vector{0, 20, 50, 90, 100}[random() % 5];
        auto image = disk.durable;
        for (const auto& change : disk.unsynced) {
            if (change.kind == Unsynced::Kind::truncate) {
                if (keeps(kept_percent)) image.resize(change.offset);
                continue;
            }
            for (std::size_t at = 0; at < change.data.size(); at += kSector) {
                if (!keeps(kept_percent)) continue;
                const auto part = std::span(change.data).subspan(at);
                apply(image, change.offset + at, part.first(std::min(kSector, part.size())));
            }
        }
        disk = {};
        write_file(path, image);
        watch(std::move(image));
    }

    bool keeps(int percent) { return static_cast<int>(random() % 100) < percent; }

    void watch(Bytes durable) {
        struct stat status{};
        ASSERT_EQ(stat(path.c_str(), &status), 0);
        disk.inode = status.st_ino;
        disk.durable = std::move(durable);
    }

    // Every sector holds one of its possible values; what it holds is its value from now on.
    void expect_possible(bool latest_only) {
        auto chain = LayerChain::open(path, "qcow2");
        ASSERT_TRUE(chain) << chain.error().text();
        Bytes content(kSector);
        int impossible = 0;
        for (auto& [index, sector] : sectors) {
            auto done = (*chain)->read(ByteOffset(index * kSector), content);
            ASSERT_TRUE(done) << done.error().text();
            std::vector<std::uint64_t> possible{sector.latest()};
            if (!latest_only) {
                possible = sector.since;
                possible.push_back(sector.flushed);
            }
            const auto found = std::ranges::find_if(possible, [&](std::uint64_t value) {
                const auto expected = word(index, value);
                for (std::size_t i = 0; i < kSector; i += 8) {
                    if (std::memcmp(&content[i], &expected, 8) != 0) return false;
                }
                return true;
            });
            if (found == possible.end()) {
                ++impossible;
                continue;
            }
            sector = {*found, {}};
        }
        EXPECT_EQ(impossible, 0) << "of " << sectors.size() << " sectors";
    }

    // An image that is not marked as unfinished must be one that QEMU can trust.
    void expect_sound_if_finished() {
        const auto info = probe_image(path, "qcow2");
        ASSERT_TRUE(info) << info.error().text();
        if (info->dirty) return;
        const auto output = run_tool({"qemu-img", "check", "-f", "qcow2", path});
        EXPECT_NE(output.find("No errors"), std::string::npos) << output;
    }

    void make_base() {
        Bytes content(kZoneLength * 2);
        run_tool({"qemu-img", "create", "-q", "-f", "raw", dir / "base", std::to_string(kSize)});
        for (const std::uint64_t zone :
             std::vector<std::uint64_t>{0, (1U << 30) - (1U << 20), kSize - (2U << 20)}) {
            const auto end = std::min(kSize, zone + content.size());
            for (auto at = zone; at < end; at += 8) {
                const auto value = word(at / kSector, kBelow);
                std::memcpy(&content[at - zone], &value, 8);
            }
            patch_file(dir / "base", zone, std::span(content).first(end - zone));
        }
    }

    void one_life(const std::optional<BackingFile>& backing);
    void one_session(ImageWriter& writer);

    const TemporaryDirectory dir;
    const std::string path = dir / "disk.qcow2";
    std::mt19937_64 random{20'240'229};
    std::map<std::uint64_t, Possible> sectors;  // by number, as far as ever written
    std::uint64_t below = 0;
    std::uint64_t last_value = kBelow;
};

// Writes until it has done enough or the power goes.
void PowerLoss::one_session(ImageWriter& writer) {
    if (random() % 4 != 0) disk.calls_left = static_cast<int>(random() % 30) + 1;
    for (int step = static_cast<int>(random() % 12); step >= 0; --step) {
        const auto kind = random() % 10;
        const auto done = kind < 7   ? write_or_zero(writer)
                          : kind < 9 ? writer.flush()
                                     : writer.finish();
        if (!done) return;
        if (kind >= 7) settle();
    }
}

void PowerLoss::one_life(const std::optional<BackingFile>& backing) {
    std::filesystem::remove(path);
    sectors.clear();
    below = backing ? kBelow : 0;
    ASSERT_TRUE(ImageWriter::create(path, ByteSize(kSize), backing));
    watch(read_file(path));
    for (int session = 0; session < 12; ++session) {
        auto writer = ImageWriter::reopen(path);
        ASSERT_TRUE(writer) << writer.error().text();
        one_session(**writer);
        writer->reset();
        lose_power();
        expect_possible(false);
        expect_sound_if_finished();
        if (HasFailure()) return;
    }
    auto writer = ImageWriter::reopen(path);
    ASSERT_TRUE(writer) << writer.error().text();
    ASSERT_TRUE(write_or_zero(**writer));
    ASSERT_TRUE((*writer)->finish());
    settle();
    disk.unsynced.clear();
    lose_power();
    expect_possible(true);
    ASSERT_FALSE(probe_image(path, "qcow2")->dirty);
    expect_sound_if_finished();
}

TEST_F(PowerLoss, takes_nothing_that_a_flush_covered) {
    for (int life = 0; life < 8 && !HasFailure(); ++life) {
        SCOPED_TRACE(life);
        one_life(std::nullopt);
    }
}

TEST_F(PowerLoss, takes_nothing_that_a_flush_covered_on_a_base) {
    make_base();
    for (int life = 0; life < 12 && !HasFailure(); ++life) {
        SCOPED_TRACE(life);
        one_life(BackingFile{"base", "raw"});
    }
}

class Qcow2WriterCalls : public PowerLoss {};

TEST_F(Qcow2WriterCalls, of_large_writes_are_one_each) {
    auto writer = ImageWriter::create(path, base::MiB(64), std::nullopt);
    ASSERT_TRUE(writer);
    watch(read_file(path));
    for (std::uint64_t mib = 0; mib < 4; ++mib) {
        ASSERT_TRUE((*writer)->write(ByteOffset(mib << 20), pattern(1 << 20, mib)));
    }
    EXPECT_EQ(disk.writes, 4);
}

TEST_F(Qcow2WriterCalls, that_fail_leave_no_trace_and_may_be_repeated) {
    make_base();
    auto writer = ImageWriter::create(path, ByteSize(kSize), BackingFile{"base", "raw"});
    ASSERT_TRUE(writer);
    watch(read_file(path));
    ASSERT_TRUE((*writer)->write(ByteOffset(0), pattern(kGrain, 1)));
    disk.calls_left = 1;
    EXPECT_FALSE((*writer)->write(ByteOffset(1 << 20), pattern(kGrain, 2)));
    disk.calls_left.reset();
    ASSERT_TRUE((*writer)->flush());
    Bytes expected(2 << 20);
    auto below_it = LayerChain::open(dir / "base", "raw");
    ASSERT_TRUE(below_it && (*below_it)->read(ByteOffset(0), expected));
    std::ranges::copy(pattern(kGrain, 1), expected.begin());
    const auto begins_as_expected = [&] {
        Bytes begin(expected.size());
        auto chain = LayerChain::open(path, "qcow2");
        return chain && (*chain)->read(ByteOffset(0), begin) && begin == expected;
    };
    EXPECT_TRUE(begins_as_expected());
    ASSERT_TRUE((*writer)->write(ByteOffset(1 << 20), pattern(kGrain, 2)));
    std::ranges::copy(pattern(kGrain, 2), expected.begin() + (1 << 20));
    ASSERT_TRUE((*writer)->finish());
    EXPECT_TRUE(begins_as_expected());
    expect_sound_if_finished();
}

// After a failed flush the kernel forgets what it could not write. Only reading the file again
// tells what is there.
TEST_F(Qcow2WriterCalls, are_refused_after_a_flush_failed) {
    auto writer = ImageWriter::create(path, base::MiB(4), std::nullopt);
    ASSERT_TRUE(writer);
    watch(read_file(path));
    ASSERT_TRUE((*writer)->write(ByteOffset(0), pattern(kGrain, 1)));
    disk.calls_left = 1;
    EXPECT_FALSE((*writer)->flush());
    disk.calls_left.reset();
    EXPECT_FALSE((*writer)->flush());
    EXPECT_FALSE((*writer)->write(ByteOffset(0), pattern(kGrain, 1)));
    EXPECT_FALSE((*writer)->finish());
    writer = ImageWriter::reopen(path);
    ASSERT_TRUE(writer);
    EXPECT_TRUE((*writer)->write(ByteOffset(0), pattern(kGrain, 1)));
    EXPECT_TRUE((*writer)->finish());
}

}  // namespace
}  // namespace understudy::qcow2
