#pragma once

#include "base/units.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace understudy::qcow2 {

// Least recently used pieces of L2 tables (and decompressed clusters), shared by all layers of a
// chain so that its memory is bounded whatever the number and size of layers. Thread-safe; the
// lock is held for a look-up only, never during I/O. Two threads may load the same piece at once.
class TableCache {
public:
    using Words = std::shared_ptr<const std::vector<std::uint64_t>>;
    struct Key {
        std::size_t layer;
        std::uint64_t id;  // an offset in the layer's file, or a compressed cluster's descriptor
        bool operator==(const Key&) const = default;
    };

    explicit TableCache(ByteSize budget) : budget_(budget.count()) {}

    Words find(const Key& key);  // null: not here
    void insert(const Key& key, Words words);

private:
    struct Entry {
        Key key;
        Words words;
    };
    struct HashKey {
        std::size_t operator()(const Key& key) const {
            return std::hash<std::uint64_t>()(key.id * 0x9e3779b97f4a7c15 + key.layer);
        }
    };

    const std::uint64_t budget_;  // bytes
    std::mutex mutex_;
    std::uint64_t used_ = 0;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<Key, std::list<Entry>::iterator, HashKey> index_;
};

}  // namespace understudy::qcow2
