#pragma once

#include "storage/rbd/image.hpp"

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

namespace understudy::rbd {

// Writes an image's head with many operations in flight, in bounded memory. One thread. If
// something went wrong in the background, the next call says so, and every call after that.
class ImageWriter {
public:
    ImageWriter(const Images& images, std::shared_ptr<OpenImage> image, std::string name);
    ~ImageWriter();  // waits for what is in flight
    ImageWriter(const ImageWriter&) = delete;
    ImageWriter& operator=(const ImageWriter&) = delete;

    Result<> write(std::uint64_t offset, std::span<const std::byte> data);
    Result<> zero(std::uint64_t offset, std::uint64_t length);
    Result<> flush();  // all that was written before is on disk
    OpenImage& image() { return *image_; }

private:
    struct Operation;
    using Ranges = std::list<std::pair<std::uint64_t, std::uint64_t>>;  // offset, length

    void wait_for_all();
    Operation* begin(std::uint64_t offset, std::uint64_t length, std::uint64_t bytes);
    Result<> submitted(int result, Operation* operation);
    void done(const Operation& operation, std::int64_t result);
    Result<> told();
    static void completed(librbd::completion_t completion, void* argument);

    const Images images_;
    const std::shared_ptr<OpenImage> image_;
    const std::string name_;
    std::mutex mutex_;
    std::condition_variable changed_;
    Ranges in_flight_;                   // under mutex_, as those below
    std::uint64_t bytes_in_flight_ = 0;  // that librbd keeps until they are written
    std::int64_t failure_ = 0;           // the first one's negative errno
};

}  // namespace understudy::rbd
