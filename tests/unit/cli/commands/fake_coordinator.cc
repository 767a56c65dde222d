// A coordinator as far as `pgconvoy local` can tell: takes its flags, writes the port file, and lists as connected
// the workers that have left a file in $FAKE_WORKERS. Ends on SIGTERM.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "fake_service.h"

namespace {

volatile std::sig_atomic_t g_stop = 0;

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { g_stop = 1; });
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    flags[argv[i]] = argv[i + 1];
  }
  if (std::getenv("FAKE_COORDINATOR_BROKEN") != nullptr) {
    std::fprintf(stderr, "the store is broken\n");
    return 3;
  }
  const std::string listen = flags["--listen"];
  pgconvoy::cli::FakeServer server;
  server.Start(std::stoi(listen.substr(listen.rfind(':') + 1)));
  std::ofstream(flags["--port-file"]) << server.address() << "\n";
  while (g_stop == 0) {
    {
      const std::lock_guard lock(server.service.mutex);
      server.service.workers.clear();
      for (const auto& entry : std::filesystem::directory_iterator(std::getenv("FAKE_WORKERS"))) {
        pgconvoy::v1::Worker worker;
        worker.set_id(entry.path().filename());
        worker.set_state("connected");
        server.service.workers.push_back(worker);
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return 0;
}
