#include "proxy/net/memory_guard.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace portcullis::net {
namespace {

using session::MemoryPressure;

TEST(MemoryGuard, LevelsAreLeftLaterThanTheyAreReached) {
  struct Case {
    std::uint64_t octets, limit;
    MemoryPressure before, now;
  };
  constexpr auto none = MemoryPressure::none, high = MemoryPressure::high,
                 critical = MemoryPressure::critical;
  for (const auto& [octets, limit, before, now] : std::vector<Case>{
           {1u << 30, 0, none, none},  // no limit
           {1599, 1600, none, none},
           {1600, 1600, none, high},
           {1799, 1600, high, high},
           {1800, 1600, high, critical},
           {1800, 1600, none, critical},
           {1700, 1600, critical, critical},
           {1687, 1600, critical, high},
           {1501, 1600, critical, high},
           {1500, 1600, high, high},
           {1499, 1600, high, none},
           {0, 1600, critical, none},
       }) {
    EXPECT_EQ(MemoryGuard::level(octets, limit, before), now) << octets << " of " << limit;
  }
}

TEST(MemoryGuard, TheSmallestOfTheGroupsAbove) {
  std::string folder = std::filesystem::temp_directory_path() / "groups-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(folder + "/mail.slice/portcullis.service");
  const auto write = [&](const std::string& group, const char* text) {
    std::ofstream(folder + group + "/memory.max") << text;
  };
  const auto limit = [&](const char* groups) { return control_group_limit(groups, folder.c_str()); };
  constexpr const char* here = "1:name=old:/x\n0::/mail.slice/portcullis.service\n";
  EXPECT_EQ(limit(here), 0U);
  write("/mail.slice/portcullis.service", "max\n");
  EXPECT_EQ(limit(here), 0U);
  write("/mail.slice", "268435456\n");
  EXPECT_EQ(limit(here), 268435456U);
  write("/mail.slice/portcullis.service", "1048576\n");
  EXPECT_EQ(limit(here), 1048576U);
  write("", "4096\n");  // as a container sees its own group
  EXPECT_EQ(limit("0::/\n"), 4096U);
  EXPECT_EQ(limit("0::/"), 4096U);
  EXPECT_EQ(limit(""), 0U);
  EXPECT_EQ(limit("nonsense"), 0U);
  std::filesystem::remove_all(folder);
}

TEST(MemoryGuard, MeasuresThisProcess) {
  const std::uint64_t before = resident_octets();
  EXPECT_GT(before, 1U << 20);
  const std::vector<char> more(64 << 20, 'x');
  EXPECT_GT(resident_octets(), before + (32 << 20));
  MemoryGuard guard;
  EXPECT_EQ(guard.look(1), MemoryPressure::critical);
  EXPECT_EQ(guard.pressure(), MemoryPressure::critical);
  EXPECT_EQ(guard.look(std::uint64_t{1} << 50), MemoryPressure::none);
  EXPECT_EQ(more[12345], 'x');
}

}  // namespace
}  // namespace portcullis::net
