#include "proxy/net/upstream_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "smtp/ascii.h"

namespace portcullis::net {

using session::LinkFailure;
using session::UpstreamLink;

namespace {

// Of one address of several: time for a lost SYN to be sent again.
constexpr std::int64_t address_ms = 2'000;

bool names_too_many_errors(std::string_view text) {
  static constexpr std::string_view words = "too many errors";
  return std::search(text.begin(), text.end(), words.begin(), words.end(),
                     [](char a, char b) { return smtp::to_lower(a) == b; }) != text.end();
}

}  // namespace

UpstreamConnection::UpstreamConnection(LoopContext& context, Target target, Owner& owner)
    : context_(context),
      target_(std::move(target)),
      owner_(owner),
      stream_(context, *this),
      link_(*target_.settings, target_.helo, target_.use_tls, target_.xclient) {
  const config::Server& server = target_.settings->servers[target_.server];
  link_.set_name(target_.settings->name + '/' + server.host + ':' + std::to_string(server.port));
}

UpstreamConnection::~UpstreamConnection() = default;

void UpstreamConnection::open() {
  if (!looking_up_) progress_ms_ = now();
  dns::AddressBook::Answer answer = target_.addresses->find(host());
  looking_up_ = answer.pending();
  if (looking_up_) return;
  if (answer.addresses.empty()) return fail(LinkFailure::connect, "cannot be resolved: " + answer.error);
  addresses_ = std::move(answer.addresses);
  preferred_addresses_ = answer.preferred;
  connect_to_next();
}

// In the order that the resolver gives, those last that have failed a moment ago.
void UpstreamConnection::connect_to_next() {
  progress_ms_ = now();
  const std::uint16_t port = target_.settings->servers[target_.server].port;
  const dns::Address address = dns::with_port(addresses_[next_address_], port);
  ++next_address_;
  const bool better_one = next_address_ < preferred_addresses_;
  address_deadline_ms_ = better_one ? now() + std::min(share_of_time(), address_ms) : 0;
  const int status =
      stream_.tcp().connect(reinterpret_cast<const sockaddr*>(&address));  // NOLINT: sockets API
  if (status != 0) on_connected(status);
}

// An address that never answers must leave the others time; a refusal needs none.
std::int64_t UpstreamConnection::share_of_time() const {
  const auto addresses = static_cast<std::int64_t>(preferred_addresses_ - next_address_ + 1);
  return std::max<std::int64_t>((deadline_ms - now()) / addresses, 1);
}

void UpstreamConnection::give_up_address() {
  if (addresses_.size() > 1) target_.addresses->failed(host(), addresses_[next_address_ - 1]);
  stream_.reopen();
  connect_to_next();
}

bool UpstreamConnection::due(std::int64_t now_ms) const {
  if (lost_) return false;
  const bool found = looking_up_ && !target_.addresses->find(host()).pending();
  return found || (deadline_ms != 0 && deadline_ms <= now_ms) ||
         (address_deadline_ms_ != 0 && address_deadline_ms_ <= now_ms);
}

void UpstreamConnection::attend(std::int64_t now_ms) {
  if (deadline_ms != 0 && deadline_ms <= now_ms) {
    const bool silent = !looking_up_ && link_.replies() == 0;
    if (silent && addresses_.size() > 1) target_.addresses->failed(host(), addresses_[next_address_ - 1]);
    return fail(LinkFailure::timeout, looking_up_ ? "the resolver does not answer" : "no answer in time");
  }
  if (looking_up_) return open();
  give_up_address();
}

void UpstreamConnection::on_connected(int status) noexcept {
  if (lost_) return;
  address_deadline_ms_ = 0;
  if (status != 0 && next_address_ < addresses_.size()) return give_up_address();
  if (status != 0) return fail(LinkFailure::connect, uv_strerror(status));
  // Until the greeting: a server that accepts and says nothing is no better.
  if (next_address_ < preferred_addresses_) address_deadline_ms_ = now() + share_of_time();
  progress_ms_ = now();
  if (link_.connected() == UpstreamLink::Step::start_tls) start_tls();
  if (!lost_) stream_.tcp().read(true);
}

std::int64_t UpstreamConnection::silent_ms() const {
  return !lost_ && (!opened() || link_.outstanding() > 0) ? now() - progress_ms_ : 0;
}

void UpstreamConnection::start_tls() {
  const std::string& name = target_.settings->server_name;
  SslPtr ssl = target_.tls->session(name.empty() ? target_.settings->servers[target_.server].host : name);
  if (!ssl) return fail(LinkFailure::tls, "no TLS session can be made");
  handshake_started_ms_ = now();
  stream_.start_tls(std::move(ssl));
}

void UpstreamConnection::on_tls_established() noexcept {
  progress_ms_ = now();
  owner_.on_handshake(succeeded(stream_.ssl(), now() - handshake_started_ms_));
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
  burst_ms_ = progress_ms_ = now();
  look_first_ |= look_first;
  stream_.write(bytes, look_first ? When::turn_end : When::soon);
}

bool UpstreamConnection::on_sending() noexcept {
  if (link_.interrupted()) {
    fail(LinkFailure::unasked, "bytes nobody asked for");
    return false;
  }
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
    const std::uint64_t replies = link_.replies();
    const bool opening = !link_.ready();
    const UpstreamLink::Step step = link_.feed(bytes, out_);
    if (link_.replies() != replies) replied(opening);
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

// `opening`: as of before the reply.
void UpstreamConnection::replied(bool opening) {
  took_ms_ = now() - progress_ms_;
  progress_ms_ = now();
  if (!opening) return;
  slowest_ms_ = std::max(slowest_ms_, took_ms_);
  address_deadline_ms_ = 0;  // the address under way is a good one
  if (addresses_.size() > 1) target_.addresses->succeeded(host(), addresses_[next_address_ - 1]);
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
  looking_up_ = false;
  address_deadline_ms_ = 0;
  link_.fail(failure, std::move(text));
  stream_.tcp().abort();
  owner_.on_lost(*this);
}

void UpstreamConnection::note_refusal(const smtp::Reply& reply, std::uint32_t most) {
  worn_out_ |= ++refusals_ >= most || names_too_many_errors(reply.text);
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
