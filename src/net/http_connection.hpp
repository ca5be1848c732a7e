#pragma once

// Only for this folder: what an HttpServer does on one connection.

#include "net/http_server.hpp"
#include "net/http_wire.hpp"

#include <atomic>
#include <mutex>

namespace understudy::net {

// Lets stop() reach a connection through a second descriptor of its socket, whatever the
// connection's thread is doing, even if there is no stream yet.
class ConnectionState {
public:
    void keep_handle(Fd handle);
    void drop_handle();
    void set_answering(bool answering);  // in the handler, or writing what it answered
    void ask_to_stop();                  // wakes it; an answer being made may still be written
    void cut_off();

private:
    std::mutex mutex_;
    Fd handle_;
    bool answering_ = false;
};

struct HttpService {
    HttpServer::Options options;
    std::optional<TlsContext> tls;
    HttpServer::Handler handler;
    HttpServer::UpgradeHandler upgrade;

    void log(const std::string& line) const;
    // Until the client ends, a limit is reached or `stopping`. Throws nothing.
    void serve(ConnectionState& state, Fd socket, const std::atomic<bool>& stopping) const;
    // Tells the client that the server is full.
    void turn_away(Fd socket) const;

private:
    std::unique_ptr<Stream> open(Fd socket) const;
    HttpResponse respond(const HttpRequest& request) const;
    void run_upgrade(ConnectionState& state, const HttpRequest& request,
                     const HttpResponse& response, std::unique_ptr<Stream> stream,
                     std::string pending) const;
};

}  // namespace understudy::net
