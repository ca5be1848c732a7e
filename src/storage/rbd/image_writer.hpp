#pragma once

#include "storage/rbd/image.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

namespace understudy::rbd {

// Writes an image's head with many operations in flight, in bounded memory. One thread. What went
// wrong in the background is told by the next call, and by every one after that.
class ImageWriter {
public:
    ImageWriter(const Images& images, std::shared_ptr<OpenImage> image, std::string name);
    ~ImageWriter();  // waits for what is in flight
    ImageWriter(const ImageWriter&) = delete;
    ImageWriter& operator=(const ImageWriter&) = delete;

    Result<> write(std::uint64_t offset, std::span<const std::byte> data);
    Result<> zero(std::uint64_t offset, std::uint64_t length);
    Result<> flush();  // all before is on disk
    OpenImage& image() { return *image_; }

private:
    struct Operation;
    void wait_for_room(std::uint64_t bytes);
    void wait_for_all();
    Result<> begin(std::uint64_t bytes, int submitted, Operation* operation);
    Operation* make_operation(std::uint64_t bytes);
    void done(std::uint64_t bytes, std::int64_t result);
    Result<> told();
    static void completed(librbd::completion_t completion, void* argument);

    const Images images_;
    const std::shared_ptr<OpenImage> image_;
    const std::string name_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t bytes_in_flight_ = 0;  // under mutex_, as those below
    std::size_t in_flight_ = 0;
    std::int64_t failure_ = 0;  // the first one's negative errno
};

}  // namespace understudy::rbd
