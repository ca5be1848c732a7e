#include "storage/qcow2/image/test_tools.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <fstream>

namespace understudy::qcow2::testing {

ToolRun try_tool(const std::vector<std::string>& argv) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return {};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    std::vector<char*> arguments;
    for (const auto& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    pid_t child = 0;
    const int failed =
        posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    ToolRun run;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
        run.output.append(buffer, static_cast<std::size_t>(n));
    }
    close(ends[0]);
    if (failed != 0) return run;
    int status = 0;
    waitpid(child, &status, 0);
    run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return run;
}

std::string run_tool(const std::vector<std::string>& argv) {
    auto run = try_tool(argv);
    EXPECT_EQ(run.status, 0) << fmt::format("{}", fmt::join(argv, " ")) << "\n" << run.output;
    return run.output;
}

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    Bytes bytes(static_cast<std::size_t>(std::max<std::streamoff>(0, file.tellg())));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(file.good()) << path;
    return bytes;
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(file.good()) << path;
}

void patch_file(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(file.good()) << path;
}

Bytes pattern(std::size_t length, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes bytes(length);
    std::ranges::generate(bytes, [&random] { return static_cast<std::byte>(random()); });
    return bytes;
}

std::vector<std::string> random_writes(std::mt19937_64& random, std::uint64_t size, int count) {
    std::vector<std::string> commands;
    for (int i = 0; i < count; ++i) {
        const std::uint64_t grid = random() % 2 == 0 ? 512 : 4096;
        const auto longest = random() % 4 == 0 ? size / 4 : std::min<std::uint64_t>(size, 150'000);
        const auto offset = random() % size / grid * grid;
        const auto length = std::min(size - offset, (random() % longest / grid + 1) * grid);
        switch (random() % 6) {
            case 0: commands.push_back(fmt::format("write -z {} {}", offset, length)); break;
            case 1: commands.push_back(fmt::format("write -z -u {} {}", offset, length)); break;
            case 2: commands.push_back(fmt::format("discard {} {}", offset, length)); break;
            default:
                commands.push_back(
                    fmt::format("write -P {} {} {}", random() % 255 + 1, offset, length));
        }
    }
    return commands;
}

void run_qemu_io(const std::string& image, const std::vector<std::string>& commands) {
    std::vector<std::string> argv{"qemu-io", "-f", "qcow2", "-t", "unsafe", "-d", "unmap"};
    for (const auto& command : commands) {
        argv.push_back("-c");
        argv.push_back(command);
    }
    argv.push_back(image);
    run_tool(argv);
}

Bytes as_qemu_reads(const TemporaryDirectory& directory, const std::string& image,
                    const std::string& format) {
    const auto raw = directory / "as-qemu-reads.raw";
    run_tool({"qemu-img", "convert", "-t", "unsafe", "-f", format, "-O", "raw", image, raw});
    auto bytes = read_file(raw);
    std::filesystem::remove(raw);
    return bytes;
}

Bytes as_we_read(const LayerChain& chain) {
    constexpr std::size_t kAwkward = 333 * 512;
    Bytes bytes(chain.size().count(), std::byte{0xee});
    for (std::size_t at = 0; at < bytes.size(); at += kAwkward) {
        const auto part = std::span(bytes).subspan(at, std::min(kAwkward, bytes.size() - at));
        auto done = chain.read(ByteOffset(at), part);
        EXPECT_TRUE(done) << done.error().text();
        if (!done) break;
    }
    return bytes;
}

Bytes as_we_read(const std::string& image, const std::string& format) {
    auto chain = LayerChain::open(image, format);
    EXPECT_TRUE(chain) << chain.error().text();
    return chain ? as_we_read(**chain) : Bytes{};
}

}  // namespace understudy::qcow2::testing
