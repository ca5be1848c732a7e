#include "storage/qcow2/image/writer.hpp"

#include "base/durable_file.hpp"
#include "storage/qcow2/image/refcounts.hpp"
#include "storage/qcow2/image/writer_tables.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

// Writes one qcow2 layer. create() lays it out under a temporary name, durable, and renames it.
// write() puts data into free clusters, and only then are the L2 tables in memory changed. flush()
// makes data and tables durable, in an order that a crash may cut (WriterTables::flush). finish()
// also writes the refcounts and then marks the file as finished; a later write() first marks it as
// unfinished again. After a crash reopen() cuts off what no table refers to and goes on. One
// thread; at most 64 L2 tables are in memory.

namespace understudy::qcow2 {
namespace {

// After this many bytes the kernel is asked to begin writing, so that flush() finds little left to
// do.
constexpr std::uint64_t kWritebackStep = 16U << 20;

// Writes a new image to `path`, a temporary name. The file is synced, its directory is not.
Result<> lay_down(const std::string& path, const Layout& layout,
                  const std::optional<BackingFile>& backing, Completeness completeness) {
    auto header = UNDERSTUDY_VALUE(make_header(layout, backing, completeness));
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW));
    UNDERSTUDY_TRY(file.truncate(layout.first_free));  // the tables are zero
    UNDERSTUDY_TRY(file.write(0, header));
    if (completeness == Completeness::finished) {
        auto used = UNDERSTUDY_VALUE(collect_references(file, layout));
        UNDERSTUDY_TRY(write_refcounts(file, layout, used));
    }
    return file.sync();
}

Result<> make_image(const std::string& path, ByteSize size,
                    const std::optional<BackingFile>& backing, Completeness completeness,
                    IfExists if_exists) {
    if (if_exists == IfExists::fail && access(path.c_str(), F_OK) == 0) {
        return fail(ErrorKind::invalid, fmt::format("{} exists already", path));
    }
    auto layout = UNDERSTUDY_VALUE(layout_for(size));
    const auto temporary = path + kTemporarySuffix;
    auto made = lay_down(temporary, layout, backing, completeness);
    if (made) made = move_into_place(temporary, path, if_exists);
    if (!made) {
        unlink(temporary.c_str());
        return fail(std::move(made.error()).during("make " + path));
    }
    return {};
}

std::uint32_t subcluster_mask(std::uint64_t begin, std::uint64_t end) {  // within one cluster
    const auto first = begin / kSubclusterSize;
    const auto count = divide_up(end, kSubclusterSize) - first;
    return static_cast<std::uint32_t>(((std::uint64_t{1} << count) - 1) << first);
}

}  // namespace

struct ImageWriter::State {
    State(ImageFile image, const Layout& where)
        : file(std::move(image)), layout(where), tables(file, layout) {}
    State(const State&) = delete;  // tables refer to file
    State& operator=(const State&) = delete;

    struct Placement {  // of a run of the disk at consecutive places in the file
        std::uint64_t host;
        std::uint64_t length;
        std::uint64_t next_free;
    };

    Result<> prepare(ByteOffset offset, std::uint64_t length);
    Result<> unfinish();
    Result<> flush();
    Result<> finish();
    Result<L2Table*> table_for(std::uint64_t index);
    Placement place(const L2Table& table, std::uint64_t at, std::uint64_t end) const;
    void record(L2Table& table, std::uint64_t at, const Placement& placement);
    Result<> write_in_table(std::uint64_t at, std::span<const std::byte> data);
    Result<> zero_in_table(std::uint64_t at, std::uint64_t end);

    ImageFile file;
    const Layout layout;
    WriterTables tables;
    std::uint64_t next_free = 0;       // bytes; everything behind it is unused
    std::uint64_t writeback_from = 0;  // bytes
    bool has_backing = false;
    bool finished = false;
    bool unsynced = false;           // data was written since the last flush
    std::optional<Error> breakdown;  // what made this writer unusable
};

// Every change begins here.
Result<> ImageWriter::State::prepare(ByteOffset offset, std::uint64_t length) {
    if (breakdown) return fail(*breakdown);
    const auto size = layout.size.count();
    const auto end = offset.count() + length;
    if (offset.count() > size || length > size - offset.count() ||
        offset.count() % kSubclusterSize != 0 || (end % kSubclusterSize != 0 && end != size)) {
        return fail(ErrorKind::invalid,
                    fmt::format("{}: bytes {}+{} are outside the disk or off the 4 KiB grid",
                                file.path(), offset.count(), length));
    }
    return finished && length > 0 ? unfinish() : Result<>{};
}

Result<> ImageWriter::State::unfinish() {
    auto done = mark(file, Completeness::unfinished);
    if (done) done = file.sync_data();
    // Now nobody trusts the refcounts any more. They are removed, with every byte behind the last
    // cluster in use, so that new clusters begin as zeroes.
    if (done) done = file.truncate(next_free);
    const std::vector<std::byte> zeroes(kClusterSize);
    for (std::uint64_t i = 0; done && i < layout.refcount_table_clusters; ++i) {
        done = file.write(layout.refcount_table_offset + i * kClusterSize, zeroes);
    }
    if (!done) return fail(breakdown.emplace(std::move(done.error())));
    finished = false;
    return {};
}

Result<L2Table*> ImageWriter::State::table_for(std::uint64_t index) {
    if (auto* table = tables.in_memory(index)) return table;
    if (tables.must_evict()) {
        if (tables.has_dirty()) UNDERSTUDY_TRY(flush());
        tables.evict_one();
    }
    auto table = tables.load_or_begin(index, next_free);
    if (table && (*table)->is_fresh()) next_free += kClusterSize;
    return table;
}

ImageWriter::State::Placement ImageWriter::State::place(const L2Table& table, std::uint64_t at,
                                                        std::uint64_t end) const {
    auto free = next_free;
    const auto host_of = [&](std::uint64_t offset) {
        const auto host = table.data_host((offset % kTableSpan) / kClusterSize);
        return host != 0 ? host : free;
    };
    const auto begin_host = host_of(at) + at % kClusterSize;
    auto reached = at;
    while (reached < end &&
           host_of(reached) + reached % kClusterSize == begin_host + (reached - at)) {
        if (host_of(reached) == free) free += kClusterSize;
        reached = align_down(reached, kClusterSize) + kClusterSize;
    }
    return {begin_host, std::min(reached, end) - at, free};
}

void ImageWriter::State::record(L2Table& table, std::uint64_t at, const Placement& placement) {
    const auto end = at + placement.length;
    auto host = placement.host - at % kClusterSize;
    while (at < end) {
        const auto cluster_at = align_down(at, kClusterSize);
        const auto part_end = std::min(end, cluster_at + kClusterSize);
        table.set_data((at % kTableSpan) / kClusterSize, host,
                       subcluster_mask(at - cluster_at, part_end - cluster_at));
        host += kClusterSize;
        at = part_end;
    }
    next_free = placement.next_free;
}

// The tables are changed only after the data was written, so a failed write leaves no trace in
// them.
Result<> ImageWriter::State::write_in_table(std::uint64_t at, std::span<const std::byte> data) {
    auto table = UNDERSTUDY_VALUE(table_for(at / kTableSpan));
    while (!data.empty()) {
        const auto placement = place(*table, at, at + data.size());
        unsynced = true;
        UNDERSTUDY_TRY(file.write(placement.host, data.first(placement.length)));
        record(*table, at, placement);
        at += placement.length;
        data = data.subspan(placement.length);
    }
    if (next_free - writeback_from >= kWritebackStep) {
        file.start_writeback(writeback_from, next_free - writeback_from);
        writeback_from = next_free;
    }
    return {};
}

Result<> ImageWriter::State::zero_in_table(std::uint64_t at, std::uint64_t end) {
    const auto index = at / kTableSpan;
    if (!has_backing && !tables.exists(index)) return {};  // zeroes already
    auto table = UNDERSTUDY_VALUE(table_for(index));
    while (at < end) {
        const auto cluster_at = align_down(at, kClusterSize);
        // What a cluster holds behind the disk's end never counts.
        const auto part_end = end == layout.size.count() ? cluster_at + kClusterSize
                                                         : std::min(end, cluster_at + kClusterSize);
        const auto mask = subcluster_mask(at - cluster_at, part_end - cluster_at);
        const auto entry = (at % kTableSpan) / kClusterSize;
        if (has_backing) {
            table->set_zero(entry, mask);
        } else {
            table->set_nothing(entry, mask);
        }
        at = part_end;
    }
    return {};
}

Result<> ImageWriter::State::flush() {
    if (breakdown) return fail(*breakdown);
    if (!unsynced && !tables.has_dirty()) return {};
    auto done = tables.flush();
    if (!done) return fail(breakdown.emplace(std::move(done.error()).during("flush")));
    unsynced = false;
    return {};
}

Result<> ImageWriter::State::finish() {
    UNDERSTUDY_TRY(flush());
    Result<> done;
    if (!finished) {
        auto used = collect_references(file, layout);
        done = used ? write_refcounts(file, layout, *used) : fail(std::move(used.error()));
        if (done) done = file.sync_data();
        if (done) done = mark(file, Completeness::finished);
    }
    if (done) done = file.sync();
    if (done) done = base::sync_path(base::parent_of(file.path()));
    if (!done) return fail(breakdown.emplace(std::move(done.error()).during("finish")));
    finished = true;
    return {};
}

ImageWriter::ImageWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageWriter::~ImageWriter() = default;

Result<std::unique_ptr<ImageWriter>> ImageWriter::create(
    const std::string& path, ByteSize size, const std::optional<BackingFile>& backing) {
    UNDERSTUDY_TRY(make_image(path, size, backing, Completeness::unfinished, IfExists::fail));
    return reopen(path);
}

Result<std::unique_ptr<ImageWriter>> ImageWriter::reopen(const std::string& path) {
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDWR));
    auto layout = read_layout(file);
    if (!layout) return fail(std::move(layout.error()).during("reopen"));
    auto info = probe_image(file, "qcow2");
    if (!info) return fail(std::move(info.error()).during("reopen"));
    auto used = collect_references(file, *layout);
    if (!used) return fail(std::move(used.error()).during("reopen"));
    auto state = std::make_unique<State>(std::move(file), *layout);
    state->has_backing = info->backing.has_value();
    state->finished = !info->dirty;
    state->next_free = state->writeback_from = used->end() * kClusterSize;
    if (!state->finished) UNDERSTUDY_TRY(state->file.truncate(state->next_free));
    UNDERSTUDY_TRY(state->tables.load_l1());
    return std::unique_ptr<ImageWriter>(new ImageWriter(std::move(state)));
}

const std::string& ImageWriter::path() const {
    return state_->file.path();
}

ByteSize ImageWriter::size() const {
    return state_->layout.size;
}

Result<> ImageWriter::write(ByteOffset offset, std::span<const std::byte> data) {
    UNDERSTUDY_TRY(state_->prepare(offset, data.size()));
    auto at = offset.count();
    while (!data.empty()) {
        const auto part =
            data.first(std::min<std::uint64_t>(data.size(), kTableSpan - at % kTableSpan));
        UNDERSTUDY_TRY(state_->write_in_table(at, part));
        at += part.size();
        data = data.subspan(part.size());
    }
    return {};
}

Result<> ImageWriter::zero(ByteOffset offset, ByteSize length) {
    UNDERSTUDY_TRY(state_->prepare(offset, length.count()));
    auto at = offset.count();
    const auto end = at + length.count();
    while (at < end) {
        const auto part_end = std::min(end, align_down(at, kTableSpan) + kTableSpan);
        UNDERSTUDY_TRY(state_->zero_in_table(at, part_end));
        at = part_end;
    }
    return {};
}

Result<> ImageWriter::flush() {
    return state_->flush();
}

Result<> ImageWriter::finish() {
    return state_->finish();
}

Result<> create_overlay(const std::string& path, ByteSize size, const BackingFile& backing,
                        IfExists if_exists) {
    return make_image(path, size, backing, Completeness::finished, if_exists);
}

}  // namespace understudy::qcow2
