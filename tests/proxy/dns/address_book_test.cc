// The addresses of servers under a resolver that answers, fails, hangs and comes back, and under a scripted
// clock.
#include "proxy/dns/address_book.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <thread>

namespace portcullis::dns {
namespace {

using namespace std::chrono_literals;

Address address(const char* text) {
  Address out{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  v4.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, text, &v4.sin_addr), 1);
  return out;
}

std::string text_of(const Address& of) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* octets = of.ss_family == AF_INET
                           ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(of).sin_addr)
                           : &reinterpret_cast<const sockaddr_in6&>(of).sin6_addr;
  return inet_ntop(of.ss_family, octets, text.data(), text.size());
}

std::string text_of(const AddressBook::Answer& answer) {
  std::string text;
  for (const Address& each : answer.addresses) text += (text.empty() ? "" : " ") + text_of(each);
  if (answer.addresses.empty()) text = answer.pending() ? "pending" : "error: " + answer.error;
  return text;
}

// A resolver that answers as it is told, by name; names that hang are answered when they are let go.
class Resolver {
 public:
  using Found = std::expected<std::vector<Address>, std::string>;

  void says(const std::string& host, Found found) {
    const std::scoped_lock lock(mutex_);
    answers_[host] = std::move(found);
  }
  void hang(bool on) {
    const std::scoped_lock lock(mutex_);
    hangs_ = on;
    changed_.notify_all();
  }
  int asked() const { return asked_; }
  int asking() const { return asking_; }
  Found ask(const std::string& host) {
    std::unique_lock lock(mutex_);
    ++asked_;
    ++asking_;
    changed_.wait(lock, [&] { return !hangs_ || host.starts_with("quick"); });
    --asking_;
    return answers_[host];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Found> answers_;
  bool hangs_ = false;
  std::atomic<int> asked_ = 0;
  std::atomic<int> asking_ = 0;
};

class AddressBookTest : public ::testing::Test {
 protected:
  ~AddressBookTest() override {
    resolver_->hang(false);
    EXPECT_TRUE(soon([&] { return resolver_->asking() == 0; }));
  }
  // What the book says once nothing is under way.
  std::string settled(const std::string& host) {
    return text_of(book_.wait(host, AddressBook::Clock::now() + 20s));
  }
  std::string at_once(const std::string& host) { return text_of(book_.find(host)); }
  // After the look-ups in the background.
  bool becomes(const std::string& host, const std::string& text) {
    return soon([&] { return at_once(host) == text; });
  }
  bool asked_becomes(int times) {
    return soon([&] { return resolver_->asked() == times && resolver_->asking() == 0; });
  }
  template <typename Condition>
  static bool soon(Condition condition) {
    for (int i = 0; i < 4000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }
  void pass(std::chrono::seconds time) { *clock_ = clock_->load() + time; }

  std::shared_ptr<Resolver> resolver_ = std::make_shared<Resolver>();
  std::shared_ptr<std::atomic<AddressBook::Clock::time_point>> clock_ =
      std::make_shared<std::atomic<AddressBook::Clock::time_point>>(AddressBook::Clock::time_point(1h));
  AddressBook book_{[resolver = resolver_](const std::string& host) { return resolver->ask(host); },
                    [clock = clock_] { return clock->load(); }};
};

TEST_F(AddressBookTest, ANumericAddressIsItsOwnAnswer) {
  EXPECT_EQ(at_once("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(at_once("2001:db8::1"), "2001:db8::1");
  EXPECT_EQ(resolver_->asked(), 0);
}

TEST_F(AddressBookTest, TheFirstAnswerIsWaitedForAndTheOthersAreNot) {
  resolver_->says("mail.test", {{address("192.0.2.1"), address("192.0.2.2")}});
  resolver_->hang(true);
  EXPECT_EQ(at_once("mail.test"), "pending");
  EXPECT_EQ(at_once("mail.test"), "pending");
  resolver_->hang(false);
  EXPECT_EQ(settled("mail.test"), "192.0.2.1 192.0.2.2");
  EXPECT_EQ(resolver_->asked(), 1) << "one look-up for all who ask";
  pass(29s);
  EXPECT_EQ(at_once("mail.test"), "192.0.2.1 192.0.2.2");
  EXPECT_EQ(resolver_->asked(), 1);
  // No longer fresh: asked again, and used meanwhile.
  resolver_->says("mail.test", {{address("192.0.2.3")}});
  pass(2s);
  EXPECT_EQ(at_once("mail.test"), "192.0.2.1 192.0.2.2");
  EXPECT_TRUE(becomes("mail.test", "192.0.2.3"));
}

TEST_F(AddressBookTest, TheLastGoodAnswerOutlivesFailures) {
  resolver_->says("mail.test", {{address("192.0.2.1")}});
  EXPECT_EQ(settled("mail.test"), "192.0.2.1");
  resolver_->says("mail.test", std::unexpected("Temporary failure in name resolution"));
  for (int minute = 0; minute < 100; ++minute) {
    pass(14min);
    EXPECT_EQ(at_once("mail.test"), "192.0.2.1");
    EXPECT_TRUE(asked_becomes(minute + 2));
  }
  pass(70min);  // a day in all
  EXPECT_TRUE(becomes("mail.test", "error: Temporary failure in name resolution"));
  resolver_->says("mail.test", {{address("192.0.2.9")}});
  pass(6s);
  EXPECT_EQ(settled("mail.test"), "192.0.2.9");
}

TEST_F(AddressBookTest, TheLastGoodAnswerOutlivesSilence) {
  resolver_->says("mail.test", {{address("192.0.2.1")}});
  EXPECT_EQ(settled("mail.test"), "192.0.2.1");
  resolver_->hang(true);
  pass(1min);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(at_once("mail.test"), "192.0.2.1");
  EXPECT_TRUE(soon([&] { return resolver_->asking() == 1; }));
  EXPECT_EQ(resolver_->asked(), 2) << "one thread a name, however often it is asked for";
}

TEST_F(AddressBookTest, AFailureIsToldAtOnceAndTriedAgain) {
  resolver_->says("gone.test", std::unexpected("no such name"));
  EXPECT_EQ(settled("gone.test"), "error: no such name");
  EXPECT_EQ(at_once("gone.test"), "error: no such name");
  EXPECT_EQ(resolver_->asked(), 1);
  resolver_->says("gone.test", {{address("192.0.2.1")}});
  pass(6s);
  EXPECT_EQ(settled("gone.test"), "192.0.2.1");
}

TEST_F(AddressBookTest, TheDeadlineOfAWaitIsKept) {
  resolver_->hang(true);
  EXPECT_EQ(text_of(book_.wait("mail.test", AddressBook::Clock::now() + 50ms)),
            "error: the resolver does not answer");
}

TEST_F(AddressBookTest, NamesThatHangDoNotHoldOthers) {
  resolver_->says("quick.test", {{address("192.0.2.1")}});
  resolver_->hang(true);
  for (std::size_t i = 1; i < AddressBook::lookups_max; ++i) at_once("slow" + std::to_string(i) + ".test");
  EXPECT_EQ(settled("quick.test"), "192.0.2.1");
}

TEST_F(AddressBookTest, AnAddressThatFailedComesLastForAWhile) {
  resolver_->says("mail.test", {{address("192.0.2.1"), address("192.0.2.2"), address("192.0.2.3")}});
  EXPECT_EQ(settled("mail.test"), "192.0.2.1 192.0.2.2 192.0.2.3");
  book_.failed("mail.test", address("192.0.2.1"));
  EXPECT_EQ(at_once("mail.test"), "192.0.2.2 192.0.2.3 192.0.2.1");
  EXPECT_EQ(book_.find("mail.test").preferred, 2U);
  // A new answer of the resolver does not make it better.
  pass(29s);
  book_.failed("mail.test", address("192.0.2.2"));
  EXPECT_EQ(at_once("mail.test"), "192.0.2.3 192.0.2.1 192.0.2.2");
  pass(2s);
  EXPECT_EQ(at_once("mail.test"), "192.0.2.1 192.0.2.3 192.0.2.2");
  EXPECT_TRUE(asked_becomes(2));
  EXPECT_EQ(at_once("mail.test"), "192.0.2.1 192.0.2.3 192.0.2.2");
  book_.succeeded("mail.test", address("192.0.2.2"));
  EXPECT_EQ(at_once("mail.test"), "192.0.2.1 192.0.2.2 192.0.2.3");
  book_.failed("other.test", address("192.0.2.1"));  // not known: nothing to remember
}

// A thread that waits for the resolver must not be waited for.
TEST_F(AddressBookTest, TheBookGoesWhileALookUpHangs) {
  resolver_->hang(true);
  auto book = std::make_unique<AddressBook>(
      [resolver = resolver_](const std::string& host) { return resolver->ask(host); });
  book->find("mail.test");
  EXPECT_TRUE(soon([&] { return resolver_->asking() == 1; }));
  book.reset();
}

}  // namespace
}  // namespace portcullis::dns
