#include "common/base/address.h"

#include <gtest/gtest.h>

namespace pgconvoy {
namespace {

TEST(IsLoopbackHost, IsForThisMachineOnly) {
  for (const char* const host : {"localhost", "127.0.0.1", "127.255.0.7", "::1"}) {
    EXPECT_TRUE(IsLoopbackHost(host)) << host;
  }
  for (const char* const host :
       {"", "db1", "localhost.example", "127.1", "127.0.0.256", "127.0.0.0.1", "127.0.0.", "127..0.1", "1270.0.1",
        "-127.0.0.1", "128.0.0.1", "0.0.0.0", "::", "::2", "fd00::1", "127.0.0.1.example", "[::1]"}) {
    EXPECT_FALSE(IsLoopbackHost(host)) << host;
  }
}

}  // namespace
}  // namespace pgconvoy
