// What a pool of upstream connections asks of a session that holds one of them or waits for one.
#pragma once

#include <string>

#include "proxy/session/upstream_hold.h"
#include "proxy/session/upstream_link.h"

namespace portcullis::net {

class UpstreamConnection;

// Who a session counts as when connections are shared out: its login, or else its client's network.
struct PartyKey {
  std::string text;
  bool user = false;  // logged in
};

class UpstreamBorrower {
 public:
  virtual session::XClient xclient() const = 0;
  virtual PartyKey party() const = 0;
  virtual session::UpstreamHold upstream_hold() const = 0;
  virtual void on_upstream_answer(UpstreamConnection& connection) = 0;
  virtual void on_upstream_lost(UpstreamConnection& connection, session::LinkFailure failure,
                                const std::string& text) = 0;
  // The server has not replied for some time, and another one is usable; `hung`: nor does it reply to the
  // probe.
  virtual void on_upstream_silent(UpstreamConnection& connection, bool hung) = 0;
  virtual void on_upstream_writable() = 0;

  // By way of PoolHost, outside the event under way:
  virtual void on_upstream_granted(UpstreamConnection& connection) = 0;
  virtual void on_upstream_denied(session::LinkFailure failure, const std::string& text) = 0;
  // Others wait. `end`: the use of the connection ends; else the connection is given back if it is idle.
  virtual void on_upstream_wanted(UpstreamConnection& connection, bool end) = 0;

 protected:
  ~UpstreamBorrower() = default;
};

}  // namespace portcullis::net
