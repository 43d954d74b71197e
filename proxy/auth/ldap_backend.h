// A directory as a backend (3.1): find the entry (search, or a DN from a template), bind as it with the
// client's password, read what it owns and the groups it is in.
//
// Each thread keeps two connections: one for the service (searches, bound once) and one for the users'
// binds. A connection that turns out to be dead is opened anew once; a server that does not answer is
// passed over for half a minute while another one is there.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "policy/domain_set.h"
#include "proxy/auth/backend.h"
#include "proxy/auth/owned_names.h"

namespace portcullis::auth {

class LdapDirectory : public Backend {
 public:
  explicit LdapDirectory(LdapBackend settings);
  ~LdapDirectory() override;
  BackendKind kind() const override { return BackendKind::ldap; }
  std::uint8_t mechanisms() const override;
  std::unique_ptr<Asker> asker() override;
  std::string guessed_login(const std::string& login) const override;

  const LdapBackend& settings() const { return settings_; }
  // Whether logins of this one's domain are looked for here.
  bool serves(std::string_view login) const { return auth::serves(domains_, login); }
  // Whether only {local} may have been compared, so that any domain does.
  bool ignores_domain() const;
  // Indices of the servers in the order to try them now.
  std::vector<std::size_t> order(Clock::time_point now) const;
  void report(std::size_t server, bool up, Clock::time_point now);

 private:
  LdapBackend settings_;
  policy::DomainSet domains_;
  std::unique_ptr<std::atomic<Clock::rep>[]> down_until_;  // of each server
};

}  // namespace portcullis::auth
