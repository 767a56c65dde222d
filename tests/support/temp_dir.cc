#include "tests/support/temp_dir.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace pgconvoy::testing {

namespace {

std::string Root() {
  const char* const chosen = std::getenv("TMPDIR");
  return chosen == nullptr || *chosen == '\0' ? "/tmp" : chosen;
}

}  // namespace

TempDir::TempDir() : path_(Root() + "/pgconvoy-test-XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr || chmod(path_.c_str(), 0711) != 0) {
    throw std::runtime_error("cannot make a folder under " + Root());
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

namespace {

constexpr int kFirstPort = 15'000;
constexpr int kPorts = 15'000;

bool CanBind(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool ok = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return ok;
}

}  // namespace

int FreePort() {
  // Test processes run side by side, so each begins elsewhere, far enough from its neighbours for all that it takes.
  static std::atomic<int> next = getpid() % kPorts * 1009;
  for (int i = 0; i < kPorts; ++i) {
    const int port = kFirstPort + (next++ % kPorts);
    if (CanBind(port)) {
      return port;
    }
  }
  throw std::runtime_error("no free port");
}

}  // namespace pgconvoy::testing
