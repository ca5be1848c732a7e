#include "net/socket.hpp"

#include "net/stream.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace understudy::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct PlainPair {
    std::unique_ptr<Stream> client;
    std::unique_ptr<Stream> server;
};

PlainPair tcp_pair() {
    auto listener = listen_tcp("127.0.0.1", 0).value();
    auto client = connect_tcp("127.0.0.1", local_port(listener).value(), seconds(5)).value();
    EXPECT_EQ(wait_for(listener, POLLIN, seconds(5)).value(), Waited::ready);
    auto server = accept_connection(listener).value();
    return {make_plain_stream(std::move(client)), make_plain_stream(std::move(server))};
}

class UnixSocket : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "socket-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
        path_ = directory_ + "/understudy.sock";
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    std::string directory_;
    std::string path_;
};

TEST(Endpoint, is_read_from_what_people_write) {
    EXPECT_EQ(parse_endpoint("dr.example:7373").value(), (Endpoint{"dr.example", 7373}));
    EXPECT_EQ(parse_endpoint("[fe80::1]:80").value(), (Endpoint{"fe80::1", 80}));
    EXPECT_EQ(parse_endpoint("10.0.0.2", 7373).value(), (Endpoint{"10.0.0.2", 7373}));
    EXPECT_EQ(parse_endpoint("[::1]", 7373).value(), (Endpoint{"::1", 7373}));
    for (auto text : {"", "host", ":1", "host:", "host:x", "host:65536", "host:-1", "::1:7373",
                      "[::1", "[::1]7373", "[]:1", "a b:1", "http://a:1", "host:1 "})
        EXPECT_FALSE(parse_endpoint(text)) << text;
    EXPECT_EQ(format_endpoint({"::1", 7}), "[::1]:7");
    EXPECT_EQ(format_endpoint({"a", 7}), "a:7");
}

TEST(TcpSocket, names_peer_and_reason_when_nobody_listens) {
    auto listener = listen_tcp("127.0.0.1", 0).value();
    auto port = local_port(listener).value();
    listener.reset();
    auto connected = connect_tcp("127.0.0.1", port, seconds(5), "dr");
    ASSERT_FALSE(connected);
    EXPECT_EQ(connected.error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(connected.error().text(),
              fmt::format("cannot reach dr at 127.0.0.1:{}: connection refused", port));
}

TEST(TcpSocket, tries_every_address_of_a_name) {
    auto listener = listen_tcp("127.0.0.1", 0).value();  // "localhost" may be ::1 first
    EXPECT_TRUE(connect_tcp("localhost", local_port(listener).value(), seconds(5)));
}

TEST(TcpSocket, says_when_its_port_is_taken) {
    auto listener = listen_tcp("127.0.0.1", 0).value();
    auto second = listen_tcp("127.0.0.1", local_port(listener).value());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
}

TEST(PlainStream, carries_header_and_payload_in_order) {
    auto [client, server] = tcp_pair();
    std::string header(100, 'h');
    std::string payload(3'000'000, 'p');
    std::jthread writer([&, it = client.get()] {
        EXPECT_TRUE(it->write_all2(bytes_of(header), bytes_of(payload)));
        EXPECT_TRUE(it->end_writing());
    });
    std::string got;
    std::array<std::byte, 65536> buffer;
    while (true) {
        auto count = server->read_some(buffer);
        ASSERT_TRUE(count) << count.error().text();
        if (*count == 0) break;
        got.append(reinterpret_cast<const char*>(buffer.data()), *count);
    }
    EXPECT_EQ(got, header + payload);
}

TEST(PlainStream, times_out_on_a_silent_and_on_a_full_peer) {
    auto [client, server] = tcp_pair();
    client->set_timeouts(milliseconds(20), milliseconds(20));
    std::array<std::byte, 1> byte;
    auto read = client->read_some(byte);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::unavailable);
    EXPECT_NE(read.error().text().find("sent nothing for 20 ms"), std::string::npos)
        << read.error().text();
    std::vector<std::byte> flood(64 << 20);
    EXPECT_EQ(client->write_all(flood).error().kind(), ErrorKind::unavailable);
}

TEST(PlainStream, survives_writing_to_a_closed_peer) {
    auto [client, server] = tcp_pair();
    server.reset();
    std::vector<std::byte> data(1 << 20);
    Result<> written;
    for (int i = 0; i < 100 && written; ++i) written = client->write_all(data);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind(), ErrorKind::unavailable);
}

TEST(PlainStream, shutdown_wakes_a_blocked_reader) {
    auto [client, server] = tcp_pair();
    Result<std::size_t> read = 0uz;
    std::jthread reader([&, it = client.get()] {
        std::array<std::byte, 1> byte;
        read = it->read_some(byte);
    });
    client->shutdown();
    reader.join();
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::cancelled);
}

TEST(PlainStream, tells_the_kernels_view_of_the_link) {
    auto [client, server] = tcp_pair();
    ASSERT_TRUE(client->write_all(bytes_of("hello")));
    std::array<std::byte, 5> buffer;
    ASSERT_TRUE(server->read_some(buffer));
    auto stats = client->link_stats();
    ASSERT_TRUE(stats);
    EXPECT_GT(stats->rtt_us, 0u);
    EXPECT_FALSE(client->peer_credentials());
    EXPECT_TRUE(client->peer_address().starts_with("127.0.0.1:")) << client->peer_address();
}

TEST(PlainStream, prefix_comes_first_and_counts_as_readable) {
    auto [client, server] = tcp_pair();
    auto stream = make_prefixed_stream("ab", std::move(server));
    EXPECT_TRUE(stream->readable_now());
    std::array<std::byte, 1> byte;
    std::string got;
    ASSERT_TRUE(client->write_all(bytes_of("c")));
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(stream->read_some(byte).value(), 1u);
        got += static_cast<char>(byte[0]);
    }
    EXPECT_EQ(got, "abc");
    EXPECT_FALSE(stream->readable_now());
}

TEST_F(UnixSocket, knows_who_is_at_the_other_end) {
    auto listener = listen_unix(path_, 0660).value();
    struct stat status{};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    auto client = make_plain_stream(connect_unix(path_).value());
    auto server = make_plain_stream(accept_connection(listener).value());
    auto credentials = server->peer_credentials();
    ASSERT_TRUE(credentials);
    EXPECT_EQ(credentials->uid, ::getuid());
    EXPECT_EQ(credentials->pid, ::getpid());
    EXPECT_FALSE(server->link_stats());
    EXPECT_EQ(server->peer_fingerprint(), "");
}

TEST_F(UnixSocket, replaces_a_dead_ones_file_but_not_a_living_ones) {
    auto first = listen_unix(path_, 0600).value();
    auto second = listen_unix(path_, 0600);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
    EXPECT_TRUE(connect_unix(path_)) << "the living one must still be there";
    first.reset();
    EXPECT_EQ(connect_unix(path_).error().kind(), ErrorKind::unavailable);
    EXPECT_TRUE(listen_unix(path_, 0600));
}

TEST_F(UnixSocket, never_replaces_a_file_that_is_no_socket) {
    std::ofstream(path_) << "precious";
    EXPECT_EQ(listen_unix(path_, 0600).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(std::filesystem::file_size(path_), 8u);
    EXPECT_EQ(listen_unix(std::string(200, 'x'), 0600).error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace understudy::net
