#include "storage/qcow2/image/table_cache.hpp"

namespace understudy::qcow2 {

TableCache::Words TableCache::find(const Key& key) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->words;
}

void TableCache::insert(const Key& key, Words words) {
    const auto bytes = words->size() * sizeof(std::uint64_t);
    const std::lock_guard lock(mutex_);
    if (bytes > budget_ || index_.contains(key)) return;
    while (used_ + bytes > budget_) {
        used_ -= entries_.back().words->size() * sizeof(std::uint64_t);
        index_.erase(entries_.back().key);
        entries_.pop_back();
    }
    used_ += bytes;
    entries_.push_front({key, std::move(words)});
    index_.emplace(key, entries_.begin());
}

}  // namespace understudy::qcow2
