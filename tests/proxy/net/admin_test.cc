#include "proxy/net/admin.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

namespace portcullis::net {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

config::Socket loopback() {
  config::Socket socket;
  socket.address.octets = {127, 0, 0, 1};
  return socket;
}

config::Socket loopback_v6() {
  config::Socket socket;
  socket.address.v6 = true;
  socket.address.octets[15] = 1;
  return socket;
}

// A blocking client.
class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  bool send(std::string_view bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // Up to the end, or until `octets` came.
  std::string receive(std::size_t octets = std::string::npos) {
    std::string received;
    char buffer[65536];
    while (received.size() < octets) {
      const ssize_t n = ::recv(fd_, buffer, std::min(sizeof buffer, octets - received.size()), 0);
      if (n <= 0) return received + (n < 0 ? "<" + std::string(std::strerror(errno)) + ">" : "");
      received.append(buffer, static_cast<std::size_t>(n));
    }
    return received;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  bool connected_ = false;
};

std::string get(std::uint16_t port, const std::string& target) {
  Client client(port);
  client.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  return client.receive();
}

std::string body_of(const std::string& response) {
  const std::size_t head = response.find("\r\n\r\n");
  return head == std::string::npos ? "no head: " + response : response.substr(head + 4);
}

// The admin server of a small gateway, on a loop of its own thread.
class Admin : public testing::Test {
 protected:
  Admin()
      : layout_({.listeners = {"mx", "submission"},
                 .rules = {"identity"},
                 .limits = {"per-day"},
                 .upstreams = {"legacy"},
                 .certificates = {"default"},
                 .loops = {"0"},
                 .servers = {{"legacy", "10.0.0.5:25"}}}),
        levels_(layout_),
        exporter_(layout_, levels_),
        shard_(layout_) {
    exporter_.attach(shard_);
    admin_.sockets = {loopback()};
    handler_ = admin_routes(exporter_, {[this] { return not_well_; }, [this] { return not_ready_; }});
  }
  ~Admin() override { stop(); }

  void start() {
    uv_loop_init(&loop_);
    auto server = AdminServer::listen(loop_, admin_, handler_, [this](metrics::Route route, unsigned status) {
      ++seen_[{route, status}];
      shard_.add<metrics::Metric::admin_requests>(route, metrics::http_code_index(status));
    });
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
    ports_ = server_->ports();
    uv_async_init(&loop_, &stop_, [](uv_async_t* async) noexcept {
      static_cast<Admin*>(async->data)->server_->close();
      uv_close(reinterpret_cast<uv_handle_t*>(async), nullptr);
    });
    stop_.data = this;
    thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
  }
  // After it every handle must be closed: uv_loop_close says so, and ASan that nothing was forgotten.
  void stop() {
    if (!thread_.joinable()) return;
    uv_async_send(&stop_);
    thread_.join();
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  std::uint16_t port() const { return ports_.at(0); }

  metrics::Layout layout_;
  metrics::Levels levels_;
  metrics::Exporter exporter_;
  metrics::Shard shard_;
  config::Admin admin_;
  metrics::HttpHandler handler_;
  std::vector<std::string> not_ready_, not_well_;
  std::map<std::pair<metrics::Route, unsigned>, int> seen_;
  std::vector<std::uint16_t> ports_;
  uv_loop_t loop_{};
  uv_async_t stop_{};
  std::unique_ptr<AdminServer> server_;
  std::thread thread_;
};

TEST_F(Admin, HasThreeRoutes) {
  not_ready_ = {"upstream legacy: no server answers"};
  start();
  EXPECT_THAT(get(port(), "/metrics"),
              StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(body_of(get(port(), "/metrics?x=y")),
              HasSubstr("\nportcullis_connections_total{listener=\"mx\"} 0\n"));
  EXPECT_EQ(body_of(get(port(), "/healthz")), "ok\n");
  const std::string not_ready = get(port(), "/readyz");
  EXPECT_THAT(not_ready, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_EQ(body_of(not_ready), "upstream legacy: no server answers\n");
  EXPECT_THAT(get(port(), "/"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  stop();
  using metrics::Route;
  const decltype(seen_) expected = {{{Route::metrics, 200}, 2},
                                    {{Route::healthz, 200}, 1},
                                    {{Route::readyz, 503}, 1},
                                    {{Route::other, 404}, 1}};
  EXPECT_EQ(seen_, expected);
}

TEST_F(Admin, IsReady) {
  start();
  EXPECT_EQ(body_of(get(port(), "/readyz")), "ready\n");
}

TEST_F(Admin, ListensOnEverySocketOrOnNone) {
  admin_.sockets = {loopback(), loopback_v6()};
  start();
  ASSERT_EQ(ports_.size(), 2u);
  EXPECT_NE(ports_[0], 0);
  EXPECT_NE(ports_[1], 0);

  config::Admin taken;
  taken.sockets = {loopback(), loopback()};
  taken.sockets[1].port = ports_[0];
  uv_loop_t loop;
  uv_loop_init(&loop);
  const auto second = AdminServer::listen(loop, taken, handler_, nullptr);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr("Address already in use"));
  uv_run(&loop, UV_RUN_DEFAULT);
  EXPECT_EQ(uv_loop_close(&loop), 0);
}

TEST_F(Admin, AnswersHostileBytesWithA4xxThatArrives) {
  start();
  const std::pair<std::string, std::string> cases[] = {
      {"EHLO localhost\r\n", "HTTP/1.1 400 "},
      {"\x16\x03\x01\x02", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + std::string(100000, 'x'),
       "HTTP/1.1 405 "},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(100000, 'x') + "\r\n\r\n", "HTTP/1.1 431 "},
      {"GET /" + std::string(100000, 'x'), "HTTP/1.1 414 "},
  };
  for (const auto& [bytes, expected] : cases) {
    Client client(port());
    client.send(bytes);
    EXPECT_THAT(client.receive(), StartsWith(expected));  // and the end, not a reset
  }
}

TEST_F(Admin, AnswersPipelinedRequests) {
  start();
  Client client(port());
  const std::string request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::string last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string all;
  for (int i = 0; i < 50; ++i) all += request;
  client.send(all + last);
  const std::string received = client.receive();
  std::size_t answers = 0;
  for (std::size_t at = 0; (at = received.find("ok\n", at)) != std::string::npos; ++at) ++answers;
  EXPECT_EQ(answers, 51u);
}

// A client that asks much and reads nothing is not read further, and is dropped at the deadline.
TEST_F(Admin, BoundsAClientThatDoesNotRead) {
  admin_.timeout_seconds = 1;
  handler_ = [](const metrics::HttpRequest&) {
    return metrics::HttpResponse{
        .status = 200, .route = metrics::Route::other, .body = std::string(8 << 20, 'x')};
  };
  start();
  Client client(port());
  const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (int i = 0; i < 20; ++i) client.send(request);
  std::this_thread::sleep_for(2s);
  const std::string received = client.receive();
  EXPECT_LT(received.size(), 2u * (8 << 20));
  stop();
  EXPECT_LE((seen_[{metrics::Route::other, 200}]), 2);
}

TEST_F(Admin, DropsSlowAndIdleClients) {
  admin_.timeout_seconds = 1;
  start();
  Client idle(port()), slow(port());
  const auto begin = std::chrono::steady_clock::now();
  std::thread trickle([&] {
    for (const char c : std::string("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")) {
      if (!slow.send({&c, 1})) break;
      std::this_thread::sleep_for(100ms);
    }
  });
  EXPECT_EQ(idle.receive(), "");
  EXPECT_THAT(slow.receive(), testing::Not(HasSubstr("200 OK")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  trickle.join();
}

// Whoever holds all connections without asking for anything makes room, the longest wait first.
TEST_F(Admin, SilentConnectionsDoNotKeepOthersOut) {
  admin_.connections = 4;
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 32; ++i) clients.push_back(std::make_unique<Client>(port()));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(get(port(), "/metrics"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(get(port(), "/healthz"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  EXPECT_EQ(clients.front()->receive(), "");
}

TEST_F(Admin, HalfRequestsAndIdleOnesMakeRoomFirst) {
  admin_.connections = 4;
  start();
  Client half(port()), kept(port());
  half.send("GET /hea");
  kept.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(kept.receive(15), StartsWith("HTTP/1.1 200 OK"));
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(std::make_unique<Client>(port()));
  EXPECT_EQ(half.receive(), "");
  EXPECT_THAT(get(port(), "/healthz"), StartsWith("HTTP/1.1 200 OK"));
}

// Who asks and does not read holds a connection and a response. It stays while there are idle ones.
TEST_F(Admin, SlowReadersMakeRoomToo) {
  admin_.connections = 4;
  const metrics::HttpHandler routes = handler_;
  handler_ = [&routes](const metrics::HttpRequest& request) {
    metrics::HttpResponse response = routes(request);
    if (request.path == "/metrics") response.body.append(64 << 20, '#');
    return response;
  };
  start();
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<Client>(port()));
    slow.back()->send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_THAT(slow.back()->receive(15), StartsWith("HTTP/1.1 200 OK"));
  }
  for (int i = 0; i < 8; ++i) EXPECT_THAT(get(port(), "/healthz"), StartsWith("HTTP/1.1 200 OK"));
  // One had to go; the other three still have theirs coming.
  EXPECT_GT(slow.back()->receive(1 << 20).size(), (1U << 20) - 1);
}

TEST_F(Admin, AStuckWorkerIsNotHealthy) {
  not_well_ = {"worker 1 has not answered for 12 seconds"};
  start();
  const std::string answer = get(port(), "/healthz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(body_of(answer), "worker 1 has not answered for 12 seconds\n");
}

TEST_F(Admin, ClosesWithClientsInEveryState) {
  start();
  Client idle(port()), half(port()), kept(port()), lingering(port());
  half.send("GET /hea");
  kept.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  kept.receive(15);
  lingering.send("nonsense\r\n\r\n");
  lingering.receive(15);
  stop();
  EXPECT_EQ(idle.receive(), "");
}

// Runs a program; killed at the end.
class Child {
 public:
  Child(std::vector<std::string> arguments, const std::string& output) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  bool started() const { return pid_ > 0; }

 private:
  pid_t pid_ = -1;
};

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

// The value of an instant query of one series; empty: not there (yet).
std::string query(std::uint16_t prometheus, const std::string& expression) {
  const std::string body = body_of(get(prometheus, "/api/v1/query?query=" + expression));
  // The body may come chunked: the JSON is the text between the outermost braces.
  const std::size_t begin = body.find('{'), end = body.rfind('}');
  if (begin == std::string::npos || end == std::string::npos) return "";
  const auto document = nlohmann::json::parse(body.substr(begin, end + 1 - begin), nullptr, false);
  if (!document.contains("data") || document["data"]["result"].empty()) return "";
  return document["data"]["result"][0]["value"][1].get<std::string>();
}

TEST_F(Admin, IsScrapedByPrometheus) {
  shard_.add<metrics::Metric::connections>(1, 42);
  shard_.observe<metrics::Metric::message_size>(5000);
  levels_.set<metrics::Metric::upstream_up>(0, 1);
  start();
  std::string directory = (std::filesystem::temp_directory_path() / "prometheus-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  std::ofstream(directory + "/prometheus.yml")
      << "global: {scrape_interval: 1s}\nrule_files: [" PORTCULLIS_SOURCE_DIR "/etc/prometheus/alerts.yml]\n"
      << "scrape_configs: [{job_name: portcullis, static_configs: [{targets: ['127.0.0.1:" << port()
      << "']}]}]\n";
  const std::uint16_t prometheus = free_port();
  std::string up;
  {
    const Child child({"prometheus", "--config.file=" + directory + "/prometheus.yml",
                       "--storage.tsdb.path=" + directory + "/data",
                       "--web.listen-address=127.0.0.1:" + std::to_string(prometheus)},
                      directory + "/log");
    ASSERT_TRUE(child.started());
    for (int i = 0; i < 300 && up != "1"; ++i) {
      std::this_thread::sleep_for(100ms);
      if (Client(prometheus).connected()) up = query(prometheus, "up");
    }
    std::ifstream log(directory + "/log");
    ASSERT_EQ(up, "1") << std::string((std::istreambuf_iterator<char>(log)), {});
    EXPECT_EQ(query(prometheus, "portcullis_connections_total%7Blistener=%22submission%22%7D"), "42");
    EXPECT_EQ(query(prometheus, "portcullis_message_size_bytes_count"), "1");
    EXPECT_EQ(query(prometheus, "portcullis_upstream_up"), "1");
    EXPECT_EQ(query(prometheus, "count(portcullis_build_info)"), "1");
  }
  std::filesystem::remove_all(directory);
}

// What a client gets over the wire, judged by Prometheus' tool.
TEST_F(Admin, PromtoolFindsNothing) {
  start();
  std::string directory = (std::filesystem::temp_directory_path() / "promtool-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  std::ofstream(directory + "/metrics") << body_of(get(port(), "/metrics"));
  EXPECT_EQ(std::system(("promtool check metrics < " + directory + "/metrics").c_str()), 0);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace portcullis::net
