#include "proxy/auth/workers.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "proxy/auth/service.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;

TEST(Workers, BelongToTheProcessHoweverManyConfigurationsUseThem) {
  Workers workers;
  Settings settings;
  settings.backends = {BackendKind::ldap, BackendKind::imap};
  for (int reload = 0; reload < 20; ++reload) {
    ASSERT_TRUE(reserve_workers(workers, settings));
    use_workers(workers, settings);
  }
  EXPECT_EQ(workers.threads(), 16U);
  settings.ldap.limits.connections_max = 20;
  ASSERT_TRUE(reserve_workers(workers, settings));
  EXPECT_EQ(workers.threads(), 28U);
  use_workers(workers, settings);
  settings.backends = {BackendKind::ldap};
  settings.ldap.limits.connections_max = 3;
  use_workers(workers, settings);
  while (workers.threads() != 3) std::this_thread::sleep_for(1ms);
}

// In a process of its own that may have no more threads than it has (RLIMIT_NPROC does not bind root).
TEST(Workers, NoThreadsIsASentenceAndChangesNothing) {
  const auto child = [] {
    if (::setuid(65534) != 0) _exit(2);
    Workers workers;
    if (!workers.reserve(BackendKind::imap, 2)) _exit(3);
    workers.use(BackendKind::imap, 2);
    const rlimit none{1, 1};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0) _exit(4);
    const auto more = workers.reserve(BackendKind::imap, 10);
    if (more || more.error().find("no thread for the imap backend") == std::string::npos) _exit(5);
    while (workers.threads() != 2) std::this_thread::sleep_for(1ms);
    _exit(0);
  };
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  EXPECT_EXIT(child(), ::testing::ExitedWithCode(0), "");
}

TEST(Workers, LookAtFilesUntilTheirOwnerIsGone) {
  Workers workers;
  ASSERT_TRUE(workers.reserve(BackendKind::file, 1));
  auto looks = std::make_shared<std::atomic<int>>(0);
  auto owner = std::make_shared<int>();
  workers.watch(owner, [looks] { ++*looks; });
  while (*looks < 1) std::this_thread::sleep_for(1ms);
  owner.reset();
  while (looks.use_count() > 1) std::this_thread::sleep_for(1ms);
}

}  // namespace
}  // namespace portcullis::auth
