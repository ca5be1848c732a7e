#include "storage/qcow2/disk_format.hpp"

#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/image/writer.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

// A disk in one qcow2 file, for exports and imports. create() begins the file, publish() finishes
// it, discard() deletes it. open() refuses what is no regular file, an overlay where a whole file
// is wanted, and a whole file where an overlay is wanted. It never opens the backing file. A crash
// leaves an unfinished file; the task that made it begins again with a new one.

namespace understudy::qcow2 {
namespace {

class ImageIncoming final : public ports::Incoming {
public:
    explicit ImageIncoming(std::unique_ptr<ImageWriter> writer) : writer_(std::move(writer)) {}
    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        return writer_->write(offset, data);
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        return writer_->zero(offset, length);
    }
    Result<> flush() override { return writer_->flush(); }
    Result<> publish() override { return writer_->finish(); }
    Result<> discard() override {
        if (::unlink(writer_->path().c_str()) != 0 && errno != ENOENT)
            return fail(errno_error(errno, "delete " + writer_->path()));
        return {};
    }

private:
    std::unique_ptr<ImageWriter> writer_;
};

class ImageFileLayer final : public ports::DiskLayer {
public:
    explicit ImageFileLayer(std::unique_ptr<LayerChain> image) : image_(std::move(image)) {}
    ByteSize size() const override { return image_->size(); }
    Result<std::unique_ptr<ports::ExtentStream>> extents() override {
        return image_->extents(1, ByteOffset(0), Zeroes::listed);
    }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        return image_->read(offset, into);
    }

private:
    std::unique_ptr<LayerChain> image_;
};

class Qcow2Format final : public ports::DiskFormat {
public:
    std::string ending() const override { return "qcow2"; }
    bool needs_base_file() const override { return true; }
    std::string name_of(const SnapshotId&) const override { return {}; }

    Result<std::unique_ptr<ports::Incoming>> create(const ports::NewDiskFile& wanted) override {
        std::optional<BackingFile> backing;
        if (wanted.base) backing = {.path = wanted.base->file, .format = "qcow2"};
        auto writer = UNDERSTUDY_VALUE(ImageWriter::create(wanted.path, wanted.size, backing));
        return std::make_unique<ImageIncoming>(std::move(writer));
    }

    Result<std::vector<std::unique_ptr<ports::DiskLayer>>> open(
        const std::string& path, const ports::WantedMoment& wanted) override {
        struct stat status{};
        if (::lstat(path.c_str(), &status) != 0) return fail(errno_error(errno, "open " + path));
        if (!S_ISREG(status.st_mode))
            return fail(ErrorKind::invalid, path + " is not a regular file");
        auto image = UNDERSTUDY_VALUE(LayerChain::open_alone(path, "qcow2"));
        const bool whole = !image->info_of(0).backing;
        if (whole != wanted.whole)
            return fail(ErrorKind::invalid,
                        fmt::format("{} is {}, which it should not be", path,
                                    whole ? "whole" : "an overlay on another file"));
        std::vector<std::unique_ptr<ports::DiskLayer>> layers;
        layers.push_back(std::make_unique<ImageFileLayer>(std::move(image)));
        return layers;
    }
};

}  // namespace

std::unique_ptr<ports::DiskFormat> qcow2_format() {
    return std::make_unique<Qcow2Format>();
}

}  // namespace understudy::qcow2
