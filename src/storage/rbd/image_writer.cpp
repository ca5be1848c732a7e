#include "storage/rbd/image_writer.hpp"

#include <algorithm>
#include <utility>

namespace understudy::rbd {
namespace {

constexpr std::uint64_t kMaxBytesInFlight = 16 << 20;
constexpr std::size_t kMaxInFlight = 64;
// Of one operation that zeroes: librbd sends one request per object of it at once.
constexpr std::uint64_t kMaxZeroBytes = 128 << 20;

}  // namespace

struct ImageWriter::Operation {
    ImageWriter* writer;
    std::uint64_t bytes;
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
    operation->writer->done(operation->bytes, result);
}

void ImageWriter::done(std::uint64_t bytes, std::int64_t result) {
    const std::lock_guard lock(mutex_);  // also over the notice: the writer may go right after
    bytes_in_flight_ -= bytes;
    --in_flight_;
    if (result < 0 && failure_ == 0) failure_ = result;
    changed_.notify_all();
}

void ImageWriter::wait_for_room(std::uint64_t bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
        return in_flight_ == 0 ||
               (in_flight_ < kMaxInFlight && bytes_in_flight_ + bytes <= kMaxBytesInFlight);
    });
}

void ImageWriter::wait_for_all() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return in_flight_ == 0; });
}

Result<> ImageWriter::told() {
    std::unique_lock lock(mutex_);
    if (failure_ == 0) return {};
    const auto failure = static_cast<int>(failure_);
    lock.unlock();
    return fail(images_.error(failure, "write to", name_));
}

ImageWriter::Operation* ImageWriter::make_operation(std::uint64_t bytes) {
    auto operation = std::make_unique<Operation>(this, bytes, nullptr);
    operation->completion = new librbd::RBD::AioCompletion(operation.get(), completed);
    const std::lock_guard lock(mutex_);
    bytes_in_flight_ += bytes;
    ++in_flight_;
    return operation.release();  // completed() takes it
}

// An operation that librbd did not take is not completed by it either.
Result<> ImageWriter::begin(std::uint64_t bytes, int submitted, Operation* operation) {
    if (submitted >= 0) return {};
    operation->completion->release();
    delete operation;
    done(bytes, submitted);
    return told();
}

Result<> ImageWriter::write(std::uint64_t offset, std::span<const std::byte> data) {
    wait_for_room(data.size());
    UNDERSTUDY_TRY(told());
    librados::bufferlist buffer;  // a copy: `data` is the caller's again when this returns
    buffer.append(reinterpret_cast<const char*>(data.data()), static_cast<unsigned>(data.size()));
    auto* operation = make_operation(data.size());
    const int submitted =
        image_->image.aio_write(offset, data.size(), buffer, operation->completion);
    return begin(data.size(), submitted, operation);
}

Result<> ImageWriter::zero(std::uint64_t offset, std::uint64_t length) {
    while (length > 0) {
        const auto piece = std::min(length, kMaxZeroBytes);
        wait_for_room(0);
        UNDERSTUDY_TRY(told());
        auto* operation = make_operation(0);
        const int submitted =
            image_->image.aio_write_zeroes(offset, piece, operation->completion, 0, 0);
        UNDERSTUDY_TRY(begin(0, submitted, operation));
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
