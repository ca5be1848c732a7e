#include "net/socket_stream.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

// A stream without TLS on a socket, and a stream that first gives bytes which were read already
// (PrefixedStream, after an upgrade). Sockets are non-blocking: a call that would block waits with
// poll under the stream's timeout. write_all2 sends header and payload with one sendmsg.

namespace understudy::net {
namespace {

class PlainStream final : public SocketStream {
public:
    using SocketStream::SocketStream;

    // A server keeps a second descriptor of the socket for stop(). So closing ours alone would not
    // end the connection for the other side.
    ~PlainStream() override { ::shutdown(socket().get(), SHUT_RDWR); }

    Result<std::size_t> read_some(std::span<std::byte> into) override {
        while (true) {
            ssize_t count = ::recv(socket().get(), into.data(), into.size(), 0);
            if (was_shut_down()) return fail(explained(Error(ErrorKind::cancelled, "")));
            if (count >= 0) return static_cast<std::size_t>(count);
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return fail(socket_error(errno, "read from"));
            UNDERSTUDY_TRY(wait_readable());
        }
    }

    Result<> write_all(std::span<const std::byte> data) override { return write_all2(data, {}); }

    Result<> write_all2(std::span<const std::byte> header,
                        std::span<const std::byte> payload) override {
        while (!header.empty() || !payload.empty()) {
            std::array<iovec, 2> parts{iovec{const_cast<std::byte*>(header.data()), header.size()},
                                       {const_cast<std::byte*>(payload.data()), payload.size()}};
            msghdr message{};
            message.msg_iov = parts.data();
            message.msg_iovlen = parts.size();
            ssize_t count = ::sendmsg(socket().get(), &message, MSG_NOSIGNAL);
            if (count >= 0) {
                auto sent = static_cast<std::size_t>(count);
                std::size_t of_header = std::min(sent, header.size());
                header = header.subspan(of_header);
                payload = payload.subspan(sent - of_header);
            } else if (errno == EAGAIN) {
                UNDERSTUDY_TRY(wait_writable());
            } else if (errno != EINTR) {
                return fail(socket_error(errno, "write to"));
            }
        }
        return {};
    }

    bool readable_now() override {
        auto waited = wait_for(socket(), POLLIN, Duration(0));
        return !waited || *waited == Waited::ready;
    }

    Result<> end_writing() override {
        if (::shutdown(socket().get(), SHUT_WR) != 0)
            return fail(socket_error(errno, "end writing to"));
        return {};
    }

    const std::string& peer_fingerprint() const override { return no_fingerprint_; }

private:
    std::string no_fingerprint_;
};

class PrefixedStream final : public Stream {
public:
    PrefixedStream(std::string already_read, std::unique_ptr<Stream> stream)
        : prefix_(std::move(already_read)), stream_(std::move(stream)) {}

    Result<std::size_t> read_some(std::span<std::byte> into) override {
        if (prefix_.empty()) return stream_->read_some(into);
        std::size_t count = std::min(into.size(), prefix_.size() - taken_);
        std::memcpy(into.data(), prefix_.data() + taken_, count);
        taken_ += count;
        if (taken_ == prefix_.size()) prefix_ = {};
        return count;
    }
    Result<> write_all(std::span<const std::byte> data) override {
        return stream_->write_all(data);
    }
    Result<> write_all2(std::span<const std::byte> header,
                        std::span<const std::byte> payload) override {
        return stream_->write_all2(header, payload);
    }
    void set_timeouts(Duration read, Duration write) override {
        stream_->set_timeouts(read, write);
    }
    bool readable_now() override { return !prefix_.empty() || stream_->readable_now(); }
    bool poll_readable(Duration timeout) override {
        return !prefix_.empty() || stream_->poll_readable(timeout);
    }
    Result<> end_writing() override { return stream_->end_writing(); }
    void shutdown() override { stream_->shutdown(); }
    const std::string& peer_address() const override { return stream_->peer_address(); }
    const std::string& peer_fingerprint() const override { return stream_->peer_fingerprint(); }
    std::optional<PeerCredentials> peer_credentials() const override {
        return stream_->peer_credentials();
    }
    std::optional<LinkStats> link_stats() const override { return stream_->link_stats(); }

private:
    std::string prefix_;
    std::size_t taken_ = 0;
    std::unique_ptr<Stream> stream_;
};

}  // namespace

std::unique_ptr<Stream> make_plain_stream(Fd socket) {
    return std::make_unique<PlainStream>(std::move(socket));
}

std::unique_ptr<Stream> make_prefixed_stream(std::string already_read,
                                             std::unique_ptr<Stream> stream) {
    if (already_read.empty()) return stream;
    return std::make_unique<PrefixedStream>(std::move(already_read), std::move(stream));
}

}  // namespace understudy::net
