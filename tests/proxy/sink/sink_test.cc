// The sink over real sockets, with a plain blocking client.
#include "proxy/sink/sink.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/proxy/sink/scratch.h"

namespace portcullis::sink {
namespace {

// On a free port.
SinkOptions options(std::string maildir = {}, bool sync = false) {
  SinkOptions chosen;
  chosen.port = 0;
  chosen.maildir = std::move(maildir);
  chosen.sync = sync;
  return chosen;
}

// A sink on a loop in a thread of its own.
class Running {
 public:
  explicit Running(SinkOptions options) : sink_(std::move(options)) {
    (void)::signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop_);
    const auto started = sink_.start(&loop_);
    EXPECT_TRUE(started.has_value()) << (started ? "" : started.error());
    uv_async_init(&loop_, &stop_, [](uv_async_t* handle) {
      static_cast<Running*>(handle->data)->sink_.stop();
      uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
    });
    stop_.data = this;
    thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
  }
  ~Running() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    uv_async_send(&stop_);
    thread_.join();
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }
  std::uint16_t port() const { return sink_.port(); }
  std::uint64_t messages() const { return sink_.messages(); }

 private:
  Sink sink_;
  uv_loop_t loop_{};
  uv_async_t stop_{};
  std::thread thread_;
};

class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0);
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Reads until `end` came as the end of what was received, or nothing more comes.
  std::string read_until(std::string_view end) {
    std::string all;
    char buffer[4096];
    while (end.empty() || !all.ends_with(end)) {
      const ssize_t octets = ::recv(socket_, buffer, sizeof buffer, 0);
      if (octets <= 0) break;
      all.append(buffer, static_cast<std::size_t>(octets));
    }
    return all;
  }

 private:
  int socket_;
  bool connected_ = false;
};

TEST(Sink, StoresAMessageAndSaysGoodbye) {
  const test::Scratch scratch;
  {
    Running running(options(scratch.path(), true));
    Client client(running.port());
    EXPECT_EQ(client.read_until("\r\n"), "220 sink.localhost ESMTP Portcullis sink\r\n");
    client.send("EHLO c\r\nXFORWARD ADDR=192.0.2.1\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
    EXPECT_TRUE(client.read_until("<CR><LF>.<CR><LF>\r\n").find("250 2.1.5 Ok\r\n354 ") != std::string::npos);
    client.send("hi\r\n.\r\nQUIT\r\n");
    const std::string rest = client.read_until("");
    EXPECT_TRUE(rest.starts_with("250 2.0.0 Ok: queued as ")) << rest;
    EXPECT_TRUE(rest.ends_with("\r\n221 2.0.0 Bye\r\n")) << rest;
    running.stop();
    EXPECT_EQ(running.messages(), 1U);
  }
  ASSERT_EQ(scratch.files("new").size(), 1U);
  EXPECT_TRUE(scratch.files("new")[0].ends_with("X-Envelope-To: <b@y>\r\nhi\r\n"));
}

TEST(Sink, KeepsUpWithAClientThatDoesNotReadItsReplies) {
  constexpr int commands = 200000;
  const Running running(options());
  Client client(running.port());
  std::thread writer([&client] {
    std::string some;
    for (int i = 0; i < 1000; ++i) some += "NOOP\r\n";
    for (int i = 0; i < commands / 1000; ++i) client.send(some);
    client.send("QUIT\r\n");
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // let the replies pile up
  const std::string replies = client.read_until("");
  writer.join();
  EXPECT_EQ(std::ranges::count(replies, '\n'), commands + 2);
  EXPECT_TRUE(replies.ends_with("221 2.0.0 Bye\r\n"));
}

TEST(Sink, GivesTheReasonBeforeItCloses) {
  const Running running(options());
  Client client(running.port());
  client.send("GET / HTTP/1.1\r\n" + std::string(300000, 'x'));
  EXPECT_TRUE(client.read_until("server\r\n").ends_with("500 5.5.2 This is a mail server\r\n"));
}

TEST(Sink, StopsInTheMiddleOfAMessage) {
  const test::Scratch scratch;
  Running running(options(scratch.path()));
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<Client>(running.port()));
    clients.back()->send("EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nhalf a line");
    clients.back()->read_until("<CR><LF>.<CR><LF>\r\n");
  }
  EXPECT_EQ(scratch.files("tmp").size(), 10U);
  running.stop();
  EXPECT_TRUE(scratch.files("tmp").empty());
  EXPECT_TRUE(scratch.files("new").empty());
  EXPECT_EQ(clients.front()->read_until(""), "");
}

TEST(Sink, SaysWhyItCanNotStart) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  const Running other(options());
  SinkOptions no_address = options();
  no_address.address = "example.com";
  SinkOptions taken = options();
  taken.port = other.port();
  for (const SinkOptions& bad : {no_address, taken, options("/dev/null/x")}) {
    Sink sink(bad);
    const auto started = sink.start(&loop);
    ASSERT_FALSE(started.has_value());
    EXPECT_FALSE(started.error().empty());
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  EXPECT_EQ(uv_loop_close(&loop), 0);
}

}  // namespace
}  // namespace portcullis::sink
