// Copies what a dirty bitmap names from one NBD export to another, 16 requests in flight: what an
// incremental backup over NBD does, as a rival in the bench.
//
//   copy_bitmap SOURCE_URI TARGET_URI META_CONTEXT

#include <libnbd.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t kPiece = 256 << 10;
constexpr std::uint64_t kAskAtOnce = 1 << 30;
constexpr std::size_t kInFlight = 16;

struct Extent {
    std::uint64_t offset;
    std::uint64_t length;
};

[[noreturn]] void give_up(const char* step) {
    std::fprintf(stderr, "copy_bitmap: %s: %s\n", step, nbd_get_error());
    std::exit(1);
}

void check(int result, const char* step) {
    if (result == -1) give_up(step);
}

struct Listing {
    std::string context;
    std::uint64_t reached = 0;
    std::vector<Extent> dirty;
};

int take_extents(void* user, const char* context, std::uint64_t offset, std::uint32_t* entries,
                 std::size_t count, int*) {
    auto& listing = *static_cast<Listing*>(user);
    if (listing.context != context) return 0;
    for (std::size_t i = 0; i + 1 < count; i += 2) {
        if ((entries[i + 1] & 1U) != 0) listing.dirty.push_back({offset, entries[i]});
        offset += entries[i];
    }
    listing.reached = offset;
    return 0;
}

std::vector<Extent> dirty_extents(nbd_handle* source, const char* context) {
    const auto size = nbd_get_size(source);
    if (size < 0) give_up("size");
    const auto end = static_cast<std::uint64_t>(size);
    Listing listing{.context = context, .reached = 0, .dirty = {}};
    while (listing.reached < end) {
        const auto at = listing.reached;
        check(
            nbd_block_status(source, std::min(kAskAtOnce, end - at), at,
                             {.callback = take_extents, .user_data = &listing, .free = nullptr}, 0),
            "block status");
        if (listing.reached == at) give_up("the source does not tell the bitmap");
    }
    return std::move(listing.dirty);
}

struct Copy {
    nbd_handle* source;
    nbd_handle* target;
    std::vector<Extent> todo;  // the next one is the last
    struct Slot {
        Copy* copy;
        Extent piece{};
        std::vector<char> buffer = std::vector<char>(kPiece);
    };
    std::array<Slot, kInFlight> slots;
    std::size_t busy = 0;

    void begin(Slot& slot);
};

int written(void* user, int* error) {
    auto& slot = *static_cast<Copy::Slot*>(user);
    if (*error != 0) give_up("write");
    --slot.copy->busy;
    slot.copy->begin(slot);
    return 1;
}

int read_done(void* user, int* error) {
    auto& slot = *static_cast<Copy::Slot*>(user);
    if (*error != 0) give_up("read");
    const nbd_completion_callback then{.callback = written, .user_data = &slot, .free = nullptr};
    if (nbd_aio_pwrite(slot.copy->target, slot.buffer.data(), slot.piece.length, slot.piece.offset,
                       then, 0) < 0)
        give_up("write");
    return 1;
}

void Copy::begin(Slot& slot) {
    if (todo.empty()) return;
    auto& next = todo.back();
    slot.piece = {next.offset, std::min(next.length, kPiece)};
    next.offset += slot.piece.length;
    next.length -= slot.piece.length;
    if (next.length == 0) todo.pop_back();
    ++busy;
    const nbd_completion_callback then{.callback = read_done, .user_data = &slot, .free = nullptr};
    if (nbd_aio_pread(source, slot.buffer.data(), slot.piece.length, slot.piece.offset, then, 0) <
        0)
        give_up("read");
}

short wanted_events(nbd_handle* nbd) {
    const auto direction = nbd_aio_get_direction(nbd);
    int events = 0;
    if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) events |= POLLIN;
    if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) events |= POLLOUT;
    return static_cast<short>(events);
}

void notify(nbd_handle* nbd, const pollfd& happened) {
    if ((happened.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        check(nbd_aio_notify_read(nbd), "receive");
    else if ((happened.revents & POLLOUT) != 0)
        check(nbd_aio_notify_write(nbd), "send");
}

nbd_handle* connect(const char* uri, const char* context) {
    auto* nbd = nbd_create();
    if (nbd == nullptr) give_up("create");
    check(nbd_set_uri_allow_local_file(nbd, true), "allow local file");
    if (context != nullptr) check(nbd_add_meta_context(nbd, context), "ask for the bitmap");
    check(nbd_connect_uri(nbd, uri), "connect");
    return nbd;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: copy_bitmap SOURCE_URI TARGET_URI META_CONTEXT\n", stderr);
        return 2;
    }
    auto* source = connect(argv[1], argv[3]);
    auto* target = connect(argv[2], nullptr);
    Copy copy{.source = source, .target = target, .todo = {}, .slots = {}};
    copy.todo = dirty_extents(source, argv[3]);
    std::reverse(copy.todo.begin(), copy.todo.end());
    for (auto& slot : copy.slots) {
        slot.copy = &copy;
        copy.begin(slot);
    }
    while (copy.busy > 0) {
        std::array<pollfd, 2> ends{pollfd{nbd_aio_get_fd(source), wanted_events(source), 0},
                                   pollfd{nbd_aio_get_fd(target), wanted_events(target), 0}};
        if (poll(ends.data(), ends.size(), -1) < 0) continue;
        notify(source, ends[0]);
        notify(target, ends[1]);
    }
    check(nbd_flush(target, 0), "flush");
    check(nbd_shutdown(target, 0), "end");
    nbd_close(source);
    nbd_close(target);
    return 0;
}
