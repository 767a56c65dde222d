// pgconvoy-worker: runs attempts for a coordinator.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "common/base/arguments.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/core_dump.h"
#include "common/crypto/crypto.h"
#include "common/log/log.h"
#include "common/pg/plaintext.h"
#include "common/rpc/rpc.h"
#include "common/rpc/tls.h"
#include "worker/runner/worker.h"

namespace {

constexpr char kExamples[] = R"(Examples:
  pgconvoy-worker --coordinator coordinator:7070 --slots 4 \
      --tls-cert worker.crt --tls-key worker.key --tls-ca ca.crt   # from `pgconvoy certs init`
  pgconvoy-worker --coordinator 127.0.0.1:7070 --exit-when-idle 60   # beside the coordinator, without certificates

Of several coordinators (192.0.2.1:7070,192.0.2.2:7070) it serves whichever leads; --tls-server-name says which name
their certificates have.

A worker keeps nothing: start and kill as many as you like. It needs the environment variables and files that the
plan's ${env:…} and ${file:…} references name, the plan's backup directory, pg_dump, and a network path to the
servers. SIGTERM drains it.

Every flag can stand in the file that --config names, one "flag = value" a line. A flag beats its environment
variable, which beats the file. Exit codes: 0 told to end, or idle for as long as --exit-when-idle says; 1 failure;
3 the coordinator refuses this worker or its certificate cannot be used, so do not restart it; 64 wrong usage; 69 the
coordinator was out of reach for too long.)";

constexpr int kConfiguration = 3;
constexpr int kUsage = 64;

constexpr std::array<pgconvoy::EnvironmentFlag, 12> kEnvironment = {{
    {"--coordinator", "PGCONVOY_COORDINATOR"},
    {"--tls-cert", "PGCONVOY_TLS_CERT"},
    {"--tls-key", "PGCONVOY_TLS_KEY"},
    {"--tls-ca", "PGCONVOY_TLS_CA"},
    {"--tls-server-name", "PGCONVOY_TLS_SERVER_NAME"},
    {"--insecure", "PGCONVOY_INSECURE"},
    {"--worker-id", "PGCONVOY_WORKER_ID"},
    {"--slots", "PGCONVOY_SLOTS"},
    {"--exit-when-idle", "PGCONVOY_EXIT_WHEN_IDLE"},
    {"--drain-timeout", "PGCONVOY_DRAIN_TIMEOUT"},
    {"--log-format", "PGCONVOY_LOG_FORMAT"},
    {"--log-level", "PGCONVOY_LOG_LEVEL"},
}};

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "unknown";
}

// "" or what is wrong, as CLI11 wants it.
std::string CheckAddress(const std::string& address) {
  const absl::Status status = pgconvoy::rpc::TargetOf(address).status();
  return status.ok() ? "" : pgconvoy::Describe(status);
}

auto Between(int64_t min, int64_t max) {
  return [=](const std::string& text) { return pgconvoy::WhyNoNumber(text, min, max); };
}

void DeclareSecurity(CLI::App& app, pgconvoy::rpc::Security& security) {
  app.add_option("--tls-cert", security.certificate_file, "Certificate of this worker [PGCONVOY_TLS_CERT]");
  app.add_option("--tls-key", security.key_file, "Its private key, mode 0600 [PGCONVOY_TLS_KEY]");
  app.add_option("--tls-ca", security.authority_file,
                 "Authorities that the coordinator's certificate may be from [PGCONVOY_TLS_CA]");
  app.add_option(
      "--tls-server-name", security.server_name,
      "Name in the coordinator's certificate; default: the host of its address [PGCONVOY_TLS_SERVER_NAME]");
  app.add_flag("--insecure", security.insecure,
               "Speak plaintext with a coordinator on another machine, and with servers whose conninfo asks for it "
               "[PGCONVOY_INSECURE]");
}

// Checks the certificate, and gives this worker a name that the certificate covers.
absl::Status UseIdentity(pgconvoy::worker::WorkerOptions& options) {
  if (!options.security.tls()) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(pgconvoy::rpc::LoadTls(options.security).status());
  PGC_ASSIGN_OR_RETURN(const auto identity, pgconvoy::rpc::OwnIdentity(options.security));
  if (!pgconvoy::rpc::CoversWorker(identity, options.worker_id)) {
    options.worker_id = identity.name + "/" + options.worker_id;
  }
  return absl::OkStatus();
}

int Fail(const absl::Status& status, int exit_code) {
  std::cerr << "pgconvoy-worker: error " << pgconvoy::Describe(status) << "\n";
  return exit_code;
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
  pgconvoy::ForbidCoreDumps();
  pgconvoy::rpc::PrepareProcess();
  pgconvoy::worker::WorkerOptions options;
  options.host = HostName();
  options.worker_id = options.host + "-" + std::to_string(::getpid());
  std::string log_format = "text";
  std::string log_level = "info";
  int64_t idle_s = 0;
  int64_t drain_s = 60;

  CLI::App app("Runs migrations of PostgreSQL projects for a pgconvoy coordinator.", "pgconvoy-worker");
  app.footer(kExamples);
  app.option_defaults()->take_last();
  app.set_version_flag("--version", "pgconvoy-worker " PGCONVOY_VERSION);
  app.set_config("--config", "", "Read flags from a file");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--coordinator", options.coordinator,
                 "The coordinator, HOST:PORT; several as IP:PORT,IP:PORT or as one name that resolves to all "
                 "[PGCONVOY_COORDINATOR]")
      ->check(CheckAddress)
      ->capture_default_str();
  DeclareSecurity(app, options.security);
  app.add_option("--worker-id", options.worker_id,
                 "Stable name of this worker; default: host and process id. With a certificate its name and a slash "
                 "are put before it [PGCONVOY_WORKER_ID]");
  app.add_option("--slots", options.slots, "Projects to run at once, 1 to 256 [PGCONVOY_SLOTS]")
      ->check(Between(1, 256))
      ->capture_default_str();
  app.add_option("--exit-when-idle", idle_s,
                 "End after so many seconds without work; 0: never [PGCONVOY_EXIT_WHEN_IDLE]")
      ->check(Between(0, 86'400))
      ->capture_default_str();
  app.add_option("--drain-timeout", drain_s,
                 "Seconds that SIGTERM leaves running attempts before they are abandoned [PGCONVOY_DRAIN_TIMEOUT]")
      ->check(Between(0, 86'400))
      ->capture_default_str();
  app.add_option("--log-format", log_format, "text or json [PGCONVOY_LOG_FORMAT]")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-level", log_level, "debug, info, warn or error [PGCONVOY_LOG_LEVEL]")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  try {
    app.parse(pgconvoy::WithEnvironment(kEnvironment, argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);
    }
    std::cerr << "pgconvoy-worker: error "
              << pgconvoy::Describe(
                     pgconvoy::InputError("PGC-USAGE", pgconvoy::Printable(error.what()), "--help shows the flags"))
              << "\n";
    return kUsage;
  }
  options.exit_when_idle_ms = idle_s * 1000;
  options.drain_timeout_ms = drain_s * 1000;
  if (const absl::Status usage = pgconvoy::rpc::CheckSecurity(options.security, options.coordinator); !usage.ok()) {
    return Fail(usage, kUsage);
  }
  if (const absl::Status identity = UseIdentity(options); !identity.ok()) {
    return Fail(identity, kConfiguration);
  }

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // A file that may not grow is then an error of one project, not the end of the worker.
  signal(SIGXFSZ, SIG_IGN);

  using pgconvoy::log::Level;
  const Level level = log_level == "debug"   ? Level::kDebug
                      : log_level == "warn"  ? Level::kWarn
                      : log_level == "error" ? Level::kError
                                             : Level::kInfo;
  pgconvoy::log::Init("worker", log_format == "json" ? pgconvoy::log::Format::kJson : pgconvoy::log::Format::kText,
                      level);
  pgconvoy::InitCrypto();
  const int64_t now_s = pgconvoy::Clock::System().NowWall() / 1000;
  if (const absl::Status clock = pgconvoy::rpc::CheckClock(now_s); !clock.ok()) {
    pgconvoy::log::Warn(pgconvoy::Describe(clock));
  }
  if (options.security.insecure) {
    pgconvoy::pg::AllowPlaintext();
    pgconvoy::log::Warn("--insecure: servers whose conninfo asks for plaintext get it");
  }
  if (options.security.insecure && !pgconvoy::rpc::IsLocalAddress(options.coordinator)) {
    pgconvoy::log::Warn("--insecure: nothing proves that this is the coordinator, and everything is in plaintext",
                        {{"address", options.coordinator}});
  }
  // Detached threads may still look at it while the process ends, so it is never destroyed.
  auto* const worker = new pgconvoy::worker::Worker(options);
  DrainOnSignal(*worker, signals);
  const auto exit = worker->Run();
  std::cerr.flush();
  ::_exit(static_cast<int>(exit));
}
