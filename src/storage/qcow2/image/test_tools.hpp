#pragma once

#include "base/temporary_directory_test.hpp"
#include "base/units.hpp"
#include "storage/qcow2/image/layer_chain.hpp"

#include <cstddef>
#include <random>
#include <string>
#include <vector>

// For the tests of this folder: QEMU's own tools as the reference that our reading and writing of
// qcow2 is held against.
namespace understudy::qcow2::testing {

using Bytes = std::vector<std::byte>;

using base::TemporaryDirectory;

struct ToolRun {
    int status = -1;
    std::string output;  // stdout and stderr
};

ToolRun try_tool(const std::vector<std::string>& argv);      // no shell
std::string run_tool(const std::vector<std::string>& argv);  // a failure fails the test

Bytes read_file(const std::string& path);
void write_file(const std::string& path, std::span<const std::byte> bytes);
void patch_file(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes);
Bytes pattern(std::size_t length, std::uint64_t seed);  // bytes that do not compress

// `count` random qemu-io commands (write, write -z, discard) for a disk of this size.
std::vector<std::string> random_writes(std::mt19937_64& random, std::uint64_t size, int count);
void run_qemu_io(const std::string& image, const std::vector<std::string>& commands);

// The whole disk as QEMU reads it, and as we do (in reads of awkward length).
Bytes as_qemu_reads(const TemporaryDirectory& directory, const std::string& image,
                    const std::string& format = "qcow2");
Bytes as_we_read(const LayerChain& chain);
Bytes as_we_read(const std::string& image, const std::string& format = "qcow2");

}  // namespace understudy::qcow2::testing
