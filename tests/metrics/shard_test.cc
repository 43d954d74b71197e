#include "metrics/shard.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "metrics/levels.h"
#include "policy/verdict.h"
#include "proxy/auth/service.h"
#include "smtp/command.h"
#include "smtp/sasl.h"

namespace portcullis::metrics {
namespace {

LabelValues some_values() {
  return {.listeners = {"mx", "submission"},
          .rules = {"identity"},
          .limits = {"per-day"},
          .upstreams = {"legacy"},
          .certificates = {"default"},
          .loops = {"0"},
          .servers = {{"legacy", "10.0.0.5:25"}}};
}

template <Metric M, typename... Labels>
std::size_t cell(const Layout& layout, Labels... labels) {
  return layout.base(M) + detail::series_offset<M>(labels...);
}

TEST(Shard, CountsWhereItWasTold) {
  const Layout layout(some_values());
  Shard shard(layout);
  shard.add<Metric::connections>(1);
  shard.add<Metric::connections>(1);
  shard.add<Metric::client_bytes>(0, Direction::out, 1000);
  shard.add<Metric::replies>(1, ReplyVerb::mail, code_index(250));
  EXPECT_EQ(shard.read(cell<Metric::connections>(layout, 1)), 2u);
  EXPECT_EQ(shard.read(cell<Metric::connections>(layout, 0)), 0u);
  EXPECT_EQ(shard.read(cell<Metric::client_bytes>(layout, 0, Direction::out)), 1000u);
  EXPECT_EQ(shard.read(cell<Metric::client_bytes>(layout, 0, Direction::in)), 0u);
  EXPECT_EQ(shard.read(cell<Metric::replies>(layout, 1, ReplyVerb::mail, code_index(250))), 1u);
}

// Every series of every metric has cells of its own, inside the shard.
TEST(Layout, NoTwoSeriesShareACell) {
  const Layout layout(some_values());
  std::vector<int> owners(layout.shard_cells(), 0), level_owners(layout.level_cells(), 0);
  for (std::size_t i = 0; i < metric_count; ++i) {
    const Row& row = catalogue[i];
    auto& cells = row.in_levels() ? level_owners : owners;
    const std::size_t values = row.configured() ? 17 : 1;  // 16, the least room, and "other"
    const std::size_t first = layout.base(static_cast<Metric>(i));
    for (std::size_t n = 0; n < values * row.series_per_value() * row.cells_per_series(); ++n)
      if (row.dims[0] != Dim::build || n == 0) ++cells.at(first + n);
  }
  for (const int count : owners) EXPECT_EQ(count, 1);
  EXPECT_EQ(std::count(level_owners.begin(), level_owners.end(), 0), 1);  // "other" build
}

TEST(Shard, GaugesGoUpAndDownAcrossShards) {
  const Layout layout(some_values());
  Shard one(layout), two(layout);
  one.up<Metric::buffer_bytes>(BufferKind::session, 100);
  two.down<Metric::buffer_bytes>(BufferKind::session, 40);
  one.up<Metric::connections_active>(0);
  one.down<Metric::connections_active>(0);
  const std::size_t at = cell<Metric::buffer_bytes>(layout, BufferKind::session);
  EXPECT_EQ(static_cast<std::int64_t>(one.read(at) + two.read(at)), 60);
  EXPECT_EQ(one.read(cell<Metric::connections_active>(layout, 0)), 0u);
}

TEST(Shard, ObservesIntoTheRightBucket) {
  const Layout layout(some_values());
  Shard shard(layout);
  const auto bounds = bounds_of(Buckets::recipients);
  const std::size_t base = layout.base(Metric::message_recipients);
  struct Case {
    double value;
    std::size_t bucket;
  };
  const Case cases[] = {{0, 0}, {1, 0}, {1.5, 1}, {2, 1}, {1000, 8}, {1001, 9}, {1e300, 9}, {-1, 0}};
  double sum = 0;
  for (const auto& [value, bucket] : cases) {
    const std::uint64_t before = shard.read(base + bucket);
    shard.observe<Metric::message_recipients>(value);
    sum += value;
    EXPECT_EQ(shard.read(base + bucket), before + 1) << value;
  }
  shard.observe<Metric::message_recipients>(std::numeric_limits<double>::quiet_NaN());
  std::uint64_t count = 0;
  for (std::size_t i = 0; i <= bounds.size(); ++i) count += shard.read(base + i);
  EXPECT_EQ(count, std::size(cases));
  EXPECT_EQ(std::bit_cast<double>(shard.read(base + bounds.size() + 1)), sum);
}

TEST(SharedShard, LosesNothingUnderContention) {
  const Layout layout(some_values());
  SharedShard shard(layout);
  constexpr int threads = 4, rounds = 20000;
  {
    std::vector<std::jthread> running;
    for (int i = 0; i < threads; ++i)
      running.emplace_back([&] {
        for (int n = 0; n < rounds; ++n) {
          shard.add<Metric::auth_cache_lookups>(CacheResult::hit);
          shard.observe<Metric::auth_backend_duration>(Backend::ldap, 0.5);
        }
      });
  }
  EXPECT_EQ(shard.read(cell<Metric::auth_cache_lookups>(layout, CacheResult::hit)), threads * rounds);
  const std::size_t sum =
      cell<Metric::auth_backend_duration>(layout, Backend::ldap) + bounds_of(Buckets::latency).size() + 1;
  EXPECT_EQ(std::bit_cast<double>(shard.read(sum)), threads * rounds * 0.5);
}

TEST(Layout, ANameKeepsItsIndexAndRoomIsBounded) {
  Layout layout(some_values());
  EXPECT_EQ(layout.index_of(Dim::listener, "submission"), 1);
  EXPECT_EQ(layout.index_of(Dim::listener, "new"), 2);
  EXPECT_EQ(layout.index_of(Dim::listener, "mx"), 0);
  EXPECT_EQ(layout.index_of_server("legacy", "10.0.0.5:25"), 0);
  EXPECT_EQ(layout.index_of_server("other-upstream", "10.0.0.5:25"), 1);
  for (int i = 0; i < 100; ++i) layout.index_of(Dim::listener, "l" + std::to_string(i));
  EXPECT_EQ(layout.names(Dim::listener).size(), 17u);
  EXPECT_EQ(layout.names(Dim::listener).back().front(), "other");
  EXPECT_EQ(layout.index_of(Dim::listener, "one more"), 16);
  EXPECT_EQ(layout.index_of(Dim::listener, "mx"), 0);
  Shard shard(layout);
  shard.add<Metric::replies>(16, ReplyVerb::unasked, code_index(999));  // the last cell of the metric
  EXPECT_EQ(shard.read(cell<Metric::replies>(layout, 16, ReplyVerb::unasked, code_index(999))), 1u);
}

TEST(Layout, AnOverflowJoinsAConfiguredOther) {
  LabelValues values = some_values();
  values.listeners = {"other"};
  Layout layout(values);
  for (int i = 0; i < 100; ++i) layout.index_of(Dim::listener, "l" + std::to_string(i));
  EXPECT_EQ(layout.index_of(Dim::listener, "more"), 0);
  EXPECT_EQ(layout.names(Dim::listener).size(), 16u);
}

TEST(Levels, AreAbsentUntilSet) {
  const Layout layout(some_values());
  Levels levels(layout);
  const std::size_t up = cell<Metric::upstream_up>(layout, 0);
  EXPECT_EQ(levels.read(up), std::nullopt);
  levels.set<Metric::upstream_up>(0, 0);
  EXPECT_EQ(levels.read(up), 0.0);
  levels.set<Metric::upstream_capability>(0, Capability::xclient, true);
  levels.unset_all(Metric::upstream_capability);
  EXPECT_EQ(levels.read(cell<Metric::upstream_capability>(layout, 0, Capability::xclient)), std::nullopt);
  EXPECT_EQ(levels.read(up), 0.0);
  levels.unset<Metric::upstream_up>(0);
  EXPECT_EQ(levels.read(up), std::nullopt);
}

TEST(Labels, CodesHaveOneIndexEach) {
  for (unsigned code = 0; code < 1100; ++code) {
    const auto name = values_of(Dim::reply_code)[static_cast<std::size_t>(code_index(code))];
    if (name != "other") {
      EXPECT_EQ(name, std::to_string(code));
    }
  }
  EXPECT_EQ(values_of(Dim::reply_code)[static_cast<std::size_t>(code_index(550))], "550");
  EXPECT_EQ(values_of(Dim::reply_code)[static_cast<std::size_t>(code_index(0))], "other");
  EXPECT_EQ(values_of(Dim::http_code)[static_cast<std::size_t>(http_code_index(404))], "404");
  EXPECT_EQ(values_of(Dim::http_code)[static_cast<std::size_t>(http_code_index(299))], "other");
  EXPECT_EQ(code_class_of(250), CodeClass::positive);
  EXPECT_EQ(code_class_of(599), CodeClass::permanent);
}

// Enums of others may be passed as they are: their order and size must stay that of our lists.
template <typename Theirs>
std::string_view ours(Dim dim, Theirs value) {
  return values_of(dim)[static_cast<std::size_t>(value)];
}

TEST(Labels, FollowTheEnumsOfOthers) {
  static_assert(static_cast<int>(smtp::Verb::unknown) == static_cast<int>(Verb::other));
  static_assert(static_cast<int>(smtp::Verb::unknown) == static_cast<int>(ReplyVerb::other));
  static_assert(static_cast<int>(smtp::Verb::bdat) == static_cast<int>(Verb::bdat));
  static_assert(static_cast<int>(smtp::Verb::xclient) == static_cast<int>(ReplyVerb::xclient));
  static_assert(static_cast<int>(smtp::Verb::http) == static_cast<int>(Verb::http));
  static_assert(smtp::verb_count == verb_values.size());
  EXPECT_EQ(ours(Dim::verb, smtp::Verb::starttls), "STARTTLS");
  EXPECT_EQ(ours(Dim::reply_verb, smtp::Verb::quit), "QUIT");

  static_assert(smtp::mechanism_count + 1 == mechanism_values.size());
  EXPECT_EQ(ours(Dim::mechanism, smtp::Mechanism::plain), "PLAIN");
  EXPECT_EQ(ours(Dim::mechanism, smtp::Mechanism::login), "LOGIN");
  EXPECT_EQ(ours(Dim::mechanism, smtp::Mechanism::xoauth2), "XOAUTH2");
  EXPECT_EQ(ours(Dim::mechanism, smtp::Mechanism::oauthbearer), "OAUTHBEARER");
  EXPECT_EQ(ours(Dim::mechanism, smtp::Mechanism::external), "EXTERNAL");

  static_assert(policy::stage_count == stage_values.size());
  EXPECT_EQ(ours(Dim::stage, policy::Stage::connect), "connect");
  EXPECT_EQ(ours(Dim::stage, policy::Stage::mail), "mail");
  EXPECT_EQ(ours(Dim::stage, policy::Stage::rcpt), "rcpt");
  EXPECT_EQ(ours(Dim::stage, policy::Stage::header), "header");
  EXPECT_EQ(ours(Dim::stage, policy::Stage::message), "message");
  EXPECT_EQ(ours(Dim::stage, policy::Stage::command), "command");
  static_assert(policy::action_count == action_values.size() + 1);
  EXPECT_EQ(action_index(policy::Action::defer), Action::defer);
  EXPECT_EQ(action_index(policy::Action::reject), Action::reject);
  EXPECT_EQ(ours(Dim::mode, policy::Mode::enforce), "enforce");
  EXPECT_EQ(ours(Dim::mode, policy::Mode::shadow), "shadow");
  EXPECT_EQ(ours(Dim::rate_unit, policy::RateUnit::messages), "messages");
  EXPECT_EQ(ours(Dim::rate_unit, policy::RateUnit::recipients), "recipients");
  EXPECT_EQ(ours(Dim::rate_unit, policy::RateUnit::bytes), "bytes");

  static_assert(policy::spoof_check_count == spoof_check_values.size() + 1);
  EXPECT_EQ(spoof_index(policy::SpoofCheck::envelope), SpoofCheck::envelope);
  EXPECT_EQ(spoof_index(policy::SpoofCheck::header_from), SpoofCheck::header_from);
  EXPECT_EQ(spoof_index(policy::SpoofCheck::sender), SpoofCheck::sender);
  EXPECT_EQ(spoof_index(policy::SpoofCheck::domain), SpoofCheck::domain);
  EXPECT_EQ(spoof_index(policy::SpoofCheck::unauth_local), SpoofCheck::unauth_local);

  static_assert(auth::result_count == backend_result_values.size() + 1);  // without `blocked`
  EXPECT_EQ(ours(Dim::backend, auth::BackendKind::file), "file");
  EXPECT_EQ(ours(Dim::backend, auth::BackendKind::ldap), "ldap");
  EXPECT_EQ(ours(Dim::backend, auth::BackendKind::imap), "imap");
  const std::pair<auth::Result, std::string_view> results[] = {
      {auth::Result::success, "success"},
      {auth::Result::bad_credentials, "bad_credentials"},
      {auth::Result::backend_error, "backend_error"},
      {auth::Result::blocked, "blocked"},
      {auth::Result::disabled, "disabled"},
      {auth::Result::password_expired, "password_expired"},
      {auth::Result::unsupported, "unsupported"},
  };
  for (const auto& [result, name] : results) {
    EXPECT_EQ(ours(Dim::auth_result, result), name);
  }
}

}  // namespace
}  // namespace portcullis::metrics
