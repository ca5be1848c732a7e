#include "net/tls.hpp"

#include "net/openssl_handles.hpp"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <fcntl.h>
#include <array>
#include <chrono>
#include <future>
#include <thread>

namespace understudy::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using StreamResult = Result<std::unique_ptr<Stream>>;

struct SocketPair {
    Fd client;
    Fd server;
};

SocketPair tcp_pair() {
    auto listener = listen_tcp("127.0.0.1", 0).value();
    auto client = connect_tcp("127.0.0.1", local_port(listener).value(), seconds(5)).value();
    EXPECT_EQ(wait_for(listener, POLLIN, seconds(5)).value(), Waited::ready);
    return {std::move(client), accept_connection(listener).value()};
}

class Tls : public testing::Test {
protected:
    struct Ends {
        StreamResult client;
        StreamResult server;
    };

    Ends shake_hands(const TlsContext& client, const TlsContext& server) {
        auto sockets = tcp_pair();
        auto accepted = std::async(std::launch::async, [&] {
            return server.accept(std::move(sockets.server), seconds(5));
        });
        auto connected = client.connect(std::move(sockets.client), "dr", seconds(5));
        return {std::move(connected), accepted.get()};
    }
    Ends good_ends() {
        return shake_hands(TlsContext::client(client_id_, server_print_).value(),
                           TlsContext::server(server_id_, ClientCertificate::required).value());
    }

    Identity server_id_ = make_identity("dr").value();
    Identity client_id_ = make_identity("hq").value();
    std::string server_print_ = fingerprint(server_id_.certificate_pem).value();
    std::string client_print_ = fingerprint(client_id_.certificate_pem).value();
};

std::string read_text(Stream& stream, std::size_t length) {
    std::string text(length, '\0');
    std::size_t have = 0;
    while (have < length) {
        auto count = stream.read_some(std::as_writable_bytes(std::span(text)).subspan(have));
        if (!count || *count == 0) break;
        have += *count;
    }
    text.resize(have);
    return text;
}

TEST_F(Tls, both_ends_know_each_others_certificates) {
    auto [client, server] = good_ends();
    ASSERT_TRUE(client) << client.error().text();
    ASSERT_TRUE(server) << server.error().text();
    EXPECT_EQ((*client)->peer_fingerprint(), server_print_);
    EXPECT_EQ((*server)->peer_fingerprint(), client_print_);
    EXPECT_TRUE((*client)->link_stats());
}

TEST_F(Tls, refuses_a_server_with_another_certificate) {
    auto [client, server] =
        shake_hands(TlsContext::client(client_id_, client_print_).value(),
                    TlsContext::server(server_id_, ClientCertificate::required).value());
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().kind(), ErrorKind::refused);
    EXPECT_EQ(client.error().what(), "the certificate of dr is not the pinned one (expected " +
                                         client_print_ + ", got " + server_print_ + ")");
    EXPECT_FALSE(server);
}

TEST_F(Tls, wants_a_whole_fingerprint) {
    for (const std::string& print :
         {std::string(), server_print_.substr(1), server_print_ + "0", std::string(64, 'A')})
        EXPECT_EQ(TlsContext::client(client_id_, print).error().kind(), ErrorKind::invalid);
}

TEST_F(Tls, refuses_a_client_without_certificate_where_one_is_required) {
    auto [client, server] =
        shake_hands(TlsContext::client(std::nullopt, server_print_).value(),
                    TlsContext::server(server_id_, ClientCertificate::required).value());
    ASSERT_FALSE(server);
    EXPECT_EQ(server.error().kind(), ErrorKind::refused);
    ASSERT_TRUE(client);  // TLS 1.3: the client is done before the server has judged it
    std::array<std::byte, 1> byte;
    auto read = (*client)->read_some(byte);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::refused) << read.error().text();
}

TEST_F(Tls, lets_anonymous_clients_reach_the_operators_port) {
    auto [client, server] =
        shake_hands(TlsContext::client(std::nullopt, server_print_).value(),
                    TlsContext::server(server_id_, ClientCertificate::none).value());
    ASSERT_TRUE(client && server);
    EXPECT_EQ((*server)->peer_fingerprint(), "");
}

TEST_F(Tls, refuses_a_key_that_is_not_the_certificates) {
    Identity mixed{server_id_.certificate_pem, client_id_.private_key_pem};
    EXPECT_EQ(TlsContext::server(mixed, ClientCertificate::none).error().kind(),
              ErrorKind::invalid);
}

TEST_F(Tls, refuses_tls_1_2) {
    auto sockets = tcp_pair();
    auto server = TlsContext::server(server_id_, ClientCertificate::none).value();
    auto accepted = std::async(
        std::launch::async, [&] { return server.accept(std::move(sockets.server), seconds(5)); });
    SslContextHandle context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
    SslHandle ssl(SSL_new(context.get()));
    ::fcntl(sockets.client.get(), F_SETFL, 0);  // blocking
    SSL_set_fd(ssl.get(), sockets.client.get());
    EXPECT_NE(SSL_connect(ssl.get()), 1);
    auto result = accepted.get();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::unsupported) << result.error().text();
}

TEST_F(Tls, ends_a_handshake_with_somebody_silent) {
    auto sockets = tcp_pair();
    auto server = TlsContext::server(server_id_, ClientCertificate::none).value();
    auto result = server.accept(std::move(sockets.server), milliseconds(30));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::unavailable);
}

TEST_F(Tls, ends_a_handshake_with_garbage) {
    auto sockets = tcp_pair();
    auto plain = make_plain_stream(std::move(sockets.client));
    ASSERT_TRUE(plain->write_all(bytes_of("GET / HTTP/1.1\r\nHost: x\r\n\r\n")));
    auto server = TlsContext::server(server_id_, ClientCertificate::none).value();
    EXPECT_FALSE(server.accept(std::move(sockets.server), seconds(5)));
}

TEST_F(Tls, carries_frames_larger_than_all_buffers) {
    auto [client, server] = good_ends();
    std::string payload;
    payload.resize(20'000'000);
    for (std::size_t i = 0; i < payload.size(); ++i)
        payload[i] = static_cast<char>(i * 2654435761u >> 13);
    for (std::size_t header_size : {0uz, 32uz, 16383uz, 16384uz, 50000uz}) {
        std::string header(header_size, 'h');
        std::jthread writer([&, it = client->get()] {
            EXPECT_TRUE(it->write_all2(bytes_of(header), bytes_of(payload)));
        });
        EXPECT_TRUE(read_text(**server, header.size() + payload.size()) == header + payload)
            << header_size;
    }
}

TEST_F(Tls, one_thread_can_write_and_look_for_answers) {
    auto [client, server] = good_ends();
    EXPECT_FALSE((*client)->readable_now());
    EXPECT_FALSE((*client)->poll_readable(milliseconds(5)));
    ASSERT_TRUE((*server)->write_all(bytes_of("ack")));
    EXPECT_TRUE((*client)->poll_readable(seconds(5)));
    EXPECT_TRUE((*client)->readable_now());
    ASSERT_TRUE((*client)->write_all(bytes_of("chunk")));
    EXPECT_EQ(read_text(**client, 3), "ack");
    EXPECT_FALSE((*client)->readable_now());
    EXPECT_EQ(read_text(**server, 5), "chunk");
}

TEST_F(Tls, tells_an_orderly_end_from_a_cut) {
    std::array<std::byte, 1> byte;
    {
        auto [client, server] = good_ends();
        client->reset();  // the destructor says goodbye
        EXPECT_EQ((*server)->read_some(byte).value(), 0u);
    }
    auto [client, server] = good_ends();
    (*client)->shutdown();
    auto read = (*server)->read_some(byte);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::unavailable);
    EXPECT_TRUE((*server)->readable_now()) << "the error is there to be read again";
    EXPECT_FALSE((*server)->read_some(byte));
}

TEST_F(Tls, can_end_writing_and_still_read) {
    auto [client, server] = good_ends();
    ASSERT_TRUE((*client)->write_all(bytes_of("last")));
    ASSERT_TRUE((*client)->end_writing());
    EXPECT_EQ(read_text(**server, 100), "last");
    ASSERT_TRUE((*server)->write_all(bytes_of("answer")));
    EXPECT_EQ(read_text(**client, 6), "answer");
}

TEST_F(Tls, shutdown_wakes_a_blocked_writer_and_reader) {
    auto [client, server] = good_ends();
    Result<> written;
    Result<std::size_t> read = 1uz;
    std::jthread writer([&, it = client->get()] {
        std::vector<std::byte> chunk(1 << 20);
        while (written) written = it->write_all(chunk);
    });
    std::jthread reader([&, it = server->get()] {
        std::array<std::byte, 1> byte;
        while (read && *read > 0) read = it->read_some(byte);
    });
    (*server)->shutdown();
    reader.join();
    (*client)->shutdown();
    writer.join();
    EXPECT_EQ(read.has_value() ? ErrorKind::internal : read.error().kind(), ErrorKind::cancelled);
    EXPECT_FALSE(written);
}

TEST_F(Tls, write_times_out_on_a_peer_that_takes_nothing) {
    auto [client, server] = good_ends();
    (*client)->set_timeouts(milliseconds(20), milliseconds(20));
    std::vector<std::byte> flood(64 << 20);
    auto written = (*client)->write_all(flood);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind(), ErrorKind::unavailable);
    EXPECT_FALSE((*client)->write_all(flood)) << "half a record is out: nothing may follow";
}

}  // namespace
}  // namespace understudy::net
