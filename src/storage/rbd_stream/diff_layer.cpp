#include "storage/rbd_stream/diff_layer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

// One diff of a file as a layer of a disk. If its records ascend, every listing walks the file
// again, and read() goes on from its last record; for a place before that it starts again. If they
// do not, they are sorted once in memory, at most 4 Mi of them, a later record over an earlier one.
// Only reads the file. One thread: read() keeps its place between calls.

namespace understudy::rbd_stream {
namespace {

// Each takes 32 bytes in the sorted list (128 MiB), and more in the map that sorts them.
constexpr std::size_t kMostSorted = std::size_t{4} << 20;

// A diff's records in ascending order. restart() goes back to the first one.
class Ascending {
public:
    virtual ~Ascending() = default;
    virtual void restart() = 0;
    virtual Result<std::optional<Record>> next() = 0;
};

class Walked final : public Ascending {
public:
    Walked(std::shared_ptr<const StreamFile> file, DiffHead head)
        : file_(std::move(file)), head_(std::move(head)), walk_(*file_, head_) {}
    void restart() override { walk_ = RecordWalk(*file_, head_); }
    Result<std::optional<Record>> next() override { return walk_.next(); }

private:
    std::shared_ptr<const StreamFile> file_;
    DiffHead head_;
    RecordWalk walk_;
};

class Sorted final : public Ascending {
public:
    explicit Sorted(std::shared_ptr<const std::vector<Record>> records)
        : records_(std::move(records)) {}
    void restart() override { next_ = 0; }
    Result<std::optional<Record>> next() override {
        if (next_ == records_->size()) return std::nullopt;
        return (*records_)[next_++];
    }

private:
    std::shared_ptr<const std::vector<Record>> records_;
    std::size_t next_ = 0;
};

Record part_of(const Record& record, std::uint64_t begin, std::uint64_t end) {
    Record part = record;
    part.data_at += begin - record.extent.offset.count();
    part.extent.offset = ByteOffset(begin);
    part.extent.length = ByteSize(end - begin);
    return part;
}

// A later record replaces what earlier ones said about its place.
void lay_over(std::map<std::uint64_t, Record>& records, const Record& record) {
    const auto begin = record.extent.offset.count();
    const auto end = record.extent.end().count();
    auto at = records.lower_bound(begin);
    if (at != records.begin() && std::prev(at)->second.extent.end().count() > begin) --at;
    while (at != records.end() && at->first < end) {
        const auto old = at->second;
        const auto old_begin = old.extent.offset.count();
        const auto old_end = old.extent.end().count();
        at = records.erase(at);
        if (old_begin < begin) records.emplace(old_begin, part_of(old, old_begin, begin));
        if (old_end > end) records.emplace(end, part_of(old, end, old_end));
    }
    records.emplace(begin, record);
}

Result<std::shared_ptr<const std::vector<Record>>> sorted(const StreamFile& file,
                                                          const DiffHead& head) {
    std::map<std::uint64_t, Record> records;
    RecordWalk walk(file, head);
    while (true) {
        auto record = UNDERSTUDY_VALUE(walk.next());
        if (!record) break;
        lay_over(records, *record);
        if (records.size() > kMostSorted)
            return fail(Error(ErrorKind::unsupported,
                              fmt::format("{} has more than {} records that do not ascend",
                                          file.path(), kMostSorted))
                            .advising("Import it with `rbd import` into an image without fancy "
                                      "striping, and export that."));
    }
    auto in_order = std::make_shared<std::vector<Record>>();
    in_order->reserve(records.size());
    for (const auto& [offset, record] : records) in_order->push_back(record);
    return in_order;
}

class DiffExtents final : public ports::ExtentStream {
public:
    explicit DiffExtents(std::unique_ptr<Ascending> records) : records_(std::move(records)) {}
    Result<std::optional<ports::Extent>> next() override {
        auto record = UNDERSTUDY_VALUE(records_->next());
        if (!record) return std::nullopt;
        return record->extent;
    }

private:
    std::unique_ptr<Ascending> records_;
};

class DiffLayer final : public ports::DiskLayer {
public:
    DiffLayer(std::shared_ptr<const StreamFile> file, DiffHead head,
              std::shared_ptr<const std::vector<Record>> in_order)
        : file_(std::move(file)),
          head_(std::move(head)),
          in_order_(std::move(in_order)),
          records_(ascending()) {}

    ByteSize size() const override { return head_.size; }
    Result<std::unique_ptr<ports::ExtentStream>> extents() override {
        return std::make_unique<DiffExtents>(ascending());
    }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        auto at = offset.count();
        while (!into.empty()) {
            auto record = UNDERSTUDY_VALUE(record_at(at));
            const auto part = std::min<std::uint64_t>(into.size(), record.extent.length.count());
            UNDERSTUDY_TRY(file_->read(record.data_at, into.first(part)));
            at += part;
            into = into.subspan(part);
        }
        return {};
    }

private:
    std::unique_ptr<Ascending> ascending() const {
        if (in_order_) return std::make_unique<Sorted>(in_order_);
        return std::make_unique<Walked>(file_, head_);
    }

    // The record that has this place, cut so that it begins there.
    Result<Record> record_at(std::uint64_t at) {
        if (current_ && at < current_->extent.offset.count()) {
            records_->restart();
            current_.reset();
        }
        while (!current_ || current_->extent.end().count() <= at) {
            auto next = UNDERSTUDY_VALUE(records_->next());
            current_ = next;
            if (!current_) break;
        }
        if (!current_ || at < current_->extent.offset.count() ||
            current_->extent.kind != model::ExtentKind::data) {
            records_->restart();
            current_.reset();
            return fail(ErrorKind::internal, fmt::format("{}: no data for {}", file_->path(), at));
        }
        return part_of(*current_, at, current_->extent.end().count());
    }

    std::shared_ptr<const StreamFile> file_;
    DiffHead head_;
    std::shared_ptr<const std::vector<Record>> in_order_;  // only if the file's do not ascend
    std::unique_ptr<Ascending> records_;                   // where read() is
    std::optional<Record> current_;
};

}  // namespace

Result<std::unique_ptr<ports::DiskLayer>> make_layer(std::shared_ptr<const StreamFile> file,
                                                     const Diff& diff) {
    std::shared_ptr<const std::vector<Record>> in_order;
    if (!diff.ascending) {
        auto records = UNDERSTUDY_VALUE(sorted(*file, diff.head));
        in_order = std::move(records);
    }
    return std::make_unique<DiffLayer>(std::move(file), diff.head, std::move(in_order));
}

}  // namespace understudy::rbd_stream
