#include "proxy/net/upstream_connection.h"

#include <algorithm>
#include <array>
#include <utility>

namespace portcullis::net {

using session::LinkFailure;
using session::UpstreamLink;

namespace {

// Of one address of several: time for a lost SYN to be sent again.
constexpr std::int64_t address_ms = 2'000;

}  // namespace

// Outlives the connection when that goes first: libuv still calls back.
struct UpstreamConnection::Resolve {
  uv_getaddrinfo_t request;
  UpstreamConnection* owner;
};

UpstreamConnection::UpstreamConnection(LoopContext& context, Target target, Owner& owner)
    : context_(context),
      target_(std::move(target)),
      owner_(owner),
      stream_(context, *this),
      link_(*target_.settings, target_.helo, target_.use_tls, target_.xclient) {
  const config::Server& server = target_.settings->servers[target_.server];
  link_.set_name(target_.settings->name + '/' + server.host + ':' + std::to_string(server.port));
}

UpstreamConnection::~UpstreamConnection() {
  if (resolve_ != nullptr) {
    resolve_->owner = nullptr;
    // Where it can not be cancelled any more, its callback finds no owner.
    static_cast<void>(uv_cancel(reinterpret_cast<uv_req_t*>(&resolve_->request)));  // NOLINT
  }
}

void UpstreamConnection::open() {
  const config::Server& server = target_.settings->servers[target_.server];
  sockaddr_storage address{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);            // NOLINT: sockets API
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);           // NOLINT
  const auto* any = reinterpret_cast<const sockaddr*>(&address);  // NOLINT
  if (uv_ip4_addr(server.host.c_str(), server.port, v4) == 0) return connect(any);
  if (uv_ip6_addr(server.host.c_str(), server.port, v6) == 0) return connect(any);
  auto* resolve = new Resolve{{}, this};  // NOLINT: freed in its callback
  resolve->request.data = resolve;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  const auto done = [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
    const std::unique_ptr<Resolve> owned(static_cast<Resolve*>(request->data));
    if (owned->owner != nullptr) {
      owned->owner->resolve_ = nullptr;
      if (owned->owner->lost_) {
        // Found too late. Its owner keeps it a moment longer, but there is no socket any more.
      } else if (status == 0) {
        owned->owner->addresses_.reset(std::exchange(found, nullptr));
        owned->owner->next_address_ = owned->owner->addresses_.get();
        owned->owner->connect_to_next();
      } else {
        owned->owner->fail(LinkFailure::connect, std::string("can not be resolved: ") + uv_strerror(status));
      }
    }
    uv_freeaddrinfo(found);
  };
  const std::string port = std::to_string(server.port);
  if (uv_getaddrinfo(context_.loop, &resolve->request, done, server.host.c_str(), port.c_str(), &hints) !=
      0) {
    delete resolve;
    return fail(LinkFailure::connect, "can not be resolved");
  }
  resolve_ = resolve;
}

void UpstreamConnection::connect(const sockaddr* address) {
  const int status = stream_.tcp().connect(address);
  if (status != 0) on_connected(status);
}

// RFC 5321 section 5.1: every address of a name is tried, in the order that the resolver gives.
void UpstreamConnection::connect_to_next() {
  const addrinfo& address = *next_address_;
  next_address_ = address.ai_next;
  const auto now = static_cast<std::int64_t>(uv_now(context_.loop));
  address_deadline_ms_ = next_address_ == nullptr ? 0 : now + share_of_time();
  connect(address.ai_addr);
}

// An address that never answers must leave the others time; a refusal needs none.
std::int64_t UpstreamConnection::share_of_time() const {
  std::int64_t addresses = 1;
  for (const addrinfo* address = next_address_; address != nullptr; address = address->ai_next) ++addresses;
  const std::int64_t left = deadline_ms - static_cast<std::int64_t>(uv_now(context_.loop));
  return std::clamp<std::int64_t>(left / addresses, 1, address_ms);
}

bool UpstreamConnection::late() const {
  const auto now = static_cast<std::int64_t>(uv_now(context_.loop));
  return (deadline_ms != 0 && deadline_ms <= now) ||
         (address_deadline_ms_ != 0 && address_deadline_ms_ <= now);
}

void UpstreamConnection::out_of_time() {
  const auto now = static_cast<std::int64_t>(uv_now(context_.loop));
  if (deadline_ms != 0 && deadline_ms <= now) return fail(LinkFailure::timeout, "no answer in time");
  stream_.tcp().reopen();
  connect_to_next();
}

void UpstreamConnection::on_connected(int status) noexcept {
  if (lost_) return;
  address_deadline_ms_ = 0;
  if (status != 0 && next_address_ != nullptr) {
    stream_.tcp().reopen();
    return connect_to_next();
  }
  if (status != 0) return fail(LinkFailure::connect, uv_strerror(status));
  if (link_.connected() == UpstreamLink::Step::start_tls) start_tls();
  if (!lost_) stream_.tcp().read(true);
}

void UpstreamConnection::start_tls() {
  const std::string& name = target_.settings->server_name;
  SslPtr ssl = target_.tls->session(name.empty() ? target_.settings->servers[target_.server].host : name);
  if (!ssl) return fail(LinkFailure::tls, "no TLS session can be made");
  handshake_started_ms_ = static_cast<std::int64_t>(uv_now(context_.loop));
  stream_.start_tls(std::move(ssl));
}

void UpstreamConnection::on_tls_established() noexcept {
  owner_.on_handshake(
      succeeded(stream_.ssl(), static_cast<std::int64_t>(uv_now(context_.loop)) - handshake_started_ms_));
  link_.tls_established(out_);
  flush();
}

void UpstreamConnection::on_tls_failed(const std::string& error) noexcept {
  tls_failed_ = true;
  owner_.on_handshake(failed(stream_.tls_failure()));
  fail(LinkFailure::tls, error);
}

void UpstreamConnection::flush() {
  stream_.write(out_);
  out_.clear();
}

void UpstreamConnection::write(const session::Output& bytes, bool look_first) {
  burst_ms_ = static_cast<std::int64_t>(uv_now(context_.loop));
  look_first_ |= look_first;
  stream_.write(bytes, look_first ? When::turn_end : When::soon);
}

bool UpstreamConnection::on_sending() noexcept {
  if (std::exchange(look_first_, false) && stream_.tcp().readable_now()) {
    fail(LinkFailure::unasked, "bytes nobody asked for");
    return false;
  }
  link_.sent();
  return true;
}

void UpstreamConnection::on_plain(std::string_view bytes) noexcept {
  while (!lost_) {
    if (stream_.tcp().awaits_room()) link_.last_not_sent();
    const UpstreamLink::Step step = link_.feed(bytes, out_);
    flush();
    switch (step) {
      case UpstreamLink::Step::need_more:
        return;
      case UpstreamLink::Step::start_tls:
        start_tls();
        return;
      case UpstreamLink::Step::ready:
        owner_.on_opened(*this);
        break;
      case UpstreamLink::Step::answer:
        owner_.on_answer(*this);
        // 421: that was the last answer.
        if (!lost_ && link_.failure() != LinkFailure::none)
          return fail(link_.failure(), link_.failure_text());
        break;
      case UpstreamLink::Step::failed:
        return fail(link_.failure(), link_.failure_text());
    }
  }
}

void UpstreamConnection::on_end(bool reset) noexcept {
  if (lost_) return;
  fail(stream_.handshaking() ? LinkFailure::tls : LinkFailure::closed,
       std::string(reset ? "connection reset" : "connection closed by the server") +
           (stream_.handshaking() ? " during the TLS handshake" : ""));
}

void UpstreamConnection::on_flushed() noexcept {
  if (lost_) return;
  link_.sent();
  owner_.on_writable(*this);
}

void UpstreamConnection::fail(LinkFailure failure, std::string text) {
  if (lost_) return;
  if (stream_.handshaking()) {
    tls_failed_ = true;
    owner_.on_handshake(
        failed(failure == LinkFailure::timeout ? metrics::TlsFailure::timeout : metrics::TlsFailure::closed));
  }
  lost_ = true;
  address_deadline_ms_ = 0;
  link_.fail(failure, std::move(text));
  stream_.tcp().abort();
  owner_.on_lost(*this);
}

void UpstreamConnection::close() {
  if (lost_) return;
  lost_ = true;
  if (link_.ready() && link_.outstanding() == 0) {
    link_.command("QUIT\r\n", session::Expect::quit, out_);
    flush();
    stream_.close_notify();
  }
  stream_.tcp().close();
}

void UpstreamConnection::abort() {
  lost_ = true;
  stream_.tcp().abort();
}

}  // namespace portcullis::net
