// pgconvoy-coordinator: leases batches of projects to workers and owns the status store.
//
// Exit codes: 0 stopped by a signal, 1 failure, 3 another coordinator has taken the lead, 64 wrong usage, 69 the store
// cannot be used at start.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/base/arguments.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/core_dump.h"
#include "common/crypto/crypto.h"
#include "common/log/log.h"
#include "common/pg/local_cluster.h"
#include "common/pg/plaintext.h"
#include "common/rpc/rpc.h"
#include "coordinator/core/phase_table.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/server.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitLeadLost = 3;
constexpr int kExitUsage = 64;
constexpr int kExitUnavailable = 69;

constexpr std::string_view kEmbedded = "embedded:";
// Shorter, and a busy worker is taken for dead; longer, and a dead one holds its projects for too long.
constexpr int64_t kMinLeaseTtlMs = 1'000;
constexpr int64_t kMaxLeaseTtlMs = 600'000;

constexpr char kExamples[] = R"(Examples:
  pgconvoy-coordinator --store "host=db1 dbname=pgconvoy user=pgconvoy" --listen 0.0.0.0:7070 \
      --tls-cert coordinator.crt --tls-key coordinator.key --tls-ca ca.crt   # from `pgconvoy certs init`
  pgconvoy-coordinator --store embedded:/var/lib/pgconvoy
  PGCONVOY_STORE="postgresql://pgconvoy:...@db1/pgconvoy" pgconvoy-coordinator --log-format json

Every flag can stand in the file that --config names, one "flag = value" a line. A flag beats its environment
variable, which beats the file. Exit codes: 0 stopped by a signal, 1 failure, 3 another coordinator has taken the
lead, 64 wrong usage, 69 the store cannot be used at start.)";

struct Flags {
  std::string listen = "127.0.0.1:7070";
  std::string store;
  std::string lease_ttl = "15s";
  std::string log_format = "text";
  std::string log_level = "info";
  std::string port_file;
  std::string health_listen;
  rpc::Security security;
  bool print_phase_table = false;
  bool verify_events = false;
};

constexpr std::array<EnvironmentFlag, 10> kEnvironment = {{
    {"--listen", "PGCONVOY_LISTEN"},
    {"--health-listen", "PGCONVOY_HEALTH_LISTEN"},
    {"--tls-cert", "PGCONVOY_TLS_CERT"},
    {"--tls-key", "PGCONVOY_TLS_KEY"},
    {"--tls-ca", "PGCONVOY_TLS_CA"},
    {"--insecure", "PGCONVOY_INSECURE"},
    {"--store", "PGCONVOY_STORE"},
    {"--lease-ttl", "PGCONVOY_LEASE_TTL"},
    {"--log-format", "PGCONVOY_LOG_FORMAT"},
    {"--log-level", "PGCONVOY_LOG_LEVEL"},
}};

int Fail(const absl::Status& status, int exit_code) {
  std::cerr << "pgconvoy-coordinator: error " << Describe(status) << "\n";
  return exit_code;
}

// ---- flags -----------------------------------------------------------------------------------------------------

void DeclareSecurity(CLI::App& app, Flags& flags) {
  app.add_option("--tls-cert", flags.security.certificate_file,
                 "Certificate of this coordinator [PGCONVOY_TLS_CERT]");
  app.add_option("--tls-key", flags.security.key_file, "Its private key, mode 0600 [PGCONVOY_TLS_KEY]");
  app.add_option("--tls-ca", flags.security.authority_file,
                 "Authorities whose certificates clients must have [PGCONVOY_TLS_CA]");
  app.add_flag("--insecure", flags.security.insecure,
               "Take plaintext and do what anybody asks, also from other machines, and allow plaintext to the store "
               "[PGCONVOY_INSECURE]");
  app.add_option("--health-listen", flags.health_listen,
                 "A second address, for gRPC health checks in plaintext and nothing else [PGCONVOY_HEALTH_LISTEN]");
}

void Declare(CLI::App& app, Flags& flags) {
  app.option_defaults()->take_last();
  DeclareSecurity(app, flags);
  app.add_option("--store", flags.store, "Connection string of the status store, or embedded:DIR [PGCONVOY_STORE]");
  app.add_option("--listen", flags.listen, "Address and port; port 0 picks a free one [PGCONVOY_LISTEN]")
      ->capture_default_str();
  app.add_option("--lease-ttl", flags.lease_ttl,
                 "Silence after which a worker has lost its leases, 1s to 10m [PGCONVOY_LEASE_TTL]")
      ->capture_default_str();
  app.add_option("--log-format", flags.log_format, "text or json [PGCONVOY_LOG_FORMAT]")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "debug, info, warn or error [PGCONVOY_LOG_LEVEL]")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option("--port-file", flags.port_file, "Write the port there once calls are answered");
  app.add_flag("--print-phase-table", flags.print_phase_table, "Print the life of a project as Markdown and exit");
  app.add_flag("--verify-events", flags.verify_events, "Check the hash chain of the event log and exit");
  // PGCONVOY_CONFIG is the CLI's, whose environment the coordinator of `local up` inherits.
  app.set_config("--config", "", "Read flags from a file");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.set_version_flag("--version", std::string("pgconvoy-coordinator " PGCONVOY_VERSION));
  app.footer(kExamples);
}

bool HasPasswordArgument(int argc, char** argv) { return std::any_of(argv + 1, argv + argc, HoldsPassword); }

// "500ms", "15s", "2m".
std::optional<int64_t> ParseDuration(const std::string& text) {
  const size_t digits = text.find_first_not_of("0123456789");
  const auto number = ParseDecimal(text.substr(0, digits));
  if (!number.has_value() || digits == std::string::npos || *number > kMaxLeaseTtlMs) {
    return std::nullopt;
  }
  const std::string unit = text.substr(digits);
  if (unit == "ms") {
    return *number;
  }
  if (unit == "s") {
    return *number * 1'000;
  }
  return unit == "m" ? std::optional(*number * 60'000) : std::nullopt;
}

absl::StatusOr<int64_t> LeaseTtl(const Flags& flags) {
  const auto ms = ParseDuration(flags.lease_ttl);
  if (!ms.has_value() || *ms < kMinLeaseTtlMs || *ms > kMaxLeaseTtlMs) {
    return InputError("PGC-USAGE-LEASE-TTL", "--lease-ttl \"" + Printable(flags.lease_ttl) + "\" is not a duration",
                      "use a number with a unit, 1s to 10m, for example 15s");
  }
  return *ms;
}

absl::Status CheckFlags(const Flags& flags, int argc, char** argv) {
  if (flags.store.empty()) {
    return InputError("PGC-USAGE-STORE", "--store is required",
                      "name a PostgreSQL database with --store or PGCONVOY_STORE, or use --store embedded:DIR");
  }
  if (flags.store == kEmbedded) {
    return InputError("PGC-USAGE-STORE", "--store embedded: names no folder", "use --store embedded:DIR");
  }
  if (HasPasswordArgument(argc, argv)) {
    return InputError("PGC-USAGE-PASSWORD", "a password on the command line is visible to every user of this machine",
                      "put the connection string into PGCONVOY_STORE or the --config file, or use a password file");
  }
  PGC_RETURN_IF_ERROR(rpc::CheckSecurity(flags.security, flags.listen));
  const auto plaintext = flags.security.insecure ? std::nullopt : pg::ForbiddenPlaintext(flags.store);
  if (plaintext.has_value()) {
    return InputError("PGC-STORE-SSLMODE",
                      "--store says sslmode=" + *plaintext + ", which takes plaintext from another machine",
                      "write sslmode=verify-full, or say --insecure where nobody else is on the network");
  }
  return LeaseTtl(flags).status();
}

void SayHowSafe(const Flags& flags) {
  if (const absl::Status clock = rpc::CheckClock(Clock::System().NowWall() / 1000); !clock.ok()) {
    log::Warn(Describe(clock));
  }
  if (flags.security.insecure && !rpc::IsLocalAddress(flags.listen)) {
    log::Warn("--insecure: whoever reaches this port can read and change everything, and everything is in plaintext",
              {{"address", flags.listen}});
  }
}

log::Level LevelOf(const std::string& name) {
  return name == "debug"   ? log::Level::kDebug
         : name == "warn"  ? log::Level::kWarn
         : name == "error" ? log::Level::kError
                           : log::Level::kInfo;
}

// ---- waiting for the end ---------------------------------------------------------------------------------------

// Blocks SIGTERM and SIGINT for all threads and makes them readable. Before the first thread starts.
class EndWaiter {
 public:
  EndWaiter() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
    lost_fd_ = eventfd(0, EFD_CLOEXEC);
  }
  ~EndWaiter() {
    ::close(signal_fd_);
    ::close(lost_fd_);
  }
  EndWaiter(const EndWaiter&) = delete;
  EndWaiter& operator=(const EndWaiter&) = delete;

  void LeadLost() { eventfd_write(lost_fd_, 1); }

  int Wait() {
    std::array<pollfd, 2> fds = {{{signal_fd_, POLLIN, 0}, {lost_fd_, POLLIN, 0}}};
    while (::poll(fds.data(), fds.size(), -1) < 0) {
    }
    return (fds[1].revents & POLLIN) != 0 ? kExitLeadLost : kExitOk;
  }

 private:
  int signal_fd_ = -1;
  int lost_fd_ = -1;
};

// ---- the process -----------------------------------------------------------------------------------------------

std::string Holder() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return std::string(host.data()) + ":" + std::to_string(::getpid());
}

// Stops the server of --store=embedded:DIR when the coordinator ends.
struct Embedded {
  std::unique_ptr<pg::LocalCluster> cluster;
  ~Embedded() {
    if (cluster != nullptr) {
      if (const absl::Status status = cluster->Stop("fast"); !status.ok()) {
        log::Warn("the embedded store did not stop", {{"error", Describe(status)}});
      }
    }
  }
};

absl::StatusOr<std::string> StoreConninfo(const std::string& store, Embedded& embedded) {
  if (!store.starts_with(kEmbedded)) {
    return store;
  }
  pg::LocalClusterOptions options;
  options.directory = std::filesystem::absolute(store.substr(kEmbedded.size()));
  PGC_ASSIGN_OR_RETURN(embedded.cluster, pg::LocalCluster::Start(options));
  return embedded.cluster->SocketConninfo();
}

bool WritePortFile(const std::string& path, int port) {
  // Renamed into place, so that who waits for it never reads half a number.
  const std::string temporary = path + ".tmp";
  std::ofstream(temporary) << port << "\n";
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  return !error;
}

int VerifyEvents(const Flags& flags) {
  Embedded embedded;
  const auto conninfo = StoreConninfo(flags.store, embedded);
  if (!conninfo.ok()) {
    return Fail(conninfo.status(), kExitUnavailable);
  }
  const auto report = store::StoreReader(*conninfo, 1).VerifyChain();
  if (!report.ok()) {
    return Fail(report.status(), kExitUnavailable);
  }
  std::cout << report->events << " events in " << report->links << " links, head "
            << (report->head.empty() ? "none" : report->head) << "\n";
  if (!report->problem.empty()) {
    return Fail(MakeError(Verdict::kOperator, "PGC-EVENTS-ALTERED", report->problem), kExitFailure);
  }
  return kExitOk;
}

int Serve(const Flags& flags) {
  EndWaiter waiter;
  Embedded embedded;
  SayHowSafe(flags);
  runtime::Options options;
  options.settings.lease_ttl_ms = *LeaseTtl(flags);
  options.seed = std::random_device{}();
  runtime::Runtime runtime(options);
  // The port before the lead: a coordinator that was started twice by mistake must not end the term of the first.
  auto server = service::Server::Start({.listen = flags.listen,
                                        .health_listen = flags.health_listen,
                                        .security = flags.security,
                                        .on_lead_lost = [&waiter](const absl::Status&) { waiter.LeadLost(); }},
                                       runtime);
  if (!server.ok()) {
    return Fail(server.status(), kExitFailure);
  }
  const auto conninfo = StoreConninfo(flags.store, embedded);
  if (!conninfo.ok()) {
    return Fail(conninfo.status(), kExitUnavailable);
  }
  auto store = store::Store::Open(*conninfo, Holder());
  if (!store.ok()) {
    return Fail(store.status(), CodeOf(store.status()) == "PGC-STORE-CONNINFO" ? kExitUsage : kExitUnavailable);
  }
  auto term = (*store)->Lead(std::nullopt);
  if (!term.ok()) {
    return Fail(term.status(), kExitUnavailable);
  }
  (*server)->UseStore(*conninfo);
  runtime.Start(*std::move(store), *std::move(term), server->get());
  if (!flags.port_file.empty() && !WritePortFile(flags.port_file, (*server)->port())) {
    log::Error("cannot write the port file", {{"path", flags.port_file}});
  }
  log::Info("listening", {{"address", flags.listen}, {"port", std::to_string((*server)->port())}});
  const int exit_code = waiter.Wait();
  log::Info("stopping");
  runtime.Stop();
  (*server)->Stop();
  if (exit_code == kExitLeadLost) {
    std::cerr << "pgconvoy-coordinator: another coordinator leads this store now; this one stops\n";
  }
  return exit_code;
}

int Main(int argc, char** argv) {
  rpc::PrepareProcess();
  Flags flags;
  CLI::App app("Leases batches of PostgreSQL projects to workers and keeps their status.", "pgconvoy-coordinator");
  Declare(app, flags);
  try {
    app.parse(WithEnvironment(kEnvironment, argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);
    }
    return Fail(InputError("PGC-USAGE", Printable(error.what()), "--help shows the flags"), kExitUsage);
  }
  if (flags.print_phase_table) {
    std::cout << core::PhaseTableMarkdown() << "\n```mermaid\n" << core::PhaseTableMermaid() << "```\n";
    return kExitOk;
  }
  if (const absl::Status status = CheckFlags(flags, argc, argv); !status.ok()) {
    return Fail(status, kExitUsage);
  }
  InitCrypto();
  log::Init("coordinator", flags.log_format == "json" ? log::Format::kJson : log::Format::kText,
            LevelOf(flags.log_level));
  return flags.verify_events ? VerifyEvents(flags) : Serve(flags);
}

}  // namespace
}  // namespace pgconvoy

int main(int argc, char** argv) {
  pgconvoy::ForbidCoreDumps();
  return pgconvoy::Main(argc, argv);
}
