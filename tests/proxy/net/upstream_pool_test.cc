// A pool, its sessions played by the test, and a server on the same loop: random days, after each step of
// which nobody may wait for what nobody uses, and at whose end nothing is left.
#include "proxy/net/upstream_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace portcullis::net {
namespace {

// Takes every command but those that end in "slow", which it never answers.
class Server {
 public:
  explicit Server(uv_loop_t& loop) : loop_(loop) {
    EXPECT_EQ(uv_tcp_init(&loop, &listening_), 0);
    sockaddr_in address{};
    EXPECT_EQ(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    EXPECT_EQ(uv_tcp_bind(&listening_, reinterpret_cast<const sockaddr*>(&address), 0),
              0);  // NOLINT: sockets API
    listening_.data = this;
    EXPECT_EQ(uv_listen(stream(&listening_), 64,
                        [](uv_stream_t* from, int) { static_cast<Server*>(from->data)->accept(); }),
              0);
    int size = sizeof address;
    EXPECT_EQ(uv_tcp_getsockname(&listening_, reinterpret_cast<sockaddr*>(&address), &size), 0);  // NOLINT
    port_ = ntohs(address.sin_port);
  }
  void close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&listening_), nullptr);
  }  // NOLINT: libuv's inheritance
  std::uint16_t port() const { return port_; }

 private:
  struct Conversation {
    uv_tcp_t tcp;
    std::string input;
    char octets[4096];
  };
  static uv_stream_t* stream(uv_tcp_t* tcp) {
    return reinterpret_cast<uv_stream_t*>(tcp);
  }  // NOLINT: as above

  void accept() {
    auto* conversation = new Conversation{};  // NOLINT: freed when its handle is closed
    uv_tcp_init(&loop_, &conversation->tcp);
    conversation->tcp.data = conversation;
    ASSERT_EQ(uv_accept(stream(&listening_), stream(&conversation->tcp)), 0);
    say(*conversation, "220 server\r\n");
    uv_read_start(
        stream(&conversation->tcp),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
          auto* self = static_cast<Conversation*>(handle->data);
          *buffer = uv_buf_init(self->octets, sizeof self->octets);
        },
        [](uv_stream_t* from, ssize_t size, const uv_buf_t* buffer) {
          auto* self = static_cast<Conversation*>(from->data);
          if (size < 0) return end(*self);
          self->input.append(buffer->base, static_cast<std::size_t>(size));
          answer(*self);
        });
  }
  static void end(Conversation& conversation) {
    uv_close(reinterpret_cast<uv_handle_t*>(&conversation.tcp),  // NOLINT: as above
             [](uv_handle_t* handle) { delete static_cast<Conversation*>(handle->data); });
  }
  static void say(Conversation& conversation, std::string_view text) {
    uv_buf_t buffer =
        uv_buf_init(const_cast<char*>(text.data()), static_cast<unsigned>(text.size()));  // NOLINT
    uv_try_write(stream(&conversation.tcp), &buffer, 1);
  }
  static void answer(Conversation& conversation) {
    for (std::size_t end = 0; (end = conversation.input.find("\r\n")) != std::string::npos;) {
      const std::string command = conversation.input.substr(0, end);
      conversation.input.erase(0, end + 2);
      if (command.ends_with("slow")) continue;
      say(conversation, command.starts_with("EHLO") ? "250-server\r\n250 PIPELINING\r\n" : "250 ok\r\n");
    }
  }

  uv_loop_t& loop_;
  uv_tcp_t listening_{};
  std::uint16_t port_ = 0;
};

// A session: what it holds, and what it would do with it.
class Borrower final : public UpstreamBorrower {
 public:
  explicit Borrower(PartyKey party) : party_(std::move(party)) {}
  session::XClient xclient() const override { return {}; }
  PartyKey party() const override { return party_; }
  session::UpstreamHold upstream_hold() const override { return hold; }
  void on_upstream_answer(UpstreamConnection&) override {}
  void on_upstream_lost(UpstreamConnection& connection, session::LinkFailure, const std::string&) override {
    if (has == &connection) has = nullptr;
  }
  void on_upstream_silent(UpstreamConnection&, bool) override {}
  void on_upstream_writable() override {}
  void on_upstream_granted(UpstreamConnection& connection) override {
    waits = false;
    if (!connection.lost()) has = &connection;
  }
  void on_upstream_denied(session::LinkFailure, const std::string&) override { waits = false; }
  void on_upstream_wanted(UpstreamConnection& connection, bool end) override {
    EXPECT_EQ(has, &connection);
    EXPECT_NE(hold.use, session::UpstreamUse::ended);
    (end ? ended : wanted) = true;
  }

  UpstreamConnection* has = nullptr;
  bool waits = false;
  bool wanted = false;
  bool ended = false;
  session::UpstreamHold hold;

 private:
  PartyKey party_;
};

class UpstreamPoolTest : public ::testing::Test, protected PoolHost {
 protected:
  static constexpr std::size_t most = 10;
  static constexpr std::size_t parties = 4;

  void SetUp() override {
    ASSERT_EQ(uv_loop_init(&loop_), 0);
    context_.turn_end.start(loop_);
    server_ = std::make_unique<Server>(loop_);
    auto config = std::make_shared<config::Config>();
    config->hostname = "gateway.test";
    config::Upstream upstream;
    upstream.name = "legacy";
    upstream.tls = config::UpstreamTls::off;
    upstream.servers = {{"127.0.0.1", server_->port()}};
    upstream.connections_max = most;
    upstream.client_share_percent = 80;
    config->upstreams = {upstream};
    snapshot_.config = config;
    snapshot_.client_tls = {nullptr};
    snapshot_.health = std::make_shared<UpstreamHealth>(config->upstreams);
    snapshot_.upstream_labels = {0};
    snapshot_.server_labels = {{0}};
    PoolHost& host = *this;
    pool_ = std::make_unique<UpstreamPool>(context_, snapshot_, 0, shard_, host);
    for (std::size_t i = 0; i < 40; ++i) {
      sessions_.push_back(std::make_unique<Borrower>(PartyKey{"p" + std::to_string(i % parties), false}));
    }
  }
  void TearDown() override {
    pool_.reset();
    buried_.clear();
    server_->close();
    context_.turn_end.close();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }

  // --- PoolHost
  std::int64_t mono_ms() const override { return static_cast<std::int64_t>(uv_now(&loop_)) + later_ms_; }
  void grant_later(UpstreamBorrower& client, UpstreamConnection& connection) override {
    deliveries_.push_back([&client, &connection] {
      if (connection.client == &client || connection.lost()) client.on_upstream_granted(connection);
    });
  }
  void deny_later(UpstreamBorrower& client, session::LinkFailure failure, std::string text) override {
    deliveries_.push_back([&client, failure, text] { client.on_upstream_denied(failure, text); });
  }
  void want_back_later(UpstreamBorrower& client, UpstreamConnection& connection, bool end) override {
    deliveries_.push_back([&client, &connection, end] {
      if (connection.client == &client) client.on_upstream_wanted(connection, end);
    });
  }
  void bury(std::unique_ptr<UpstreamConnection> connection) override {
    buried_.push_back(std::move(connection));
  }

  void settle() {
    while (!deliveries_.empty()) {
      std::vector<std::function<void()>> now;
      now.swap(deliveries_);
      for (const auto& deliver : now) deliver();
    }
  }
  void turns(int count) {
    for (int i = 0; i < count; ++i) {
      uv_run(&loop_, UV_RUN_NOWAIT);
      settle();
      buried_.clear();
    }
  }
  void pass(std::int64_t span_ms) {
    later_ms_ += span_ms;
    pool_->sweep();
    settle();
    turns(3);
  }

  void ask(Borrower& session) {
    session.wanted = session.ended = false;
    session.waits = true;
    if (UpstreamConnection* connection = pool_->acquire(session); connection != nullptr) {
      session.waits = false;
      session.has = connection;
    }
    use(session, session::UpstreamUse::idle);
    settle();
  }
  void use(Borrower& session, session::UpstreamUse how, std::int64_t pace_ms = 1'000) {
    session.hold = {how, mono_ms(), mono_ms() + pace_ms, false};
  }
  void command(UpstreamConnection& connection, const std::string& text, session::Expect what) {
    session::Output out;
    connection.link().command(text + "\r\n", what, out);
    connection.write(out, false);
  }
  void give_back(Borrower& session) {
    UpstreamConnection* connection = std::exchange(session.has, nullptr);
    command(*connection, "RSET", session::Expect::rset);
    pool_->release(*connection);
    settle();
  }
  // As sessions do when they are asked to.
  void obey() {
    for (const auto& session : sessions_) {
      if (session->has == nullptr) continue;
      if (std::exchange(session->wanted, false) && session->hold.use == session::UpstreamUse::idle)
        give_back(*session);
      if (std::exchange(session->ended, false) && session->has != nullptr) {
        pool_->abort(*std::exchange(session->has, nullptr));
        settle();
      }
    }
  }

  std::size_t count(bool Borrower::* what) const {
    return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                                  [&](const auto& session) { return (*session).*what; }));
  }
  std::size_t held_by(const std::string& party) const {
    return static_cast<std::size_t>(std::count_if(
        sessions_.begin(), sessions_.end(),
        [&](const auto& session) { return session->has != nullptr && session->party().text == party; }));
  }
  std::uint64_t gauge(metrics::Metric metric, std::size_t offset) const {
    return shard_.read(layout_.bases()[static_cast<std::size_t>(metric)] + offset);
  }
  std::uint64_t waiting() const { return gauge(metrics::Metric::upstream_waiting, 0); }
  std::uint64_t idle() const { return gauge(metrics::Metric::upstream_connections, 1); }
  std::uint64_t active() const { return gauge(metrics::Metric::upstream_connections, 0); }

  static metrics::LabelValues labels() {
    metrics::LabelValues values;
    values.upstreams = {"legacy"};
    values.servers = {{"legacy", "server"}};
    return values;
  }

  uv_loop_t loop_{};
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  LoopContext context_{&loop_, buffer_, {}};
  metrics::Layout layout_{labels()};
  metrics::Shard shard_{layout_};
  Snapshot snapshot_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<UpstreamPool> pool_;
  std::vector<std::unique_ptr<Borrower>> sessions_;
  std::vector<std::function<void()>> deliveries_;
  std::vector<std::unique_ptr<UpstreamConnection>> buried_;
  std::int64_t later_ms_ = 0;
};

class RandomDays : public UpstreamPoolTest, public ::testing::WithParamInterface<unsigned> {};

TEST_P(RandomDays, NobodyWaitsForWhatNobodyUses) {
  std::mt19937 random(GetParam());
  const auto any = [&](std::size_t below) { return random() % below; };
  for (int step = 0; step < 600; ++step) {
    Borrower& session = *sessions_[any(sessions_.size())];
    if (session.waits) {
      if (any(4) == 0) {
        pool_->forget(session);
        session.waits = false;
      }
    } else if (session.has == nullptr) {
      ask(session);
    } else {
      switch (any(6)) {
        case 0:
          give_back(session);
          break;
        case 1:
          pool_->abort(*std::exchange(session.has, nullptr));
          settle();
          break;
        case 2:
          use(session, session::UpstreamUse::client_sends, static_cast<std::int64_t>(any(2'000)));
          break;
        case 3:
          use(session, session::UpstreamUse::ended);
          break;
        case 4:  // leaves while the server owes a reply that never comes
          command(*session.has, "NOOP slow", session::Expect::rcpt);
          give_back(session);
          break;
        default:
          use(session, session::UpstreamUse::server_answers);
          break;
      }
    }
    turns(static_cast<int>(any(4)));
    if (any(3) == 0) pass(static_cast<std::int64_t>(any(400)));
    obey();
    ASSERT_EQ(waiting(), count(&Borrower::waits)) << step;
    ASSERT_LE(active() + idle(), most) << step;
    // What those who wait must leave free of ten, and no more.
    if (waiting() > 0) {
      ASSERT_LE(idle(), 2U) << step;
    }
  }
  // Everybody pauses: all who wait are served one after another.
  for (const auto& session : sessions_) {
    if (session->has != nullptr) use(*session, session::UpstreamUse::idle);
  }
  for (int i = 0; i < 60 && waiting() > 0; ++i) {
    pass(300);
    obey();
    for (const auto& session : sessions_) {
      if (session->has != nullptr && session->hold.use != session::UpstreamUse::idle) {
        use(*session, session::UpstreamUse::idle);
      }
    }
  }
  EXPECT_EQ(waiting(), 0U);
  for (const auto& session : sessions_) {
    if (session->has != nullptr) give_back(*session);
  }
  for (int i = 0; i < 100 && active() > 0; ++i) pass(500);
  EXPECT_EQ(active(), 0U);
  pool_->close_idle();
  turns(2);
  EXPECT_EQ(idle(), 0U);
  EXPECT_TRUE(pool_->empty());
}

INSTANTIATE_TEST_SUITE_P(Days, RandomDays, ::testing::Range(1U, 21U));

// One party holds what it may and does nothing; the next one is served at once, and those behind it soon.
TEST_F(UpstreamPoolTest, IdlersMakeRoom) {
  for (std::size_t i = 0; i < sessions_.size(); i += parties) {
    ask(*sessions_[i]);
    turns(5);
  }
  EXPECT_EQ(held_by("p0"), 8U);
  for (std::size_t i = 1; i < 13; ++i) {
    if (i % parties == 0) continue;
    ask(*sessions_[i]);
    turns(5);
  }
  EXPECT_NE(sessions_[1]->has, nullptr);
  for (int i = 0; i < 4 && waiting() > 2; ++i) {
    pass(260);
    obey();
    turns(5);
  }
  for (std::size_t party = 1; party < parties; ++party) {
    EXPECT_GE(held_by("p" + std::to_string(party)), 2U) << party;
  }
}

}  // namespace
}  // namespace portcullis::net
