// pgconvoy-worker: runs attempts for a coordinator.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <iostream>
#include <string>
#include <thread>

#include "common/crypto/crypto.h"
#include "common/log/log.h"
#include "worker/runner/worker.h"

namespace {

constexpr char kExamples[] = R"(examples:
  pgconvoy-worker --coordinator coordinator:7070 --slots 4
  PGCONVOY_COORDINATOR=coordinator:7070 pgconvoy-worker --exit-when-idle 60   # as a Kubernetes Job

A worker keeps nothing: start and kill as many as you like. It needs the environment variables and files that the
plan's ${env:…} and ${file:…} references name, the plan's backup directory, pg_dump, and a network path to the
servers. SIGTERM drains it.

exit codes: 0 drained or nothing left to do; 1 failure; 3 bad configuration (do not restart);
            64 usage; 69 the coordinator was out of reach for too long)";

constexpr int kUsage = 64;

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "unknown";
}

// Signals are taken by a thread of their own, so that a drain may take locks.
void DrainOnSignal(pgconvoy::worker::Worker& worker, const sigset_t& signals) {
  std::thread([&worker, signals] {
    int signal = 0;
    while (sigwait(&signals, &signal) == 0) {
      worker.Drain();
    }
  }).detach();
}

}  // namespace

int main(int argc, char** argv) {
  pgconvoy::worker::WorkerOptions options;
  options.host = HostName();
  options.worker_id = options.host + "-" + std::to_string(::getpid());
  std::string log_format = "text";
  std::string log_level = "info";
  int64_t idle_s = 0;
  int64_t drain_s = 60;

  CLI::App app("Runs migrations of PostgreSQL projects for a pgconvoy coordinator.", "pgconvoy-worker");
  app.footer(kExamples);
  app.set_version_flag("--version", "pgconvoy-worker " PGCONVOY_VERSION);
  app.set_config("--config", "", "read options from this file (flags and environment win)");
  app.add_option("--coordinator", options.coordinator, "address of the coordinator, host:port")
      ->envname("PGCONVOY_COORDINATOR")
      ->capture_default_str();
  app.add_option("--worker-id", options.worker_id, "stable name of this worker")
      ->envname("PGCONVOY_WORKER_ID")
      ->capture_default_str();
  app.add_option("--slots", options.slots, "projects to run at once")
      ->envname("PGCONVOY_SLOTS")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--exit-when-idle", idle_s, "end after so many seconds without work; 0: never")
      ->envname("PGCONVOY_EXIT_WHEN_IDLE")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--drain-timeout", drain_s, "seconds that SIGTERM leaves running attempts before they are abandoned")
      ->envname("PGCONVOY_DRAIN_TIMEOUT")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--log-format", log_format, "text or json")
      ->envname("PGCONVOY_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-level", log_level, "debug, info, warn or error")
      ->envname("PGCONVOY_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsage;
  }
  options.exit_when_idle_ms = idle_s * 1000;
  options.drain_timeout_ms = drain_s * 1000;

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  using pgconvoy::log::Level;
  const Level level = log_level == "debug"   ? Level::kDebug
                      : log_level == "warn"  ? Level::kWarn
                      : log_level == "error" ? Level::kError
                                             : Level::kInfo;
  pgconvoy::log::Init("worker", log_format == "json" ? pgconvoy::log::Format::kJson : pgconvoy::log::Format::kText,
                      level);
  pgconvoy::InitCrypto();
  // Detached threads may still look at it while the process ends, so it is never destroyed.
  auto* const worker = new pgconvoy::worker::Worker(options);
  DrainOnSignal(*worker, signals);
  const auto exit = worker->Run();
  std::cerr.flush();
  ::_exit(static_cast<int>(exit));
}
