#include "proxy/net/in_force.h"

#include <utility>

namespace portcullis::net {

namespace {

class ServiceAccounts final : public session::Accounts {
 public:
  explicit ServiceAccounts(const auth::Service& service) : service_(service) {}

  std::uint64_t generation() const override { return service_.generation(); }

  State look_again(policy::Account& account) const override {
    switch (service_.look_again(account)) {
      case auth::AccountState::gone:
        return State::gone;
      case auth::AccountState::changed:
        return State::changed;
      case auth::AccountState::unchanged:
      case auth::AccountState::not_known:
        break;
    }
    return State::unchanged;
  }

  // LDAP and IMAP can only be asked with the password: a login counts for the session.
  std::uint32_t login_seconds(const policy::Account& /*account*/) const override { return 0; }

 private:
  const auth::Service& service_;
};

struct Held {
  explicit Held(std::shared_ptr<const Snapshot> s)
      : snapshot(std::move(s)),
        accounts(*snapshot->auth),
        policies{*snapshot->config, *snapshot->chain, snapshot->rule_labels, &accounts} {}
  std::shared_ptr<const Snapshot> snapshot;
  ServiceAccounts accounts;
  session::Policies policies;
};

}  // namespace

std::shared_ptr<const session::Policies> policies_of(std::shared_ptr<const Snapshot> snapshot) {
  const auto held = std::make_shared<const Held>(std::move(snapshot));
  return {held, &held->policies};
}

}  // namespace portcullis::net
