#include "metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace portcullis::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

LabelValues some_values() {
  return {.listeners = {"mx", "submission"},
          .rules = {"identity", "we \"quote\" \\ rules"},
          .limits = {"per-day"},
          .upstreams = {"legacy"},
          .certificates = {"default"},
          .loops = {"0", "1"},
          .servers = {{"legacy", "10.0.0.5:25"}, {"legacy", "10.0.0.6:25"}},
          .version = "1.2.3",
          .revision = "abc"};
}

struct Gateway {
  Layout layout{some_values()};
  Levels levels{layout};
  Exporter exporter{layout, levels};
  Shard first{layout}, second{layout};
  SharedShard shared{layout};
  Gateway() {
    exporter.attach(first);
    exporter.attach(second);
    exporter.attach(shared);
  }
};

std::string line_of(const std::string& text, const std::string& series) {
  const std::size_t at = text.find("\n" + series + " ");
  if (at == std::string::npos) return "no " + series;
  return text.substr(at + 2 + series.size(), text.find('\n', at + 1) - at - 2 - series.size());
}

TEST(Exporter, SumsOverShards) {
  Gateway g;
  g.first.add<Metric::connections>(0, 2);
  g.second.add<Metric::connections>(0, 3);
  g.shared.add<Metric::connections>(0, 5);
  g.first.up<Metric::connections_active>(1, 4);
  g.second.down<Metric::connections_active>(1);
  g.first.observe<Metric::session_duration>(0, 0.25);
  g.second.observe<Metric::session_duration>(0, 4000);
  g.second.add<Metric::replies>(1, ReplyVerb::vrfy, code_index(421));  // not announced
  g.levels.set<Metric::upstream_up>(1, 1);
  const std::string text = g.exporter.text();
  const std::pair<const char*, const char*> expected[] = {
      {R"(portcullis_connections_total{listener="mx"})", "10"},
      {R"(portcullis_connections_total{listener="submission"})", "0"},
      {R"(portcullis_connections_active{listener="submission"})", "3"},
      {R"(portcullis_session_duration_seconds_bucket{listener="mx",le="0.1"})", "0"},
      {R"(portcullis_session_duration_seconds_bucket{listener="mx",le="0.5"})", "1"},
      {R"(portcullis_session_duration_seconds_bucket{listener="mx",le="3600"})", "1"},
      {R"(portcullis_session_duration_seconds_bucket{listener="mx",le="+Inf"})", "2"},
      {R"(portcullis_session_duration_seconds_count{listener="mx"})", "2"},
      {R"(portcullis_session_duration_seconds_sum{listener="mx"})", "4000.25"},
      {R"(portcullis_replies_total{listener="submission",verb="VRFY",code="421"})", "1"},
      {R"(portcullis_replies_total{listener="submission",verb="MAIL",code="250"})", "0"},
      {R"(portcullis_replies_total{listener="mx",verb="VRFY",code="421"})", "no"},
      {R"(portcullis_upstream_up{upstream="legacy",server="10.0.0.6:25"})", "1"},
      {R"(portcullis_upstream_up{upstream="legacy",server="10.0.0.5:25"})", "no"},
      {R"(portcullis_upstream_connections{upstream="legacy",server="10.0.0.6:25",state="idle"})", "0"},
      {R"(portcullis_build_info{version="1.2.3",revision="abc"})", "1"},
      {R"(portcullis_policy_decisions_total{rule="identity",stage="mail",action="reject",mode="shadow"})",
       "no"},
  };
  for (const auto& [series, value] : expected) {
    if (std::string_view(value) == "no") {
      EXPECT_THAT(text, Not(HasSubstr(series)));
    } else {
      EXPECT_EQ(line_of(text, series), value) << series;
    }
  }
}

TEST(Exporter, ShowsWhatWasAnnounced) {
  Gateway g;
  g.layout.announce<Metric::policy_decisions>(1, Stage::rcpt, Action::reject, Mode::shadow);
  g.layout.announce<Metric::rate_limit_exceeded>(0, RateUnit::recipients, Mode::enforce);
  const std::string text = g.exporter.text();
  EXPECT_THAT(
      text,
      HasSubstr("\nportcullis_policy_decisions_total{rule=\"we \\\"quote\\\" \\\\ rules\",stage=\"rcpt\","
                "action=\"reject\",mode=\"shadow\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nportcullis_rate_limit_exceeded_total{limit=\"per-day\",unit=\"recipients\","
                              "mode=\"enforce\"} 0\n"));
}

// A reload brings new names: old counts stay, new series begin at 0.
TEST(Exporter, FollowsAReload) {
  Gateway g;
  g.first.add<Metric::connections>(1);
  const auto added = g.layout.index_of(Dim::listener, "late");
  const auto server = g.layout.index_of_server("second", "10.0.0.7:25");
  EXPECT_EQ(line_of(g.exporter.text(), R"(portcullis_connections_total{listener="late"})"), "0");
  g.second.add<Metric::connections>(added);
  g.levels.set<Metric::upstream_up>(server, 0);
  const std::string text = g.exporter.text();
  EXPECT_EQ(line_of(text, R"(portcullis_connections_total{listener="late"})"), "1");
  EXPECT_EQ(line_of(text, R"(portcullis_connections_total{listener="submission"})"), "1");
  EXPECT_EQ(line_of(text, R"(portcullis_upstream_up{upstream="second",server="10.0.0.7:25"})"), "0");
}

TEST(Exporter, AsksTheCollectorsAndTheKernel) {
  Gateway g;
  int scrapes = 0;
  g.exporter.on_scrape([&] { g.levels.set<Metric::log_records_dropped>(Sink::file, ++scrapes * 10); });
  g.exporter.text();
  const std::string text = g.exporter.text();
  EXPECT_EQ(line_of(text, R"(portcullis_log_records_dropped_total{sink="file"})"), "20");
  EXPECT_THAT(text, HasSubstr("# TYPE portcullis_log_records_dropped_total counter\n"));

  const auto number = [&](const char* name) { return std::stod(line_of(text, name)); };
  EXPECT_GT(number("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(number("process_cpu_seconds_total"), 0);
  EXPECT_LE(number("process_start_time_seconds"), static_cast<double>(std::time(nullptr)) + 1);
  EXPECT_GT(number("process_start_time_seconds"), static_cast<double>(std::time(nullptr)) - 3600);
  EXPECT_GE(number("process_max_fds"), number("process_open_fds"));
  const double before = number("process_open_fds");
  std::FILE* const extra = std::fopen("/dev/null", "r");
  EXPECT_EQ(std::stod(line_of(g.exporter.text(), "process_open_fds")), before + 1);
  std::fclose(extra);
}

TEST(Exporter, NoSeriesTwiceAndBucketsAreCumulative) {
  Gateway g;
  for (const double value : {0.0001, 0.003, 0.3, 50.0, 500.0})
    g.first.observe<Metric::transaction_phase_duration>(Phase::upstream_reply, value);
  std::istringstream text(g.exporter.text());
  std::set<std::string> series;
  double last = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with('#')) continue;
    const std::size_t space = line.rfind(' ');
    EXPECT_TRUE(series.insert(line.substr(0, space)).second) << line;
    if (line.find("_bucket{phase=\"upstream_reply\"") == std::string::npos) continue;
    const double value = std::stod(line.substr(space + 1));
    EXPECT_GE(value, last) << line;
    last = value;
  }
  EXPECT_EQ(last, 5);
  EXPECT_GT(series.size(), 500u);
}

// The judge of the format: Prometheus' own tool, which also has opinions about names.
TEST(Exporter, PromtoolFindsNothing) {
  Gateway g;
  g.first.add<Metric::connections>(0);
  g.first.observe<Metric::message_size>(5000);
  g.layout.announce<Metric::policy_decisions>(1, Stage::rcpt, Action::reject, Mode::shadow);
  for (const auto backend : {Backend::file, Backend::ldap}) g.levels.set<Metric::auth_backend_up>(backend, 1);
  std::string directory = (std::filesystem::temp_directory_path() / "promtool-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  std::ofstream(directory + "/metrics") << g.exporter.text();
  const std::string command =
      "promtool check metrics < " + directory + "/metrics > " + directory + "/out 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream out(directory + "/out");
  const std::string said((std::istreambuf_iterator<char>(out)), {});
  EXPECT_EQ(status, 0) << said;
  EXPECT_EQ(said, "");
  std::filesystem::remove_all(directory);
}

TEST(Alerts, PromtoolAgrees) {
  const std::string top = PORTCULLIS_SOURCE_DIR;
  EXPECT_EQ(std::system(("promtool check rules " + top + "/etc/prometheus/alerts.yml").c_str()), 0);
  EXPECT_EQ(std::system(("promtool test rules " + top + "/tests/metrics/alerts_test.yml").c_str()), 0);
}

}  // namespace
}  // namespace portcullis::metrics
