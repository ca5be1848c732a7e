#include "storage/rbd/image_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// Reads a snapshot. prefetch() begins a read and returns, read() of exactly the same range waits
// for it and takes what came; any other range is read then. At most 24 MiB are read ahead; beyond
// that, a prefetch is dropped unless finished ones that nobody came for can make room. librbd's
// threads call completed(); the destructor waits until none of them has a read left. Nothing is
// kept.

namespace understudy::rbd {
namespace {

constexpr std::uint64_t kMaxBytesAhead = 24 << 20;

}  // namespace

// A range that was announced and not asked for yet; its read may be under way.
struct ImageReader::Ahead {
    ImageReader* reader;
    std::uint64_t offset;
    std::size_t length;
    librados::bufferlist content;
    std::int64_t result = 0;  // under the reader's mutex, as `done`
    bool done = false;
    librbd::RBD::AioCompletion* completion = nullptr;
    std::shared_ptr<Ahead> self;  // for as long as librbd has it
};

Result<std::unique_ptr<ImageReader>> ImageReader::open(const Images& images,
                                                       const std::string& name,
                                                       const SnapshotId& snapshot) {
    auto opened = UNDERSTUDY_VALUE(images.open_frozen(name, snapshot));
    std::unique_ptr<ImageReader> reader(
        new ImageReader(images, opened, name + "@" + snapshot_name(snapshot)));
    std::uint64_t size = 0;
    if (const int result = opened->image.size(&size); result < 0)
        return fail(images.error(result, "look at", reader->name_));
    reader->size_ = ByteSize(size);
    return reader;
}

ImageReader::~ImageReader() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return in_flight_ == 0; });
}

void ImageReader::completed(librbd::completion_t, void* argument) {
    const auto ahead = std::move(static_cast<Ahead*>(argument)->self);
    const auto result = ahead->completion->get_return_value();
    ahead->completion->release();
    auto& reader = *ahead->reader;
    const std::lock_guard lock(
        reader.mutex_);  // held until notified: then the reader may be destroyed
    ahead->result = result;
    ahead->done = true;
    --reader.in_flight_;
    reader.changed_.notify_all();
}

void ImageReader::prefetch(ByteOffset offset, ByteSize length) {
    auto ahead = std::make_shared<Ahead>();
    ahead->reader = this;
    ahead->offset = offset.count();
    ahead->length = length.count();
    {
        const std::lock_guard lock(mutex_);
        // Reads that are finished and that nobody came for make room: their caller went elsewhere.
        while (bytes_ahead_ + ahead->length > kMaxBytesAhead && !ahead_.empty() &&
               ahead_.front()->done) {
            bytes_ahead_ -= ahead_.front()->length;
            ahead_.pop_front();
        }
        if (bytes_ahead_ + ahead->length > kMaxBytesAhead) return;
        bytes_ahead_ += ahead->length;
        ++in_flight_;
        ahead_.push_back(ahead);
    }
    ahead->self = ahead;
    ahead->completion = new librbd::RBD::AioCompletion(ahead.get(), completed);
    const int submitted =
        image_->image.aio_read(ahead->offset, ahead->length, ahead->content, ahead->completion);
    if (submitted >= 0) return;
    ahead->completion->release();
    ahead->self.reset();
    const std::lock_guard lock(mutex_);
    ahead->result = submitted;
    ahead->done = true;
    --in_flight_;
    changed_.notify_all();
}

// Takes what was read ahead of exactly this range, and waits for it. Null: it was not announced.
std::shared_ptr<ImageReader::Ahead> ImageReader::take(std::uint64_t offset, std::size_t length) {
    std::unique_lock lock(mutex_);
    const auto found = std::ranges::find_if(ahead_, [&](const auto& ahead) {
        return ahead->offset == offset && ahead->length == length;
    });
    if (found == ahead_.end()) return nullptr;
    auto taken = *found;
    ahead_.erase(found);
    changed_.wait(lock, [&] { return taken->done; });
    bytes_ahead_ -= taken->length;
    return taken;
}

Result<> ImageReader::read(ByteOffset offset, std::span<std::byte> into) {
    librados::bufferlist content;
    std::int64_t result = 0;
    if (auto ahead = take(offset.count(), into.size())) {
        content = std::move(ahead->content);
        result = ahead->result;
    } else {
        result = image_->image.read(offset.count(), into.size(), content);
    }
    if (result < 0) return fail(images_.error(static_cast<int>(result), "read", name_));
    if (content.length() != into.size())
        return fail(ErrorKind::internal, fmt::format("{} of {} bytes of image {} were read",
                                                     content.length(), into.size(), name_));
    content.begin().copy(static_cast<unsigned>(into.size()), reinterpret_cast<char*>(into.data()));
    return {};
}

}  // namespace understudy::rbd
