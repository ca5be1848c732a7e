#include "net/gather_bio.hpp"

#include "base/error.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <vector>

// An OpenSSL sink in front of a non-blocking socket: write_bio gathers records in a buffer of 128
// KiB. When the next record does not fit, or at BIO_flush, the gathered ones are sent. If the
// socket is full, the call asks to be retried, and the rest stays in the buffer. Used by one thread
// at a time.

namespace understudy::net {
namespace {

constexpr std::size_t kCapacity = 128 * 1024;

struct Gathered {
    int fd;
    std::vector<char> bytes;
    std::size_t sent = 0;
};

Gathered& gathered(BIO* bio) {
    return *static_cast<Gathered*>(BIO_get_data(bio));
}

// 1: everything is in the socket; -1: not yet (retry flags set) or failed (errno).
int send_gathered(BIO* bio) {
    Gathered& out = gathered(bio);
    BIO_clear_retry_flags(bio);
    while (out.sent < out.bytes.size()) {
        ssize_t count =
            ::send(out.fd, out.bytes.data() + out.sent, out.bytes.size() - out.sent, MSG_NOSIGNAL);
        if (count >= 0) {
            out.sent += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            if (errno == EAGAIN) BIO_set_retry_write(bio);
            return -1;
        }
    }
    out.bytes.clear();
    out.sent = 0;
    return 1;
}

int write_bio(BIO* bio, const char* data, int length) {
    if (length <= 0) return 0;
    Gathered& out = gathered(bio);
    BIO_clear_retry_flags(bio);
    bool fits = out.bytes.size() + static_cast<std::size_t>(length) <= kCapacity;
    if (!fits && send_gathered(bio) != 1) return -1;
    out.bytes.insert(out.bytes.end(), data, data + length);
    return length;
}

long control_bio(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return send_gathered(bio);
    return 0;
}

int destroy_bio(BIO* bio) {
    delete static_cast<Gathered*>(BIO_get_data(bio));
    BIO_set_data(bio, nullptr);
    return 1;
}

const BIO_METHOD* gathering_method() {
    static const BIO_METHOD* method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gathering");
        UNDERSTUDY_INVARIANT(made != nullptr, "OpenSSL has no memory for a BIO method");
        BIO_meth_set_write(made, write_bio);
        BIO_meth_set_ctrl(made, control_bio);
        BIO_meth_set_destroy(made, destroy_bio);
        return made;
    }();
    return method;
}

}  // namespace

BIO* new_gathering_bio(int fd) {
    BIO* bio = BIO_new(gathering_method());
    if (!bio) return nullptr;
    auto state = std::make_unique<Gathered>(Gathered{fd, {}, 0});
    state->bytes.reserve(kCapacity);
    BIO_set_data(bio, state.release());
    BIO_set_init(bio, 1);
    return bio;
}

}  // namespace understudy::net
