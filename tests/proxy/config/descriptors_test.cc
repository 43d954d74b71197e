// How descriptors are shared out.
#include "proxy/config/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace portcullis::config {
namespace {

Config shipped(std::uint32_t workers) {
  Config config;
  config.workers = workers;
  config.listeners.resize(3);
  for (Listener& listener : config.listeners) listener.sockets.resize(2);
  config.upstreams.resize(1);
  config.upstreams[0].servers.resize(1);
  return config;
}

TEST(Descriptors, NeverMoreThanThereAre) {
  for (const std::uint32_t workers : {1U, 2U, 4U, 8U, 64U}) {
    const Descriptors needed = descriptors_of(shipped(workers));
    for (std::uint64_t limit = 0; limit < 70000; limit += limit < 2000 ? 1 : 997) {
      const std::uint64_t clients = clients_within(needed, limit);
      if (clients == 0) continue;
      // Each client has one connection to an upstream at most, and as many as are allowed.
      const std::uint64_t busy = std::min(clients, needed.upstream);
      EXPECT_LE(needed.own + clients + busy, limit) << workers << " workers, " << limit;
    }
  }
}

TEST(Descriptors, SmallLimitsLeaveRoomForClients) {
  for (const std::uint32_t workers : {1U, 2U, 4U}) {
    EXPECT_GE(clients_within(descriptors_of(shipped(workers)), 256), 40U) << workers;
    EXPECT_GE(clients_within(descriptors_of(shipped(workers)), 1024), 600U) << workers;
  }
  EXPECT_GT(clients_within(descriptors_of(shipped(8)), 524288), 520000U);
}

TEST(Descriptors, TooFewIsAnErrorInOneSentence) {
  EXPECT_EQ(clients_within(descriptors_of(shipped(8)), 32), 0U);
  EXPECT_THAT(descriptor_error(shipped(8), 32), testing::HasSubstr("may open 32 files"));
  EXPECT_THAT(descriptor_error(shipped(8), 32), testing::HasSubstr("8 workers"));
  EXPECT_EQ(descriptor_error(shipped(8), 1024), "");
}

TEST(Descriptors, LimitsThatCanNotBeReachedAreAWarning) {
  EXPECT_THAT(descriptor_warning(shipped(2), 1024), testing::HasSubstr("add up to 60000"));
  EXPECT_EQ(descriptor_warning(shipped(2), 524288), "");
  Config many = shipped(2);
  for (Listener& listener : many.listeners) listener.limits.connections = 10;
  EXPECT_EQ(descriptor_warning(many, 1024), "");
  many.upstreams[0].connections_max = 1000;
  EXPECT_THAT(descriptor_warning(many, 1024), testing::HasSubstr("the upstreams' to 2000"));
}

TEST(Descriptors, BackendsAndAdminServerCount) {
  Config config = shipped(1);
  const std::uint64_t before = descriptors_of(config).own;
  config.auth.backends = {auth::BackendKind::ldap, auth::BackendKind::imap};
  EXPECT_EQ(descriptors_of(config).own, before + 16);
  config.admin.connections += 100;
  EXPECT_EQ(descriptors_of(config).own, before + 116);
}

}  // namespace
}  // namespace portcullis::config
