#include "net/http_server.hpp"

#include "net/http_connection.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

// Accepts connections and gives each a thread, at most max_connections; up to 4 more threads tell
// further clients that the server is full, and beyond that they are cut off. Threads that have
// ended are joined before the next accept. stop() ends the acceptor, wakes all connections, waits
// stop_grace for answers under way, cuts off the rest and waits until their threads have ended.

namespace understudy::net {
namespace {

constexpr std::size_t kMaxTurningAway = 4;  // threads that tell clients of a full server
constexpr int kRetryAccept_ms = 100;        // when the system has no descriptor to spare

struct Connection {
    explicit Connection(bool turned_away) : turn_away(turned_away) {}
    const bool turn_away;
    ConnectionState state;
    std::thread thread;
    bool done = false;  // under the server's mutex
};

}  // namespace

struct HttpServer::Impl {
    explicit Impl(Options chosen) : service{std::move(chosen), {}, {}, {}} {}

    HttpService service;
    Fd listener;
    Fd stop_event;
    std::atomic<bool> stopping = false;
    std::thread acceptor;
    std::mutex mutex;
    std::condition_variable changed;
    std::list<std::unique_ptr<Connection>> connections;  // under mutex

    void accept_loop();
    bool wait_for_client();
    void take(Fd socket);
    void reap();
    void run(Connection& connection, Fd socket);
    bool all_done();
    void stop();
};

void HttpServer::Impl::accept_loop() {
    bool starved = false;
    while (wait_for_client()) {
        reap();
        auto socket = accept_connection(listener);
        if (socket) {
            starved = false;
            take(std::move(*socket));
        } else if (errno != EAGAIN) {
            if (!starved) service.log(socket.error().text());
            starved = true;
            (void)wait_for(stop_event, POLLIN, Duration(kRetryAccept_ms));
        }
    }
}

// false: the server stops.
bool HttpServer::Impl::wait_for_client() {
    while (!stopping) {
        std::array<pollfd, 2> entries{pollfd{listener.get(), POLLIN, 0},
                                      pollfd{stop_event.get(), POLLIN, 0}};
        int count = ::poll(entries.data(), entries.size(), -1);
        if (count < 0 && errno != EINTR) {
            service.log(errno_error(errno, "wait for connections").text());
            return false;
        }
        if (count > 0 && entries[0].revents != 0 && !stopping) return true;
    }
    return false;
}

void HttpServer::Impl::take(Fd socket) {
    std::unique_lock lock(mutex);
    std::size_t serving = 0;
    std::size_t turning_away = 0;
    for (const auto& it : connections)
        if (!it->done) ++(it->turn_away ? turning_away : serving);
    bool full = serving >= service.options.max_connections;
    if (stopping || (full && turning_away >= kMaxTurningAway)) return;
    Fd handle(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!handle) return service.log(errno_error(errno, "take a connection").text());
    auto& connection = *connections.emplace_back(std::make_unique<Connection>(full));
    connection.state.keep_handle(std::move(handle));
    try {
        connection.thread = std::thread(
            [this, &connection](Fd mine) { run(connection, std::move(mine)); }, std::move(socket));
    } catch (const std::system_error& error) {
        connections.pop_back();
        service.log(fmt::format("cannot start a thread for a connection: {}", error.what()));
    }
}

void HttpServer::Impl::run(Connection& connection, Fd socket) {
    if (connection.turn_away) {
        service.turn_away(std::move(socket));
    } else {
        service.serve(connection.state, std::move(socket), stopping);
    }
    connection.state.drop_handle();
    std::lock_guard lock(mutex);
    connection.done = true;
    changed.notify_all();
}

void HttpServer::Impl::reap() {
    std::list<std::unique_ptr<Connection>> finished;
    {
        std::lock_guard lock(mutex);
        for (auto it = connections.begin(); it != connections.end();) {
            auto next = std::next(it);
            if ((*it)->done) finished.splice(finished.end(), connections, it);
            it = next;
        }
    }
    for (auto& it : finished) it->thread.join();
}

bool HttpServer::Impl::all_done() {
    for (const auto& it : connections)
        if (!it->done) return false;
    return true;
}

void HttpServer::Impl::stop() {
    if (!acceptor.joinable()) return;
    stopping = true;
    ::eventfd_write(stop_event.get(), 1);
    acceptor.join();
    listener.reset();
    {
        std::unique_lock lock(mutex);
        for (auto& it : connections) it->state.ask_to_stop();
        changed.wait_for(lock, service.options.stop_grace, [&] { return all_done(); });
        for (auto& it : connections) it->state.cut_off();
        changed.wait(lock, [&] { return all_done(); });
    }
    reap();
}

HttpServer::HttpServer() : HttpServer(Options{}) {}
HttpServer::HttpServer(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpServer::~HttpServer() {
    stop();
}

Result<> HttpServer::start(Fd listener, std::optional<TlsContext> tls, Handler handler,
                           UpgradeHandler upgrade) {
    UNDERSTUDY_INVARIANT(!impl_->acceptor.joinable() && !impl_->stopping,
                         "an HttpServer is started only once");
    impl_->stop_event.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!impl_->stop_event) return fail(errno_error(errno, "start an HTTP server"));
    impl_->listener = std::move(listener);
    impl_->service.tls = std::move(tls);
    impl_->service.handler = std::move(handler);
    impl_->service.upgrade = std::move(upgrade);
    try {
        impl_->acceptor = std::thread([impl = impl_.get()] { impl->accept_loop(); });
    } catch (const std::system_error& error) {
        return fail(ErrorKind::internal,
                    fmt::format("cannot start the thread of an HTTP server: {}", error.what()));
    }
    return {};
}

void HttpServer::stop() {
    impl_->stop();
}

}  // namespace understudy::net
