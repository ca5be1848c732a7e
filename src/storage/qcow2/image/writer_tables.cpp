#include "storage/qcow2/image/writer_tables.hpp"

#include <algorithm>
#include <span>

// The L2 tables of an image that is being written: loaded when they are needed, changed in memory,
// and made durable together by flush(). A table leaves memory only after that. If a crash cuts
// flush() off, every entry on disk is the former or the new one, and what either refers to is
// durable.

namespace understudy::qcow2 {

void L2Table::change(std::size_t entry, std::uint64_t word, std::uint64_t bitmap) {
    word = htobe64(word);
    bitmap = htobe64(bitmap);
    if (words_[2 * entry] == word && words_[2 * entry + 1] == bitmap) return;
    words_[2 * entry] = word;
    words_[2 * entry + 1] = bitmap;
    dirty_ = true;
}

void L2Table::set_data(std::size_t entry, std::uint64_t host, std::uint32_t mask) {
    const auto bits = bitmap(entry);
    change(entry, host | kCopiedFlag, (bits & ~(std::uint64_t{mask} << 32)) | mask);
}

void L2Table::set_zero(std::size_t entry, std::uint32_t mask) {
    const auto bits = bitmap(entry);
    change(entry, be64toh(words_[2 * entry]),
           (bits & ~std::uint64_t{mask}) | (std::uint64_t{mask} << 32));
}

void L2Table::set_nothing(std::size_t entry, std::uint32_t mask) {
    const auto both = std::uint64_t{mask} << 32 | mask;
    change(entry, be64toh(words_[2 * entry]), bitmap(entry) & ~both);
}

Result<> WriterTables::load_l1() {
    l1_.resize(layout_.l1_entries);
    UNDERSTUDY_TRY(file_.read_exact(layout_.l1_offset, std::as_writable_bytes(std::span(l1_))));
    for (auto& entry : l1_) entry = be64toh(entry);
    return {};
}

L2Table* WriterTables::in_memory(std::uint64_t index) {
    const auto found = tables_.find(index);
    if (found == tables_.end()) return nullptr;
    found->second->last_use = ++uses_;
    return found->second.get();
}

void WriterTables::evict_one() {
    const auto oldest = std::ranges::min_element(
        tables_, {}, [](const auto& item) { return item.second->last_use; });
    UNDERSTUDY_INVARIANT(!oldest->second->is_dirty(), "a changed L2 table was about to be lost");
    tables_.erase(oldest);
}

Result<L2Table*> WriterTables::load_or_begin(std::uint64_t index, std::uint64_t free_host) {
    const auto host = l1_[index] & kOffsetMask;
    const bool fresh = host == 0;
    auto table = std::make_unique<L2Table>(fresh ? free_host : host, fresh);
    if (!fresh) {
        UNDERSTUDY_TRY(file_.read_exact(host, std::as_writable_bytes(table->words())));
    }
    table->last_use = ++uses_;
    return tables_.emplace(index, std::move(table)).first->second.get();
}

bool WriterTables::has_dirty() const {
    return std::ranges::any_of(tables_, [](const auto& item) { return item.second->is_dirty(); });
}

// There are two barriers. Before the first, data and new tables are written: nothing on disk refers
// to new tables or new clusters yet. Between the two, the references are written: changed tables
// and the L1 table. Each entry lies within one sector, so after power loss it is the old or the new
// one, and both are valid.
Result<> WriterTables::flush() {
    for (auto& [index, table] : tables_) {
        if (!table->is_dirty() || !table->is_fresh()) continue;
        UNDERSTUDY_TRY(file_.write(table->host(), std::as_bytes(table->words())));
    }
    UNDERSTUDY_TRY(file_.sync_data());
    if (!has_dirty()) return {};
    auto first = layout_.l1_entries;
    std::uint64_t end = 0;
    for (auto& [index, table] : tables_) {
        if (!table->is_dirty()) continue;
        if (table->is_fresh()) {
            l1_[index] = table->host() | kCopiedFlag;
            first = std::min(first, index);
            end = std::max(end, index + 1);
        } else {
            UNDERSTUDY_TRY(file_.write(table->host(), std::as_bytes(table->words())));
        }
    }
    if (first < end) {
        std::vector<std::uint64_t> entries(l1_.begin() + static_cast<std::ptrdiff_t>(first),
                                           l1_.begin() + static_cast<std::ptrdiff_t>(end));
        for (auto& entry : entries) entry = htobe64(entry);
        UNDERSTUDY_TRY(
            file_.write(layout_.l1_offset + first * 8, std::as_bytes(std::span(entries))));
    }
    UNDERSTUDY_TRY(file_.sync_data());
    for (auto& [index, table] : tables_) {
        if (table->is_dirty()) table->set_durable();
    }
    return {};
}

}  // namespace understudy::qcow2
