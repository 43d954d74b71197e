// The laws of a session, held against models of both peers (peer_models.h): one reply a command, in order; a
// message completes at the upstream only when the client ended it and at most once; the acknowledgement is
// the upstream's own; a refused message never completes; what a session holds is bounded; a session that ends
// leaves no connection behind.
//
//   Laws laws(harness, bare_lf == normalize);   // after harness.start()
//   laws.client_sends(bytes); laws.upstream_says(bytes); harness.timeout(); laws.observe(); ...
//   laws.end();
// A broken law goes to law_broken().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/proxy/session/harness.h"
#include "tests/proxy/session/peer_models.h"

namespace portcullis::session::testing {

class Laws {
 public:
  static constexpr std::size_t read_octets = 64 * 1024;  // the most that one read of the driver brings

  Laws(Harness& harness, bool normalizes_bare_lf);

  void client_sends(std::string_view bytes);  // what the gateway reads from the client
  // What the upstream of the connection in use sends; nothing happens while there is none.
  void upstream_says(std::string_view bytes);
  void tls_done();  // the handshake that the session asked for
  // After each event that did not come by the methods above.
  void observe();
  // Every command was answered that nothing holds back; then the client leaves, or stays silent, and the
  // session ends and holds no connection.
  void end(bool client_leaves);

  // Whether the server of the connection in use owes a reply, and whether its next one answers DATA.
  bool upstream_owes() const { return speaks() && models_[h_.speaking()].owes(); }
  bool upstream_owes_354() const { return speaks() && models_[h_.speaking()].data_next(); }
  std::size_t acknowledged() const { return acknowledged_; }

 private:
  static constexpr std::size_t no_wire = static_cast<std::size_t>(-1);

  bool speaks() const { return h_.speaking() < models_.size(); }
  bool advance();
  void await(std::string content, bool bdat);
  void match_complete();
  bool same(std::string_view got) const;
  std::optional<std::string_view> command() const;
  void answered(const SeenReply& reply);
  void command_answered(const SeenReply& reply, bool last);
  void message_answered(const SeenReply& reply, bool yes);
  static bool same_text(std::string_view shown, std::string_view said);
  void require_no_forgotten_command();

  Harness& h_;
  const bool normalizes_bare_lf_;
  std::string raw_;      // read, and not accounted for by a reply
  std::string replies_;  // that the client has not read
  std::string chunks_, content_;
  std::vector<UpstreamModel> models_;
  std::vector<std::size_t> read_, complete_;
  std::vector<SeenReply> rcpt_said_;
  std::optional<SeenReply> verdict_;
  std::size_t awaiting_wire_ = no_wire;
  std::size_t acknowledged_ = 0;
  bool greeted_ = false, in_data_ = false, awaiting_ = false, awaiting_bdat_ = false, sasl_ = false;
};

}  // namespace portcullis::session::testing
