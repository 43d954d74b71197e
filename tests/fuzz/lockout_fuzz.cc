// Brute-force control under a clock that jumps: the input is a program of failures, successes, questions and
// jumps over a few networks, logins and passwords. What must hold whatever the clock does is checked after
// each.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "policy/lockout.h"

namespace {

using namespace portcullis::policy;

void require(bool holds, const char* law) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::abort();
}

constexpr std::array<const char*, 5> clients = {"192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1",
                                                "2001:db8:0:1::1"};
constexpr std::array<const char*, 3> logins = {"alice@example.com", "bob@example.com", "carol@example.com"};

class Drill {
 public:
  void step(std::uint8_t operation, std::uint8_t operand) {
    const std::size_t client = operand % clients.size();
    const std::size_t login = operand / clients.size() % logins.size();
    switch (operation % 8) {
      case 0:
        return jump(operand);
      case 1:
      case 2:
      case 3:
        fail(client, login, operation);
        break;
      case 4:
        succeed(client, login);
        break;
      case 5:
        lockout_.take_new_blocks(now_);
        break;
      default:
        break;
    }
    look(client, login);
  }

 private:
  // Seconds to years, both ways.
  void jump(std::uint8_t operand) {
    const std::int64_t span = std::int64_t{1} << (operand % 28);
    now_ += std::chrono::seconds((operand & 0x80) != 0 ? -span : span);
  }

  void fail(std::size_t client, std::size_t login, std::uint8_t password) {
    const auto answer = lockout_.failed(address(client), logins[login], password, now_);
    bounded(answer);
    clean_.erase({client, login});
  }

  void succeed(std::size_t client, std::size_t login) {
    lockout_.succeeded(address(client), logins[login], now_);
    clean_[{client, login}] = now_;
    require(lockout_.before(address(client), logins[login], now_).blocked_by == Lockout::Scope::none,
            "an owner who has just logged in is not blocked there");
  }

  void look(std::size_t client, std::size_t login) {
    const auto answer = lockout_.before(address(client), logins[login], now_);
    bounded(answer);
    // A network where the owner logged in, and where nobody failed on this login since, stays open to it.
    const auto since = clean_.find({client, login});
    const auto remembered = std::chrono::days(rule_.remember_networks_days - 1);
    if (since != clean_.end() && now_ >= since->second && now_ - since->second < remembered) {
      require(answer.blocked_by == Lockout::Scope::none, "failures elsewhere do not block a known network");
    }
  }

  void bounded(const Lockout::Answer& answer) const {
    require(answer.delay_ms <= rule_.max_delay_ms, "a delay is bounded");
    // Twice: a clock that went back by less than a block makes it last longer by that.
    require(answer.retry_after_seconds <= 2 * rule_.block_seconds, "a block ends, whatever the clock did");
    require(lockout_.blocked_networks(now_) <= clients.size(), "blocked networks are those that failed");
    require(lockout_.blocked_logins(now_) <= logins.size() * (clients.size() + 1),
            "and so are blocked logins");
  }

  static IpAddress address(std::size_t client) { return *parse_ip(clients[client]); }

  const LockoutRule rule_ = {.failures_per_network = 6,
                             .distinct_passwords_per_login = 3,
                             .window_seconds = 100,
                             .block_seconds = 50,
                             .first_delay_ms = 10,
                             .max_delay_ms = 80,
                             .remember_networks_days = 30};
  Lockout lockout_{rule_, 64};
  WallTime now_{std::chrono::seconds(1'700'000'000)};
  // When the owner last logged in there, while nobody has failed there since.
  std::map<std::pair<std::size_t, std::size_t>, WallTime> clean_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Drill drill;
  for (std::size_t i = 0; i + 1 < size; i += 2) drill.step(data[i], data[i + 1]);
  return 0;
}
