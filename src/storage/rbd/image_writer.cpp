#include "storage/rbd/image_writer.hpp"

#include <algorithm>
#include <utility>

// Writes an image's head with many operations in flight: at most 64, and 16 MiB. Each write()
// copies its data, waits for room and until nothing is under way in its range, and gives it to
// librbd, whose threads call done(). flush() waits for all of them and then makes them durable. The
// first failure is kept, and every later call reports it. After a crash everything before the last
// flush() is there; the volume's next receive() goes on from that. The destructor waits for what is
// in flight.

namespace understudy::rbd {
namespace {

constexpr std::uint64_t kMaxBytesInFlight = 16 << 20;
constexpr std::size_t kMaxInFlight = 64;
// For one operation that zeroes: librbd sends the requests for all its objects at once.
constexpr std::uint64_t kMaxZeroBytes = 128 << 20;

}  // namespace

struct ImageWriter::Operation {
    ImageWriter* writer;
    Ranges::iterator range;
    std::uint64_t bytes;  // in memory
    librbd::RBD::AioCompletion* completion;
};

ImageWriter::ImageWriter(const Images& images, std::shared_ptr<OpenImage> image, std::string name)
    : images_(images), image_(std::move(image)), name_(std::move(name)) {}

ImageWriter::~ImageWriter() {
    wait_for_all();
}

void ImageWriter::completed(librbd::completion_t, void* argument) {
    const std::unique_ptr<Operation> operation(static_cast<Operation*>(argument));
    const auto result = operation->completion->get_return_value();
    operation->completion->release();
    operation->writer->done(*operation, result);
}

void ImageWriter::done(const Operation& operation, std::int64_t result) {
    const std::lock_guard lock(mutex_);  // held until notified: then the writer may be destroyed
    bytes_in_flight_ -= operation.bytes;
    in_flight_.erase(operation.range);
    if (result < 0 && failure_ == 0) failure_ = result;
    changed_.notify_all();
}

void ImageWriter::wait_for_all() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return in_flight_.empty(); });
}

Result<> ImageWriter::told() {
    std::unique_lock lock(mutex_);
    if (failure_ == 0) return {};
    const auto failure = static_cast<int>(failure_);
    lock.unlock();
    return fail(images_.error(failure, "write to", name_));
}

// Waits until there is room for the operation and until nothing is under way in its range, because
// librbd keeps no order.
ImageWriter::Operation* ImageWriter::begin(std::uint64_t offset, std::uint64_t length,
                                           std::uint64_t bytes) {
    auto operation = std::make_unique<Operation>(this, in_flight_.end(), bytes, nullptr);
    operation->completion = new librbd::RBD::AioCompletion(operation.get(), completed);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
        const bool has_room = in_flight_.empty() || (in_flight_.size() < kMaxInFlight &&
                                                     bytes_in_flight_ + bytes <= kMaxBytesInFlight);
        return has_room && std::ranges::none_of(in_flight_, [&](const auto& range) {
                   return range.first < offset + length && offset < range.first + range.second;
               });
    });
    bytes_in_flight_ += bytes;
    operation->range = in_flight_.emplace(in_flight_.end(), offset, length);
    return operation.release();  // completed() takes it
}

// If librbd did not take an operation, it does not complete it either.
Result<> ImageWriter::submitted(int result, Operation* operation) {
    if (result < 0) {
        operation->completion->release();
        done(*operation, result);
        delete operation;
    }
    return told();
}

Result<> ImageWriter::write(std::uint64_t offset, std::span<const std::byte> data) {
    UNDERSTUDY_TRY(told());
    librados::bufferlist buffer;  // a copy: `data` is the caller's again when this returns
    buffer.append(reinterpret_cast<const char*>(data.data()), static_cast<unsigned>(data.size()));
    auto* operation = begin(offset, data.size(), data.size());
    return submitted(image_->image.aio_write(offset, data.size(), buffer, operation->completion),
                     operation);
}

Result<> ImageWriter::zero(std::uint64_t offset, std::uint64_t length) {
    while (length > 0) {
        UNDERSTUDY_TRY(told());
        const auto piece = std::min(length, kMaxZeroBytes);
        auto* operation = begin(offset, piece, 0);
        UNDERSTUDY_TRY(submitted(
            image_->image.aio_write_zeroes(offset, piece, operation->completion, 0, 0), operation));
        offset += piece;
        length -= piece;
    }
    return {};
}

Result<> ImageWriter::flush() {
    wait_for_all();
    UNDERSTUDY_TRY(told());
    if (const int result = image_->image.flush(); result < 0)
        return fail(images_.error(result, "flush", name_));
    return {};
}

}  // namespace understudy::rbd
