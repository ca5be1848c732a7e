#pragma once

#include "storage/rbd/image.hpp"

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>

namespace understudy::rbd {

// Reads a snapshot of an image, ahead of the caller where that was announced. Bounded memory.
// Thread-safe.
class ImageReader : public ports::Reader {
public:
    static Result<std::unique_ptr<ImageReader>> open(const Images& images, const std::string& name,
                                                     const SnapshotId& snapshot);
    ~ImageReader() override;  // waits for what is in flight
    ImageReader(const ImageReader&) = delete;
    ImageReader& operator=(const ImageReader&) = delete;

    ByteSize size() const override { return size_; }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override;
    void prefetch(ByteOffset offset, ByteSize length) override;

private:
    struct Ahead;
    ImageReader(const Images& images, std::shared_ptr<OpenImage> image, std::string name)
        : images_(images), image_(std::move(image)), name_(std::move(name)) {}
    std::shared_ptr<Ahead> take(std::uint64_t offset, std::size_t length);
    static void completed(librbd::completion_t completion, void* argument);

    const Images images_;
    const std::shared_ptr<OpenImage> image_;
    const std::string name_;
    ByteSize size_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<std::shared_ptr<Ahead>> ahead_;  // under mutex_, as those below; oldest first
    std::uint64_t bytes_ahead_ = 0;            // of ahead_ and of what is in flight beside it
    std::size_t in_flight_ = 0;
};

}  // namespace understudy::rbd
