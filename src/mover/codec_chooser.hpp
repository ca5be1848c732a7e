#pragma once

#include "model/transfer.hpp"
#include "ports/peer_link.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace understudy::mover {

// Decides how the next chunk travels: compression must never make a send slower than the link.
// Measured with both ends on two cores: zstd-1 pays below about 2 Gbit/s, lz4 between 2 and 6,
// above that nothing does. Pure: no clock, no threads.
class CodecChooser {
public:
    // none is always usable. `first`: what an earlier send to the same place has learnt.
    explicit CodecChooser(std::vector<model::Codec> usable,
                          model::Codec first = model::Codec::none);

    // The configured limit in bytes per second, 0 = none. If it is below the link's rate, it counts
    // as the link's rate.
    void set_rate_limit(std::uint64_t bytes_per_second);

    // What the channels measured, summed. A rate counts if the link bounded it. A rate that we or
    // the receiver bounded only says that the link is at least that fast. Takes effect when two
    // measurements in a row agree.
    void observe(const ports::LinkStats& sum);

    // For the next chunk. After several incompressible chunks in a row, only every 8th, 16th … 64th
    // is tried.
    model::Codec choose();
    // The outcome of trying a codec: whether the chunk shrank enough to travel compressed.
    void record(bool shrank);

    model::Codec preferred() const;  // by link and limit, whatever the chunks are
    // What the link itself asked for, once it has bounded the rate. Nothing before that.
    std::optional<model::Codec> learnt() const { return learnt_; }

private:
    model::Codec nearest_usable(model::Codec wanted) const;

    std::vector<model::Codec> usable_;
    model::Codec by_link_ = model::Codec::none;
    model::Codec by_limit_ = model::Codec::none;
    model::Codec candidate_ = model::Codec::none;
    std::optional<model::Codec> learnt_;
    unsigned agreeing_ = 0;
    unsigned failures_ = 0;  // in a row
    unsigned skip_ = 0;      // chunks to go before the next try
    unsigned stride_ = 0;    // 0: every chunk is tried
};

}  // namespace understudy::mover
