#include "storage/rbd_stream/format.hpp"

#include "storage/rbd_stream/diff_layer.hpp"
#include "storage/rbd_stream/diff_writer.hpp"

#include <fmt/format.h>

namespace understudy::rbd_stream {
namespace {

std::string shown(const std::string& name) {
    return name.empty() ? "nothing" : "'" + name + "'";
}

// How many of the diffs, counted from the bottom, lead to the wanted moment.
Result<std::size_t> count_until(const std::string& path, const std::vector<Diff>& diffs,
                                const ports::WantedMoment& wanted) {
    const auto& from = diffs.front().head.from;
    if (from != (wanted.whole ? std::string() : wanted.base))
        return fail(ErrorKind::invalid, fmt::format("{} holds what changed since {}, not since {}",
                                                    path, shown(from), shown(wanted.base)));
    std::string known;
    for (std::size_t i = 0; i < diffs.size(); ++i) {
        const auto& to = diffs[i].head.to;
        if (to == wanted.until) return i + 1;
        if (!to.empty()) known += (known.empty() ? "" : ", ") + shown(to);
    }
    return fail(ErrorKind::invalid, fmt::format("{} does not hold snapshot '{}'; it holds {}", path,
                                                wanted.until, known.empty() ? "none" : known));
}

class RbdFormat final : public ports::DiskFormat {
public:
    std::string ending() const override { return "rbd"; }
    bool needs_base_file() const override { return false; }
    std::string name_of(const SnapshotId& id) const override { return "understudy-" + id.text(); }

    Result<std::unique_ptr<ports::Incoming>> create(const ports::NewDiskFile& wanted) override {
        return write_diff(wanted.path, wanted.size,
                          wanted.base ? name_of(wanted.base->snapshot) : std::string(),
                          name_of(wanted.snapshot));
    }

    Result<std::vector<std::unique_ptr<ports::DiskLayer>>> open(
        const std::string& path, const ports::WantedMoment& wanted) override {
        auto opened = UNDERSTUDY_VALUE(StreamFile::open(path));
        const auto file = std::make_shared<const StreamFile>(std::move(opened));
        auto diffs = UNDERSTUDY_VALUE(read_structure(*file));
        auto count = UNDERSTUDY_VALUE(count_until(path, diffs, wanted));
        std::vector<std::unique_ptr<ports::DiskLayer>> layers;
        for (std::size_t i = 0; i < count; ++i) {
            auto layer = UNDERSTUDY_VALUE(make_layer(file, diffs[i]));
            layers.push_back(std::move(layer));
        }
        return layers;
    }
};

}  // namespace

std::unique_ptr<ports::DiskFormat> rbd_format() {
    return std::make_unique<RbdFormat>();
}

}  // namespace understudy::rbd_stream
