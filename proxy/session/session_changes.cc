// What an operator changed while the session was open takes effect at its next transaction, and what they
// took from an account at its next command (law 9).
#include <algorithm>

#include "proxy/session/session.h"

namespace portcullis::session {

// Rules are exchanged under the session. Where the connection itself would have become another one, the
// client makes a new one.
bool Session::follow_configuration(Now now, Effects& fx) {
  if (env_.in_force == nullptr || *env_.in_force == policies_) return true;
  policies_ = *env_.in_force;
  const policy::Network rights = policies_->chain.permissions(client_);
  const std::optional<policy::IpAddress> named_by = policy::parse_ip(via_);
  const policy::Network peer = named_by ? policies_->chain.permissions(*named_by) : rights;
  auth_without_tls_ = rights.may_auth_without_tls;
  may_xclient_ = peer.may_send_xclient && !by_proxy_header_;
  may_xforward_ = peer.may_send_xforward && !by_proxy_header_;
  const bool named_by_right =
      !named_by || (by_proxy_header_ ? peer.may_send_proxy_header : peer.may_send_xclient);
  const bool logged_in_by_right = !account_ || tls_ || auth_without_tls_ || account_->backend == "xclient";
  const bool certificates_alike = policies_->config.certificate_login == env_.config.certificate_login ||
                                  !account_ || account_->backend != "certificate";
  // The upstream may have become another one: the session goes on with the one it began with.
  const auto& listeners = policies_->config.listeners;
  const bool listens_alike = std::ranges::find(listeners, listener_.settings) != listeners.end();
  if (listens_alike && named_by_right && logged_in_by_right && certificates_alike) {
    return true;
  }
  bye(421, "4.3.2", "Configuration has changed, please connect again", metrics::CloseReason::policy,
      "configuration_changed", now, fx);
  return false;
}

// `outside`: of a transaction. Inside, what the account owns stays as it was at MAIL.
bool Session::account_stands(bool outside, Now now, Effects& fx) {
  const Accounts* accounts = env_.in_force != nullptr ? (*env_.in_force)->accounts : policies_->accounts;
  if (!account_ || accounts == nullptr) return true;
  const std::uint64_t generation = accounts->generation();
  if (generation != accounts_generation_) {
    policy::Account account = *account_;
    if (accounts->look_again(account) == Accounts::State::gone) {
      bye(421, "4.7.0", "Account has changed, please log in again", metrics::CloseReason::policy,
          "account_changed", now, fx);
      return false;
    }
    if (outside) {
      *account_ = std::move(account);
      accounts_generation_ = generation;
    }
  }
  const std::uint32_t most = outside ? accounts->login_seconds(*account_) : 0;
  if (most == 0 || now.mono_ms - login_ms_ <= std::int64_t{most} * 1000) return true;
  bye(421, "4.7.0", "Login is too old, please log in again", metrics::CloseReason::policy, "login_too_old",
      now, fx);
  return false;
}

}  // namespace portcullis::session
