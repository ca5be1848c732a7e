#pragma once

#include "storage/qcow2/image/layout.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace understudy::qcow2 {

// One L2 table in memory, as it is on disk.
class L2Table {
public:
    L2Table(std::uint64_t host, bool fresh)
        : host_(host), fresh_(fresh), words_(2 * kTableEntries) {}

    std::uint64_t host() const { return host_; }  // its place in the file, bytes
    bool is_fresh() const { return fresh_; }      // the file's L1 table does not lead to it yet
    bool is_dirty() const { return dirty_; }
    void set_durable() { fresh_ = dirty_ = false; }
    std::span<std::uint64_t> words() { return words_; }  // big-endian

    std::uint64_t data_host(std::size_t entry) const {  // 0: none
        return be64toh(words_[2 * entry]) & kOffsetMask;
    }
    // Sets the subclusters of `mask` to data at `host`, or to zero, or to nothing.
    void set_data(std::size_t entry, std::uint64_t host, std::uint32_t mask);
    void set_zero(std::size_t entry, std::uint32_t mask);
    void set_nothing(std::size_t entry, std::uint32_t mask);

    std::uint64_t last_use = 0;

private:
    void change(std::size_t entry, std::uint64_t word, std::uint64_t bitmap);
    std::uint64_t bitmap(std::size_t entry) const { return be64toh(words_[2 * entry + 1]); }

    const std::uint64_t host_;
    bool fresh_;
    bool dirty_ = false;
    std::vector<std::uint64_t> words_;
};

// The tables of an image being written: at most 64 in memory (8 MiB, 64 GiB of disk). Decides in
// which order they reach the disk.
class WriterTables {
public:
    WriterTables(ImageFile& file, const Layout& layout) : file_(file), layout_(layout) {}

    Result<> load_l1();
    // Whether any table covers this part of the disk (index: disk offset / kTableSpan).
    bool exists(std::uint64_t index) const { return l1_[index] != 0 || tables_.contains(index); }
    // Null: not in memory.
    L2Table* in_memory(std::uint64_t index);
    bool must_evict() const { return tables_.size() >= kMaxTables; }
    // To be called only when no table in memory is dirty.
    void evict_one();
    // Loads a table, or begins one at `free_host` if there is none yet.
    Result<L2Table*> load_or_begin(std::uint64_t index, std::uint64_t free_host);

    bool has_dirty() const;
    // Makes every change durable, after everything that was written to the file before the call.
    Result<> flush();

private:
    static constexpr std::size_t kMaxTables = 64;

    ImageFile& file_;
    const Layout layout_;
    std::vector<std::uint64_t> l1_;  // host order
    std::unordered_map<std::uint64_t, std::unique_ptr<L2Table>> tables_;
    std::uint64_t uses_ = 0;
};

}  // namespace understudy::qcow2
