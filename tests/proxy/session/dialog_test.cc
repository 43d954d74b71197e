// Runs every dialog whole, octet by octet and randomly cut; then again with the k-th event replaced by a
// fault, for all k, where all laws (laws.h) must hold.
#include "tests/proxy/session/dialog.h"

#include <fnmatch.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/proxy/session/laws.h"

namespace portcullis::session::testing {
namespace {

std::string take_line(std::string& from) {
  const std::size_t end = from.find("\r\n");
  if (end == std::string::npos) return std::exchange(from, {});
  std::string line = from.substr(0, end);
  from.erase(0, end + 2);
  return line;
}

bool matches(const std::string& pattern, const std::string& line) {
  // '*' alone is special: brackets and backslashes are common in mail.
  std::string escaped;
  for (const char c : pattern) {
    if (c == '[' || c == ']' || c == '\\' || c == '?') escaped.push_back('\\');
    escaped.push_back(c);
  }
  return fnmatch(escaped.c_str(), line.c_str(), 0) == 0;
}

template <typename Send>
void send_cut(const std::string& bytes, int cut, std::mt19937& random, Send send) {
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t size = bytes.size() - at;
    if (cut == 1) size = 1;
    if (cut > 1) size = std::min<std::size_t>(size, 1 + random() % 17);
    // An exact-size heap copy: ASan sees one octet too far.
    const std::vector<char> piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    send(std::string_view(piece.data(), piece.size()));
    at += size;
  }
}

void incident(Harness& h, const std::string& what) {
  if (what == "upstream-lost") return h.upstream_lost(LinkFailure::closed);
  if (what == "upstream-silent") return h.upstream_silent(false);
  if (what == "upstream-hung") return h.upstream_silent(true);
  if (what == "client-lost") return h.client_lost();
  if (what == "tls") return h.tls_done();
  if (what == "timeout") return h.timeout();
  if (what == "drain") return h.drain();
  if (what == "yield") return h.yield();
  if (what == "end-use") return h.end_use();
  if (what == "refuse-connect") {
    h.acquire_fails = true;
    return;
  }
  if (what == "hold-connect") {
    h.hold_acquire = true;
    return;
  }
  if (what == "grant") return h.grant();
  if (what.starts_with("auth ok ")) return h.auth_done(auth::Result::success, what.substr(8));
  if (what == "auth bad") return h.auth_done(auth::Result::bad_credentials, {});
  if (what == "auth down") return h.auth_done(auth::Result::backend_error, {});
  FAIL() << "unknown incident: " << what;
}

bool holds(Harness& h, const std::string& what) {
  if (what == "aborted") return h.aborted > 0;
  if (what == "released") return h.released > 0;
  if (what == "finished") return h.session().finished();
  if (what == "asks-auth") return h.asked_auth();
  if (what == "wants-tls") return h.tls_wanted();
  if (what == "no-upstream") return !h.upstream_open();
  ADD_FAILURE() << "unknown condition: " << what;
  return false;
}

// As incident(), where a fault came before: the session may not wait for it any more.
void play_incident(const std::string& what, Harness& h, Laws& laws) {
  if (what == "tls" && !h.tls_wanted()) return;
  if (what.starts_with("auth") && !h.asked_auth()) return;
  if (what == "upstream-lost" && !h.upstream_open() && !h.acquire_pending()) return;
  if (what == "tls") return laws.tls_done();
  incident(h, what);
}

void run(const Dialog& dialog, int cut, unsigned seed) {
  SCOPED_TRACE(dialog.name + " cut " + std::to_string(cut) + " seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Harness h(dialog.setup);
  h.start();
  if (dialog.setup.tls != config::ListenerTls::implicit) {
    ASSERT_TRUE(take_line(h.client_out).starts_with("220 "));
  }
  for (const Step& step : dialog.steps) {
    SCOPED_TRACE("line " + std::to_string(step.line) + ": " + step.text);
    switch (step.kind) {
      case 'C':
      case '|':
        send_cut(step.text, cut, random, [&](std::string_view piece) { h.client(piece); });
        break;
      case 'U':
        send_cut(step.text, cut, random, [&](std::string_view piece) { h.upstream(piece); });
        break;
      case '<': {
        if (step.text == "...") {
          h.upstream_out.clear();  // whatever it was: it depends on the cut
          break;
        }
        const std::string line = take_line(h.upstream_out);
        ASSERT_TRUE(matches(step.text, line)) << "the upstream got: " << line;
        break;
      }
      case '>': {
        const std::string line = take_line(h.client_out);
        ASSERT_TRUE(matches(step.text, line)) << "the client got: " << line;
        break;
      }
      case '!':
        incident(h, step.text);
        break;
      case '=':
        ASSERT_TRUE(holds(h, step.text));
        break;
      default:
        FAIL();
    }
  }
  EXPECT_EQ(h.client_out, "");
  EXPECT_EQ(h.upstream_out, "");
}

enum class Fault {
  upstream_lost,
  upstream_silent,
  upstream_hung,
  client_lost,
  timeout,
  drain,
  unasked,
  yield,
  end_use
};

void happen(Fault fault, Harness& h, Laws& laws) {
  switch (fault) {
    case Fault::upstream_lost:
      if (h.upstream_open() || h.acquire_pending()) h.upstream_lost(LinkFailure::closed);
      break;
    case Fault::upstream_silent:
      h.upstream_silent(false);
      break;
    case Fault::upstream_hung:
      h.upstream_silent(true);
      break;
    case Fault::client_lost:
      h.client_lost();
      break;
    case Fault::timeout:
      h.timeout();
      break;
    case Fault::drain:
      h.drain();
      break;
    case Fault::unasked:
      laws.upstream_says("250 2.0.0 nobody asked for this\r\n");
      break;
    case Fault::yield:
      h.yield();
      break;
    case Fault::end_use:
      h.end_use();
      break;
  }
  laws.observe();
}

// Plays the dialog's events up to the k-th, then the fault, then the rest of the peers' bytes. All laws must
// hold after each event, and at the end the session leaves no connection behind.
void run_with_fault(const Dialog& dialog, std::size_t k, Fault fault) {
  SCOPED_TRACE(dialog.name + " fault " + std::to_string(static_cast<int>(fault)) + " at event " +
               std::to_string(k));
  Harness h(dialog.setup);
  h.start();
  Laws laws(h, dialog.setup.bare_lf == smtp::BareLf::normalize);
  std::size_t event = 0;
  for (const Step& step : dialog.steps) {
    if (step.kind == '<' || step.kind == '>' || step.kind == '=') continue;
    if (event++ == k) {
      happen(fault, h, laws);
      if (step.kind == 'U') continue;
    }
    if (h.session().finished()) break;
    if (step.kind == 'C' || step.kind == '|') laws.client_sends(step.text);
    if (step.kind == 'U') laws.upstream_says(step.text);
    if (step.kind == '!') play_incident(step.text, h, laws);
    laws.observe();
  }
  laws.end(k % 2 == 0);
}

class Dialogs : public ::testing::TestWithParam<std::string> {};

TEST_P(Dialogs, AnyCut) {
  const Dialog dialog = read_dialog(GetParam());
  run(dialog, 0, 0);
  run(dialog, 1, 0);
  for (unsigned seed = 1; seed <= 20; ++seed) run(dialog, 2, seed);
}

TEST_P(Dialogs, AnyEventFails) {
  law_broken = [](const char* law) { ADD_FAILURE() << "broken: " << law; };
  const Dialog dialog = read_dialog(GetParam());
  for (const Fault fault :
       {Fault::upstream_lost, Fault::upstream_silent, Fault::upstream_hung, Fault::client_lost,
        Fault::timeout, Fault::drain, Fault::unasked, Fault::yield, Fault::end_use}) {
    for (std::size_t k = 0; k < dialog.steps.size(); ++k) run_with_fault(dialog, k, fault);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Dialogs, ::testing::ValuesIn(dialog_paths()), [](const auto& test) {
  std::string name = read_dialog(test.param).name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
});

}  // namespace
}  // namespace portcullis::session::testing
