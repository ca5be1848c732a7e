#include "mover/pump.hpp"

#include "mover/lane.hpp"
#include "mover/throttle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

// Drives a Sender with one thread per channel; no other file here starts threads. The caller's
// thread starts the first channel's thread, reports, and starts another one when a channel finds
// much left to send. Each thread waits for its turn at the rate limit, takes a step of its Lane,
// and ends when all is acknowledged. The first error ends all of them; no progress for `patience`
// is one. All have ended when pump() returns. Nothing is kept: the target's durable point says
// where to go on.

namespace understudy::mover {
namespace {

constexpr Duration kSampleEvery{50};   // of what the channels measure
constexpr Duration kLongestNap{100};   // so that a new limit and a cancel are noticed
constexpr Duration kLongestPause{10};  // between two looks for an acknowledgement

// What the threads of one pump share.
class ChannelThreads {
public:
    ChannelThreads(Sender& sender, const OpenChannel& open_channel, ports::Clock& clock,
                   const PumpOptions& options)
        : sender_(sender),
          open_channel_(open_channel),
          clock_(clock),
          options_(options),
          links_(std::max(1U, options.channels)) {}

    ~ChannelThreads() { join(); }

    Result<model::Totals> run() {
        start_thread();
        supervise();
        join();
        if (error_) return fail(std::move(*error_));
        return sender_.totals();
    }

private:
    struct Link {
        ports::LinkStats stats;
        bool open = false;
    };

    void start_thread() {
        const std::lock_guard lock(mutex_);
        const auto index = threads_.size();
        try {
            threads_.emplace_back([this, index] { work(index); });
            ++working_;
        } catch (const std::system_error& error) {
            if (!error_)
                error_ = Error(ErrorKind::unavailable,
                               fmt::format("start a thread for a channel: {}", error.what()));
        }
    }

    void join() {
        for (auto& thread : threads_)
            if (thread.joinable()) thread.join();
    }

    // Runs in the caller's thread: starts further channels, reports, waits for the end.
    void supervise() {
        auto last_done = sender_.progress().done_bytes;
        auto last_report = clock_.monotonic();
        std::unique_lock lock(mutex_);
        while (working_ > 0) {
            changed_.wait_for(lock, options_.report_every,
                              [&] { return working_ == 0 || thread_wanted_; });
            if (std::exchange(thread_wanted_, false) && !error_ &&
                threads_.size() < links_.size()) {
                lock.unlock();
                start_thread();
                lock.lock();
            }
            const auto now = clock_.monotonic();
            if (!options_.report || now - last_report < options_.report_every) continue;
            lock.unlock();
            auto progress = sender_.progress();
            const auto milliseconds =
                static_cast<std::uint64_t>(std::max<Duration::rep>(1, (now - last_report).count()));
            progress.rate_bytes = (progress.done_bytes - last_done) * 1000 / milliseconds;
            last_done = progress.done_bytes;
            last_report = now;
            options_.report(progress);
            lock.lock();
        }
    }

    void work(std::size_t index) {
        auto result = drive(index);
        const std::lock_guard lock(mutex_);
        links_[index].open = false;
        // One channel's error cuts the others off. What they report then must not hide it.
        if (!result && (!error_ || error_->kind() == ErrorKind::unavailable))
            error_ = std::move(result.error());
        --working_;
        changed_.notify_all();
    }

    bool stopping() {
        const std::lock_guard lock(mutex_);
        return error_.has_value();
    }

    Result<> drive(std::size_t index) {
        auto channel = open_channel_();
        if (!channel) return fail(std::move(channel.error()).during("open a channel"));
        Lane lane(sender_, **channel);
        Duration pause{1};
        auto moved_at = clock_.monotonic();
        auto moved = sender_.acknowledged();
        auto sampled_at = moved_at;
        auto wire = (*channel)->wire_bytes();
        while (!stopping()) {
            UNDERSTUDY_TRY(wait_for_turn());
            auto did = UNDERSTUDY_VALUE(lane.step());
            if (did == Lane::Did::finished) return {};
            const auto now = clock_.monotonic();
            if (did == Lane::Did::sent) {
                pause = Duration(1);
                moved_at = now;
                const auto sent = (*channel)->wire_bytes();
                charge(sent - wire);
                wire = sent;
                request_thread();
                if (now - sampled_at >= kSampleEvery) {
                    sampled_at = now;
                    sample(index, (*channel)->stats());
                }
                continue;
            }
            if (const auto acknowledged = sender_.acknowledged(); acknowledged != moved) {
                moved = acknowledged;
                moved_at = now;
            }
            if (now - moved_at >= options_.patience) return no_progress_error();
            clock_.sleep(pause);
            pause = std::min(pause * 2, kLongestPause);
        }
        return {};
    }

    std::unexpected<Error> no_progress_error() const {
        return fail(
            Error(ErrorKind::unavailable, fmt::format("the target has acknowledged nothing for {}",
                                                      base::format_duration(options_.patience)))
                .keeping("what it acknowledged before")
                .advising("It goes on from there once the target answers."));
    }

    // Waits until the rate limit lets the next chunk go.
    Result<> wait_for_turn() {
        while (!stopping()) {
            const auto limit = sender_.rate_limit();
            Duration wait{};
            {
                const std::lock_guard lock(mutex_);
                const auto now = clock_.monotonic();
                throttle_.set_rate(limit, now);
                wait = throttle_.wait(now);
            }
            if (wait == Duration::zero()) return {};
            if (sender_.cancelled()) return fail(ErrorKind::cancelled, "the send was cancelled");
            clock_.sleep(std::min(wait, kLongestNap));
        }
        return {};
    }

    void charge(std::uint64_t bytes) {
        const std::lock_guard lock(mutex_);
        throttle_.spend(bytes);
    }

    void request_thread() {
        const std::lock_guard lock(mutex_);
        if (threads_.size() >= links_.size() || thread_wanted_ || !sender_.much_left()) return;
        thread_wanted_ = true;
        changed_.notify_all();
    }

    // The channels share one link, so their rates add up. If the link bounds one of them, it bounds
    // the sum.
    void sample(std::size_t index, const ports::LinkStats& stats) {
        ports::LinkStats sum;
        {
            const std::lock_guard lock(mutex_);
            links_[index] = {.stats = stats, .open = true};
            for (const auto& link : links_) {
                if (!link.open) continue;
                sum.delivery_rate_bytes += link.stats.delivery_rate_bytes;
                sum.app_limited = sum.app_limited && link.stats.app_limited;
                sum.receiver_limited = sum.receiver_limited || link.stats.receiver_limited;
            }
        }
        sender_.observe_link(sum);
    }

    Sender& sender_;
    const OpenChannel& open_channel_;
    ports::Clock& clock_;
    const PumpOptions& options_;

    std::mutex mutex_;  // guards everything below; while it is held, only the sender is called
    std::condition_variable changed_;
    std::vector<std::thread> threads_;
    std::size_t working_ = 0;
    bool thread_wanted_ = false;
    std::optional<Error> error_;
    Throttle throttle_;
    std::vector<Link> links_;
};

}  // namespace

Result<model::Totals> pump(Sender& sender, const OpenChannel& open_channel, ports::Clock& clock,
                           const PumpOptions& options) {
    return ChannelThreads(sender, open_channel, clock, options).run();
}

}  // namespace understudy::mover
