#include "proxy/auth/ldap_backend.h"

#include <ldap.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "policy/identity.h"
#include "proxy/auth/backends.h"
#include "proxy/auth/ldap_connection.h"
#include "proxy/auth/ldap_text.h"
#include "proxy/auth/owned_names.h"
#include "smtp/extensions.h"
#include "smtp/without_secret.h"

namespace portcullis::auth {

namespace {

constexpr std::chrono::seconds avoid_for(30);
constexpr int groups_max = 1000;

template <typename T>
using Try = std::expected<T, LdapError>;

std::unexpected<LdapError> misconfigured(std::string text) {
  return std::unexpected(LdapError{std::move(text), false});
}

class LdapAsker : public Asker {
 public:
  explicit LdapAsker(LdapDirectory& directory) : directory_(directory), settings_(directory.settings()) {}
  Answer ask(const Query& query, Deadline deadline) override;
  std::expected<std::string, std::string> probe(Deadline deadline) override;

 private:
  struct Slot {
    explicit Slot(bool for_service) : service(for_service) {}
    std::unique_ptr<LdapConnection> connection;
    std::size_t server = 0;
    bool service;  // bound as the service, for searches
  };

  // The user's entry, or none.
  Try<std::optional<LdapEntry>> find(const Query& query, Deadline deadline);
  Try<BindVerdict> bind(const std::string& dn, const Query& query, Deadline deadline);
  Try<policy::Account> account(const Query& query, const LdapEntry& entry, Deadline deadline);
  Try<void> add_groups(const Query& query, const LdapEntry& entry, policy::Account& account,
                       Deadline deadline);
  std::vector<std::string> attributes() const;
  // What a server says may quote the service's password (law 6).
  std::string without_bind_password(std::string text) const {
    return smtp::without_secret(std::move(text), settings_.bind_password);
  }
  std::vector<std::string> logins_of(const LdapEntry& entry) const;
  std::string identity_of(const LdapEntry& entry) const;
  std::string vouched_login(const std::string& login, const std::vector<std::string>& owned) const;

  Try<void> open(Slot& slot, Deadline deadline);
  Try<LdapConnection> open_server(const Slot& slot, std::size_t server, Deadline deadline);
  template <typename Use>
  auto with(Slot& slot, Deadline deadline, Use use) -> decltype(use(*slot.connection, deadline));
  // Runs `use` on a connection that may read the user's entry: the service's, or the one that the user's bind
  // was made on.
  template <typename Use>
  Try<LdapSearchResult> reading(Deadline deadline, Use use);

  LdapDirectory& directory_;
  const LdapBackend& settings_;
  Slot service_{true};
  Slot user_{false};
};

Try<LdapConnection> LdapAsker::open_server(const Slot& slot, std::size_t server, Deadline deadline) {
  const std::string& url = settings_.urls[server];
  auto connection = LdapConnection::open(settings_, url, deadline);
  if (!connection || !slot.service || settings_.bind_dn.empty()) return connection;
  auto reply = connection->bind(settings_.bind_dn, settings_.bind_password, deadline);
  if (!reply) {
    reply.error().text = url + ": " + reply.error().text;
    reply.error().lost = true;
    return std::unexpected(std::move(reply.error()));
  }
  if (const BindVerdict verdict = judge(*reply); verdict.result != Result::success) {
    return std::unexpected(LdapError{url + ": bind as " + settings_.bind_dn + ": " + verdict.detail, true});
  }
  return connection;
}

// The first server that lets us in. All but the last get at most half of what time is left.
Try<void> LdapAsker::open(Slot& slot, Deadline deadline) {
  LdapError last{"no server is configured", true};
  const auto order = directory_.order(Clock::now());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto now = Clock::now();
    if (now >= deadline) break;
    const bool more = i + 1 < order.size();
    auto connection = open_server(slot, order[i], more ? now + (deadline - now) / 2 : deadline);
    directory_.report(order[i], connection.has_value(), Clock::now());
    if (connection) {
      slot.connection = std::make_unique<LdapConnection>(std::move(*connection));
      slot.server = order[i];
      return {};
    }
    last = std::move(connection.error());
  }
  return std::unexpected(std::move(last));
}

// Runs `use` on the slot's connection. One that was kept from before may have died meanwhile: then once
// more on a new one. A new one that dies at once speaks against its server: then on the next server's.
template <typename Use>
auto LdapAsker::with(Slot& slot, Deadline deadline, Use use) -> decltype(use(*slot.connection, deadline)) {
  const std::size_t rounds = 1 + settings_.urls.size();
  for (std::size_t round = 1;; ++round) {
    const bool kept = slot.connection != nullptr;
    if (!kept) {
      if (auto opened = open(slot, deadline); !opened) return std::unexpected(std::move(opened.error()));
    }
    const auto now = Clock::now();
    const bool last = round == rounds;
    auto result = use(*slot.connection, last ? deadline : now + (deadline - now) / 2);
    if (result || !result.error().lost) return result;
    slot.connection.reset();
    result.error().text = settings_.urls[slot.server] + ": " + result.error().text;
    if (!kept) directory_.report(slot.server, false, Clock::now());
    if (last || Clock::now() >= deadline) return result;
  }
}

template <typename Use>
Try<LdapSearchResult> LdapAsker::reading(Deadline deadline, Use use) {
  if (settings_.dn_template.empty() || !settings_.bind_dn.empty()) return with(service_, deadline, use);
  // Not once more on a new one: that would be bound as nobody, and see less of the entry, or more.
  auto result = use(*user_.connection, deadline);
  if (!result && result.error().lost) {
    user_.connection.reset();
    result.error().text = settings_.urls[user_.server] + ": after the bind: " + result.error().text;
  }
  return result;
}

std::vector<std::string> LdapAsker::attributes() const {
  std::vector<std::string> names;
  for (const auto* list : {&settings_.address_attributes, &settings_.group_attributes}) {
    for (const std::string& name : *list) append_unique(names, name);
  }
  if (!settings_.login_attribute.empty()) append_unique(names, settings_.login_attribute);
  if (!settings_.grant_attribute.empty()) append_unique(names, settings_.grant_attribute);
  return names;
}

Try<std::optional<LdapEntry>> LdapAsker::find(const Query& query, Deadline deadline) {
  const std::string filter = expand_template(settings_.filter, {query.login, {}}, escape_filter_value);
  auto found = with(service_, deadline, [&](LdapConnection& connection, Deadline until) {
    return connection.search(settings_.base_dn, LdapConnection::Scope::subtree, filter, attributes(), 2,
                             until);
  });
  if (!found) return std::unexpected(std::move(found.error()));
  if (found->more || found->entries.size() > 1) {
    return misconfigured("the filter finds more than one entry: " + filter);
  }
  if (found->entries.empty()) return std::nullopt;
  if (found->entries.front().dn.empty()) return misconfigured("an entry without a name");
  return std::move(found->entries.front());
}

Try<BindVerdict> LdapAsker::bind(const std::string& dn, const Query& query, Deadline deadline) {
  return with(user_, deadline, [&](LdapConnection& connection, Deadline until) -> Try<BindVerdict> {
    auto reply = connection.bind(dn, query.secret.view(), until);
    if (!reply) return std::unexpected(std::move(reply.error()));
    if (reply->code == LDAP_INVALID_DN_SYNTAX && !settings_.dn_template.empty()) {
      // Is it the login that can not stand in this DN (nothing before its '@', letters that the attribute
      // does not take), or the template? One that could stand in any tells. Anybody may write such logins:
      // were they an outage, a handful of them would open the circuit breaker.
      const std::string harmless =
          expand_template(settings_.dn_template, {"no-such-entry@example.com", {}}, escape_dn_value);
      auto other = connection.bind(harmless, "no password", until);
      if (!other) return std::unexpected(std::move(other.error()));
      if (other->code != LDAP_INVALID_DN_SYNTAX) {
        return BindVerdict{Result::bad_credentials, "no such login: it can not be part of a DN"};
      }
    }
    BindVerdict verdict = judge(*reply);
    // Not about this account: another server may answer.
    if (verdict.result == Result::backend_error) return std::unexpected(LdapError{verdict.detail, true});
    return verdict;
  });
}

Try<void> LdapAsker::add_groups(const Query& query, const LdapEntry& entry, policy::Account& account,
                                Deadline deadline) {
  for (const std::string& attribute : settings_.group_attributes) {
    for (const std::string& value : entry.values(attribute)) {
      const auto text = group_of(value);
      if (auto name = text ? group_name(*text) : std::nullopt)
        append_unique(account.groups, std::move(*name));
    }
  }
  if (settings_.group_base_dn.empty() || settings_.group_filter.empty()) return {};
  const std::string filter =
      expand_template(settings_.group_filter, {query.login, entry.dn}, escape_filter_value);
  auto found = reading(deadline, [&](LdapConnection& connection, Deadline until) {
    return connection.search(settings_.group_base_dn, LdapConnection::Scope::subtree, filter,
                             {settings_.group_name_attribute}, groups_max, until);
  });
  if (!found) return std::unexpected(std::move(found.error()));
  // Half of somebody's groups could widen what they may do as well as narrow it.
  if (found->more) return misconfigured("the group filter finds too many groups: " + filter);
  for (const LdapEntry& group : found->entries) {
    for (const std::string& value : group.values(settings_.group_name_attribute)) {
      if (auto name = group_name(value)) append_unique(account.groups, std::move(*name));
    }
  }
  return {};
}

// Without login_attribute the account is called what the client said. Where only {local} may have been
// compared, nobody looked at the domain: alice@anywhere would be let in as Alice, and own that address by
// its login (law 7). So the domain stays only if the entry owns the address.
std::string LdapAsker::vouched_login(const std::string& login, const std::vector<std::string>& owned) const {
  const std::size_t at = login.rfind('@');
  if (!directory_.ignores_domain() || at == std::string::npos) return login;
  const auto address = owned_address(login);
  const bool is_owned = address && std::ranges::find(owned, *address) != owned.end();
  return is_owned ? login : login.substr(0, at);
}

// Of login_attribute, sorted.
std::vector<std::string> LdapAsker::logins_of(const LdapEntry& entry) const {
  std::vector<std::string> logins;
  if (settings_.login_attribute.empty()) return logins;
  for (const std::string& value : entry.values(settings_.login_attribute)) {
    if (auto login = policy::canonical_login(value)) append_unique(logins, std::move(*login));
  }
  std::ranges::sort(logins);
  return logins;
}

// One name for the entry, whichever of its aliases was typed: its only login, or its DN. (Of several logins
// the first would change when one is added, and users may edit some attributes.)
std::string LdapAsker::identity_of(const LdapEntry& entry) const {
  const std::vector<std::string> logins = logins_of(entry);
  return logins.size() == 1 ? logins.front() : lower_dn(entry.dn);
}

Try<policy::Account> LdapAsker::account(const Query& query, const LdapEntry& entry, Deadline deadline) {
  policy::Account account;
  account.backend = "ldap";
  account.login = query.login;
  account.identity = identity_of(entry);
  if (!settings_.login_attribute.empty()) {
    const std::vector<std::string> logins = logins_of(entry);
    if (logins.empty()) return misconfigured(entry.dn + " has no usable " + settings_.login_attribute);
    // Of several values the one that the client used; else always the same one.
    if (std::ranges::find(logins, query.login) == logins.end()) account.login = logins.front();
  }
  for (const std::string& attribute : settings_.address_attributes) {
    for (const std::string& value : entry.values(attribute)) {
      if (auto address = owned_address(strip_smtp_prefix(value))) {
        append_unique(account.addresses, std::move(*address));
      }
    }
  }
  if (!settings_.grant_attribute.empty()) {
    for (const std::string& value : entry.values(settings_.grant_attribute)) {
      grant(account, strip_smtp_prefix(value));
    }
  }
  if (settings_.login_attribute.empty()) account.login = vouched_login(query.login, account.addresses);
  if (auto done = add_groups(query, entry, account, deadline); !done) {
    return std::unexpected(std::move(done.error()));
  }
  return account;
}

Answer LdapAsker::ask(const Query& query, Deadline deadline) {
  const auto failed = [this](LdapError error) {
    return Answer{Result::backend_error, {}, without_bind_password(std::move(error.text)), !error.lost};
  };
  if (query.secret.empty()) return {Result::bad_credentials, {}, "empty password"};
  if (!directory_.serves(query.login))
    return {Result::bad_credentials, {}, "no login of this directory's domains"};

  const bool search = settings_.dn_template.empty();
  std::optional<LdapEntry> entry;
  std::string dn;
  std::string identity;  // known before the bind
  if (search) {
    auto found = find(query, deadline);
    if (!found) return failed(std::move(found.error()));
    entry = std::move(*found);
    // Nobody there: still the same number of round trips, on the same connections.
    dn = entry ? entry->dn : "cn=no-such-entry," + settings_.base_dn;
    if (entry) identity = identity_of(*entry);
    if (entry && query.may_try && !query.may_try(identity)) {
      return {.result = Result::blocked,
              .detail = "too many wrong passwords for this entry",
              .identity = identity};
    }
  } else {
    dn = expand_template(settings_.dn_template, {query.login, {}}, escape_dn_value);
  }

  auto verdict = bind(dn, query, deadline);
  if (search && !entry) return {Result::bad_credentials, {}, "no such login"};
  if (!verdict) return failed(std::move(verdict.error()));
  verdict->detail = without_bind_password(std::move(verdict->detail));
  if (verdict->result != Result::success) {
    return {.result = verdict->result, .detail = std::move(verdict->detail), .identity = std::move(identity)};
  }

  if (!search) {
    auto found = reading(deadline, [&](LdapConnection& connection, Deadline until) {
      return connection.search(dn, LdapConnection::Scope::base, "(objectClass=*)", attributes(), 1, until);
    });
    if (!found) return failed(std::move(found.error()));
    if (found->entries.empty()) return failed({"the entry may not be read: " + dn, false});
    entry = std::move(found->entries.front());
  }
  auto account = this->account(query, *entry, deadline);
  if (!account) return failed(std::move(account.error()));
  return {.result = Result::success,
          .account = std::move(*account),
          .detail = std::move(verdict->detail),
          .identity = std::move(identity)};
}

std::expected<std::string, std::string> LdapAsker::probe(Deadline deadline) {
  std::string good;
  std::string bad;
  for (std::size_t i = 0; i < settings_.urls.size(); ++i) {
    auto connection = open_server(service_, i, deadline);
    std::string problem;
    if (!connection) {
      problem = connection.error().text;
    } else if (settings_.dn_template.empty()) {
      auto found = connection->search(settings_.base_dn, LdapConnection::Scope::base, "(objectClass=*)", {},
                                      1, deadline);
      if (!found)
        problem = settings_.urls[i] + ": " + found.error().text;
      else if (found->entries.empty())
        problem = settings_.urls[i] + ": can not see " + settings_.base_dn;
    }
    problem = without_bind_password(std::move(problem));
    std::string& list = problem.empty() ? good : bad;
    if (!list.empty()) list += "; ";
    list += problem.empty() ? settings_.urls[i] + ": ok" : problem;
  }
  if (!bad.empty()) return std::unexpected(good.empty() ? bad : bad + "; " + good);
  return good;
}

}  // namespace

LdapDirectory::LdapDirectory(LdapBackend settings)
    : settings_(std::move(settings)),
      domains_(settings_.domains),
      down_until_(std::make_unique<std::atomic<Clock::rep>[]>(settings_.urls.size())) {}

LdapDirectory::~LdapDirectory() = default;

std::uint8_t LdapDirectory::mechanisms() const { return smtp::mech_plain | smtp::mech_login; }

std::unique_ptr<Asker> LdapDirectory::asker() { return std::make_unique<LdapAsker>(*this); }

bool LdapDirectory::ignores_domain() const {
  const std::string& text = settings_.dn_template.empty() ? settings_.filter : settings_.dn_template;
  return text.find("{local}") != std::string::npos && text.find("{domain}") == std::string::npos;
}

std::string LdapDirectory::guessed_login(const std::string& login) const {
  const std::size_t at = login.rfind('@');
  return ignores_domain() && at != std::string::npos && at != 0 ? login.substr(0, at) : login;
}

std::vector<std::size_t> LdapDirectory::order(Clock::time_point now) const {
  std::vector<std::size_t> order;
  for (const bool down : {false, true}) {
    for (std::size_t i = 0; i < settings_.urls.size(); ++i) {
      if ((down_until_[i].load() > now.time_since_epoch().count()) == down) order.push_back(i);
    }
  }
  return order;
}

void LdapDirectory::report(std::size_t server, bool up, Clock::time_point now) {
  down_until_[server].store(up ? 0 : (now + avoid_for).time_since_epoch().count());
}

std::unique_ptr<Backend> make_ldap_backend(const LdapBackend& settings) {
  return std::make_unique<LdapDirectory>(settings);
}

}  // namespace portcullis::auth
