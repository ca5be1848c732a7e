#pragma once

#include "mover/fake_disks.hpp"
#include "mover/lane.hpp"
#include "mover/memory_channel.hpp"
#include "mover/receiver.hpp"
#include "mover/sender.hpp"

#include <memory>
#include <vector>

// One transfer with both ends in this process, for the tests of this folder. It outlives its
// attempts, as disks and a catalog do.
namespace understudy::mover::fake {

struct Transfer {
    explicit Transfer(std::vector<Story> disks, bool has_base) : stories(std::move(disks)) {
        full = !has_base;
        for (const auto& story : stories) {
            targets.push_back(std::make_unique<PowerLossDisk>(story.base));
            readers.push_back(std::make_shared<DiskReader>(story.now));
        }
    }

    SenderOptions sender_options() const {
        SenderOptions options;
        options.chunking = {.merge_gaps = full, .drop_zeroes = full};
        options.codecs = {model::Codec::none, model::Codec::lz4, model::Codec::zstd};
        options.rate_limit = [limit = rate_limit] { return limit; };
        return options;
    }
    std::unique_ptr<Sender> sender(SenderOptions options) const {
        std::vector<SourceDisk> disks;
        for (std::size_t i = 0; i < stories.size(); ++i)
            disks.push_back({.reader = readers[i],
                             .changes = [extents = stories[i].changes](ByteOffset from)
                                 -> Result<std::unique_ptr<ports::ExtentStream>> {
                                 return std::make_unique<ListedExtents>(extents, from);
                             }});
        return std::make_unique<Sender>(std::move(disks), durable, std::move(options));
    }
    std::unique_ptr<Sender> sender() const { return sender(sender_options()); }

    std::unique_ptr<Receiver> receiver(ReceiverOptions options) {
        std::vector<TargetDisk> disks;
        for (std::size_t i = 0; i < stories.size(); ++i)
            disks.push_back({.incoming = std::make_unique<IncomingDisk>(*targets[i]),
                             .size = ByteSize(stories[i].now.size())});
        if (!options.persist)
            options.persist = [this](const model::Ack& ack) {
                went_back = went_back || ack.durable < durable;
                durable = ack.durable;
                return Result<>();
            };
        return std::make_unique<Receiver>(std::move(disks), durable, std::move(options));
    }
    std::unique_ptr<Receiver> receiver() { return receiver({}); }

    bool target_equals_source() const {
        for (std::size_t i = 0; i < stories.size(); ++i)
            if (targets[i]->content() != stories[i].now) return false;
        return true;
    }

    std::vector<Story> stories;
    bool full = false;
    std::uint64_t rate_limit = 0;
    std::vector<std::unique_ptr<PowerLossDisk>> targets;
    std::vector<std::shared_ptr<DiskReader>> readers;
    model::DurablePoint durable;  // what the target's catalog knows
    bool went_back = false;
};

inline Transfer random_transfer(std::mt19937_64& random, std::uint64_t max_disk) {
    const bool has_base = random() % 3 != 0;
    std::vector<Story> stories;
    const auto disks = 1 + random() % 3;
    for (std::uint64_t i = 0; i < disks; ++i)
        stories.push_back(random_story(random, max_disk, has_base));
    Transfer transfer(std::move(stories), has_base);
    constexpr std::uint64_t kGigabit = 125'000'000;
    transfer.rate_limit = random() % 3 * 2 * kGigabit;  // none, lz4 or zstd by the chooser
    if (transfer.rate_limit != 0) transfer.rate_limit -= kGigabit;
    return transfer;
}

}  // namespace understudy::mover::fake
