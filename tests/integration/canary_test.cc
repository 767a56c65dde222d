// No secret, and no row of a tenant, where it does not belong: everything that a full run writes anywhere is gathered
// and searched. Each kind of place is given a planted text first, which the same search must find there.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zstd.h>

#include <unistd.h>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/crypto/crypto.h"
#include "common/pg/connection.h"
#include "common/pg/local_cluster.h"
#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// ---- what is searched, and for what ----------------------------------------------------------------------------

// A text as it is, and as a dump would write bytes.
std::vector<std::string> FormsOf(const std::string& text) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::string hex(text.size() * 2 + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), bytes, text.size());
  hex.pop_back();
  std::string base64(sodium_base64_encoded_len(text.size(), sodium_base64_VARIANT_ORIGINAL_NO_PADDING), '\0');
  sodium_bin2base64(base64.data(), base64.size(), bytes, text.size(), sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
  base64.pop_back();
  // What follows the text changes its last character.
  base64.pop_back();
  return {text, hex, base64};
}

class Haystack {
 public:
  void Add(const std::string& place, const std::string& text) { places_[place] += text + "\n"; }

  // Names of the places that hold the text.
  std::set<std::string> PlacesOf(const std::string& needle) const {
    std::set<std::string> found;
    for (const auto& [place, text] : places_) {
      for (const std::string& form : FormsOf(needle)) {
        if (text.find(form) != std::string::npos) {
          found.insert(place);
        }
      }
    }
    return found;
  }
  std::set<std::string> Places() const {
    std::set<std::string> names;
    for (const auto& [place, text] : places_) {
      names.insert(place);
    }
    return names;
  }
  const std::string& At(const std::string& place) const { return places_.at(place); }

 private:
  std::map<std::string, std::string> places_;
};

std::set<std::string> Without(std::set<std::string> places, const std::set<std::string>& allowed) {
  for (const std::string& place : allowed) {
    places.erase(place);
  }
  return places;
}

std::string Lines(const std::string& zero_separated) {
  std::string text = zero_separated;
  std::replace(text.begin(), text.end(), '\0', '\n');
  return text;
}

// ---- what processes and servers show while they work -----------------------------------------------------------

// Of a process that may end meanwhile, which fails a read that has begun.
std::string ReadOfProcess(const std::string& pid, const std::string& file) {
  const int fd = ::open(("/proc/" + pid + "/" + file).c_str(), O_RDONLY | O_CLOEXEC);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 1; fd >= 0 && n > 0;) {
    n = ::read(fd, buffer.data(), buffer.size());
    text.append(buffer.data(), n > 0 ? static_cast<size_t>(n) : 0);
  }
  if (fd >= 0) {
    ::close(fd);
  }
  return text;
}

pid_t ParentOf(pid_t pid) {
  const std::string stat = ReadOfProcess(std::to_string(pid), "stat");
  const size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(stat.c_str() + name_end + 4));
}

bool IsDescendant(pid_t pid) {
  for (int depth = 0; pid > 1 && depth < 16; ++depth) {
    if (pid == ::getpid()) {
      return true;
    }
    pid = ParentOf(pid);
  }
  return false;
}

// Looks at every process below this one, and at every session of the servers, for as long as it lives.
class Sampler {
 public:
  explicit Sampler(std::map<std::string, PgCluster*> servers) : servers_(std::move(servers)) {
    processes_ = std::thread([this] {
      while (!stopping_) {
        LookAtProcesses();
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
    sessions_ = std::thread([this] {
      while (!stopping_) {
        LookAtSessions();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  }
  ~Sampler() { Stop(); }

  void Stop() {
    stopping_ = true;
    for (std::thread* const thread : {&processes_, &sessions_}) {
      if (thread->joinable()) {
        thread->join();
      }
    }
  }

  void AddTo(Haystack& haystack) {
    const std::lock_guard lock(mutex_);
    for (const auto& [place, texts] : seen_) {
      for (const std::string& text : texts) {
        haystack.Add(place, text);
      }
    }
  }

 private:
  void Saw(const std::string& place, const std::string& text) {
    const std::lock_guard lock(mutex_);
    seen_[place].insert(text);
  }

  void LookAtProcesses() {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      pid_t pid = 0;
      if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size() ||
          pid == ::getpid() || !IsDescendant(pid)) {
        continue;
      }
      const std::string arguments = ReadOfProcess(name, "cmdline");
      if (arguments.empty()) {
        continue;
      }
      Saw("arguments", Lines(arguments));
      const std::string program = fs::path(arguments.substr(0, arguments.find('\0'))).filename();
      const bool daemon = program == "pgconvoy-worker" || program == "pgconvoy-coordinator";
      Saw(daemon ? "environment of daemons" : "environment of others", Lines(ReadOfProcess(name, "environ")));
    }
  }

  void LookAtSessions() {
    for (const auto& [name, server] : servers_) {
      for (const auto& row : server->QueryRows("postgres",
                                               "SELECT concat_ws(' ', usename, application_name, query) FROM "
                                               "pg_stat_activity WHERE pid <> pg_backend_pid()")) {
        Saw("pg_stat_activity of " + name, row[0]);
      }
    }
  }

  const std::map<std::string, PgCluster*> servers_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::map<std::string, std::set<std::string>> seen_;
  std::thread processes_;
  std::thread sessions_;
};

// ---- the run ---------------------------------------------------------------------------------------------------

class Canary : public ::testing::Test {
 protected:
  Canary() {
    for (auto& [name, server] : servers_) {
      server->Exec("postgres", "ALTER SYSTEM SET log_statement = 'all'");
      server->Exec("postgres", "ALTER SYSTEM SET log_min_duration_statement = 0");
      server->Exec("postgres", "ALTER SYSTEM SET log_connections = on");
      if (HasStatistics()) {
        server->Exec("postgres", "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
      }
      // The passwords of the servers' own logins were set before, by the demo's fixture.
      log_begin_[name] = server->log().size();
      server->Restart();
      if (HasStatistics()) {
        server->Exec("postgres", "CREATE EXTENSION pg_stat_statements");
      }
    }
    fleet_.env()["PGCONVOY_LOG_LEVEL"] = "debug";
    WrapDump();
    std::ofstream(KeyFile()) << fleet_.private_key().Reveal();
    ::chmod(KeyFile().c_str(), 0600);
    // One row of each project says who it is.
    for (const std::string& ref : fleet_.refs()) {
      fleet_.source().Exec("platform", "SET session_replication_role = replica; UPDATE auth.users SET email = '" +
                                           tenant_ + "', phone_change = '" + tenant_ +
                                           "' WHERE id = (SELECT min(id::text)::uuid FROM auth.users WHERE "
                                           "project_ref = '" +
                                           ref + "')");
    }
    // That was this test's own doing.
    log_begin_["source"] = fleet_.source().log().size();
    fleet_.StartCoordinator();
    fleet_.StartWorker(planted_);
    EXPECT_TRUE(Eventually([this] { return Cli({"get", "workers"}).out.find(planted_) != std::string::npos; }));
  }

  static bool HasStatistics() {
    const auto postgres = pg::PostgresBinary("postgres");
    return postgres.ok() &&
           fs::exists(fs::path(*postgres).parent_path().parent_path() / "lib" / "pg_stat_statements.so");
  }

  std::string KeyFile() { return fleet_.folder() + "/operator.key"; }

  // In place of pg_dump, a program that writes down what it was given and goes on as pg_dump.
  void WrapDump() {
    const fs::path real = fs::path(*pg::PostgresBinary("pg_dump")).parent_path();
    const fs::path folder = fs::path(fleet_.folder()) / "bin";
    fs::create_directory(folder);
    for (const auto& entry : fs::directory_iterator(real)) {
      fs::create_symlink(entry.path(), folder / entry.path().filename());
    }
    fs::remove(folder / "pg_dump");
    std::ofstream(folder / "pg_dump") << "#!/bin/sh\ncat /proc/$$/environ /proc/$$/cmdline >> " << fleet_.folder()
                                      << "/dump-was-given\nexec " << (real / "pg_dump").string() << " \"$@\"\n";
    ::chmod((folder / "pg_dump").c_str(), 0755);
    fleet_.env()["PGCONVOY_PG_BINDIR"] = folder.string();
  }

  Finished Cli(std::vector<std::string> args, const std::string& place = "") {
    args.insert(args.begin(), {BinaryPath("pgconvoy"), "--address", fleet_.address(), "--no-input"});
    const Finished done = RunToEnd({.argv = args, .env = {{"HOME", fleet_.folder()}}}, std::chrono::seconds(120));
    haystack_.Add(place.empty() ? "command line" : place, done.out + done.err);
    return done;
  }

  // The one command whose output holds a secret, so it is not searched.
  std::string Reveal(const std::string& ref) {
    const Finished done = RunToEnd({.argv = {BinaryPath("pgconvoy"), "--address", fleet_.address(), "-o", "json",
                                             "credentials", "reveal", "1", ref, "--key", KeyFile()},
                                    .env = {{"HOME", fleet_.folder()}}});
    const auto answer = nlohmann::json::parse(done.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(answer.is_object()) << done.err;
    return answer.is_object() ? answer.value("password", "") : "";
  }

  std::string Csv(const std::vector<std::string>& refs) {
    std::string text = "ref\n";
    for (const std::string& ref : refs) {
      text += ref + "\n";
    }
    std::ofstream(fleet_.folder() + "/list.csv") << text;
    return fleet_.folder() + "/list.csv";
  }

  // The shipped plan with a column of auth.users in which the tenant's value cannot stand.
  std::string PlanThatFails(const std::string& column, const std::string& expression) {
    std::string text = ReadFile(plan_);
    const std::string users = "  - table: auth.users\n    where: project_ref = {ref}\n";
    const size_t at = text.find(users);
    EXPECT_NE(at, std::string::npos);
    text.insert(at + users.size(),
                "    columns:\n      - name: " + column + "\n        expression: " + expression + "\n");
    const size_t keep = text.find("on_failure: ROLLBACK");
    EXPECT_NE(keep, std::string::npos);
    std::ofstream(fleet_.folder() + "/fails.yaml") << text;
    return fleet_.folder() + "/fails.yaml";
  }

  void GatherServers() {
    for (const auto& [name, server] : servers_) {
      haystack_.Add("log of " + name, server->log().substr(log_begin_[name]));
      if (HasStatistics()) {
        haystack_.Add("pg_stat_statements of " + name,
                      server->QueryValue("postgres", "SELECT string_agg(query, E'\\n') FROM pg_stat_statements"));
      }
      const Finished dump =
          RunToEnd({.argv = {"/usr/bin/pg_dumpall", "-d", server->SocketConninfo()}}, std::chrono::seconds(120));
      EXPECT_EQ(dump.exit_code, 0) << dump.err;
      haystack_.Add("dump of " + name, dump.out);
    }
  }

  void GatherBackups() {
    for (const auto& entry : fs::recursive_directory_iterator(fleet_.backup_dir())) {
      if (!entry.is_regular_file()) {
        continue;
      }
      const std::string stored = ReadFile(entry.path());
      haystack_.Add("backups", stored);
      if (entry.path().extension() == ".zst") {
        const auto size = ZSTD_getFrameContentSize(stored.data(), stored.size());
        ASSERT_LT(size, size_t{1} << 30) << entry.path();
        std::string raw(size, '\0');
        ASSERT_EQ(ZSTD_decompress(raw.data(), raw.size(), stored.data(), stored.size()), size) << entry.path();
        haystack_.Add("backups", raw);
      }
    }
  }

  void GatherOurs() {
    haystack_.Add("log of the worker", fleet_.WorkerLog(planted_));
    haystack_.Add("log of the coordinator", fleet_.CoordinatorLog());
    haystack_.Add("what pg_dump was given", Lines(ReadFile(fleet_.folder() + "/dump-was-given")));
  }

  // Everything that shows something, as text and as JSON.
  void RunEveryLook() {
    const std::string& ref = fleet_.refs()[0];
    const std::vector<std::vector<std::string>> looks = {
        {"get", "migrations"},
        {"get", "batches", "--migration", "1"},
        {"get", "projects", "--migration", "1"},
        {"get", "workers"},
        {"describe", "migration", "1"},
        {"describe", "project", "1", ref},
        {"validate", "1", "--comprehensive", "--show-details"},
        {"check", plan_},
        {"estimate", plan_},
        {"discover", plan_, "--detailed"},
        {"backup", "list"},
        {"orphans", "list", plan_},
        {"repair", "1", "--project", ref},
        {"audit", "verify"},
        {"submit", plan_, "--projects", Csv({ref}), "--dry-run"},
    };
    for (std::vector<std::string> look : looks) {
      Cli(look);
      look.insert(look.begin(), {"-o", "json"});
      Cli(look, "command line, JSON");
    }
    Cli({"get", "events"}, "events");
    Cli({"-o", "json", "get", "events"}, "events");
    for (const char* const format : {"html", "json", "csv", "md"}) {
      EXPECT_EQ(Cli({"report", "1", "--format", format}, std::string("report, ") + format).exit_code, 0);
    }
  }

  Fleet fleet_{{.projects = 3, .lease_ttl = "30s"}};
  std::map<std::string, PgCluster*> servers_ = {
      {"source", &fleet_.source()}, {"target", &fleet_.target()}, {"store", &fleet_.store()}};
  std::map<std::string, size_t> log_begin_;
  const std::string plan_ = SourceFile("plans/isolate-projects.yaml");
  const std::string planted_ = "planted-" + RandomPassword().Reveal().substr(0, 20);
  // What a tenant's row holds.
  const std::string tenant_ = "jane." + RandomPassword().Reveal().substr(0, 20) + "@canary.example";
  Haystack haystack_;
};

TEST_F(Canary, NoSecretAndNoRowOfATenantIsWhereItDoesNotBelong) {
  const std::string& ref = fleet_.refs()[0];
  std::map<std::string, std::string> secrets = {{"the private key", fleet_.private_key().Reveal()}};
  for (const char* const name : {"PGCONVOY_SHARED_READER_PASSWORD", "PGCONVOY_SHARED_REGISTRAR_PASSWORD",
                                 "PGCONVOY_ISOLATED_PROVISIONER_PASSWORD"}) {
    secrets[name] = fleet_.env().at(name);
  }

  Sampler sampler(servers_);
  std::vector<std::unique_ptr<pg::Connection>> held;
  for (const auto& [name, server] : servers_) {
    // Planted: a statement in the log and the statistics, a session in the activity.
    server->Exec("postgres", "SELECT 1 AS \"" + planted_ + "\"");
    pg::Endpoint endpoint = server->Superuser();
    endpoint.application_name = planted_;
    auto session = pg::Connection::Open(endpoint, {});
    ASSERT_TRUE(session.ok());
    held.push_back(*std::move(session));
  }

  // There, through two changes of the login, and back.
  const Finished submitted = Cli({"submit", plan_, "--projects", Csv({ref, fleet_.refs()[1]}), "--wait"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted.err << fleet_.WorkerLog(planted_);
  secrets["the first password of " + ref] = Reveal(ref);
  secrets["the password of the other project"] = Reveal(fleet_.refs()[1]);
  EXPECT_EQ(Cli({"credentials", "rotate", "--migration", "1", "--projects", ref, "--wait", "--yes"}).exit_code, 0);
  secrets["the second password of " + ref] = Reveal(ref);
  RunEveryLook();
  EXPECT_EQ(Cli({"credentials", "revoke", "--migration", "1", "--projects", ref, "--wait", "--yes"}).exit_code, 0);
  EXPECT_EQ(Cli({"repair", "1", "--project", ref, "--mend"}).exit_code, 0);
  EXPECT_EQ(Cli({"orphans", "clean", plan_}).exit_code, 0);
  // PostgreSQL itself logs the values of rows that it refuses, so its logs are searched for them now.
  for (const auto& [name, server] : servers_) {
    EXPECT_THAT(server->log().substr(log_begin_[name]), Not(HasSubstr(tenant_))) << name;
  }

  // A value that cannot be computed with, one that the target does not take, and a row that it does not: PostgreSQL's
  // errors quote them in message, context and detail.
  const std::string& third = fleet_.refs()[2];
  struct Failing {
    const char* column;
    const char* expression;
    const char* code;
  };
  for (const Failing& failing : {Failing{"phone_change", "(email::integer)::text", "PGC-PG-22P02"},
                                 Failing{"created_at", "email", "PGC-PG-22007"},
                                 Failing{"email_change_confirm_status", "'7'", "PGC-PG-23514"}}) {
    const Finished failed =
        Cli({"submit", PlanThatFails(failing.column, failing.expression), "--projects", Csv({third}), "--wait"});
    EXPECT_EQ(failed.exit_code, 1) << failing.column << failed.out << failed.err;
    const Finished said = Cli({"get", "projects", "--migration", "latest", "-o", "json"}, "events");
    EXPECT_THAT(said.out, HasSubstr(failing.code));
    Cli({"describe", "project", "latest", third}, "events");
    Cli({"report", "latest", "--format", "json"}, "report, json");
  }
  const Finished back = Cli({"rollback", "1", "--project", ref, "--wait", "--yes"});
  EXPECT_EQ(back.exit_code, 0) << back.err;
  Cli({"-o", "json", "get", "events"}, "events");
  sampler.Stop();

  GatherOurs();
  GatherServers();
  ASSERT_NO_FATAL_FAILURE(GatherBackups());
  sampler.AddTo(haystack_);

  // The search finds what there is to be found in each kind of place.
  std::set<std::string> proven = haystack_.PlacesOf(planted_);
  for (const std::string& visible : {ref, tenant_, fleet_.address(), secrets.at("PGCONVOY_SHARED_READER_PASSWORD"),
                                     std::string("PGPASSFILE="), std::string("HOME=")}) {
    proven.merge(haystack_.PlacesOf(visible));
  }
  EXPECT_THAT(Without(haystack_.Places(), proven), IsEmpty()) << "a search of these places proves nothing";
  for (const char* const place :
       {"log of source", "log of target", "log of store", "pg_stat_activity of source", "pg_stat_activity of target",
        "pg_stat_activity of store", "arguments", "dump of store", "command line", "command line, JSON", "events"}) {
    EXPECT_TRUE(haystack_.PlacesOf(planted_).contains(place)) << place;
  }
  if (HasStatistics()) {
    EXPECT_TRUE(haystack_.PlacesOf(planted_).contains("pg_stat_statements of target"));
  }
  EXPECT_TRUE(haystack_.PlacesOf(ref).contains("log of the worker"));
  EXPECT_TRUE(haystack_.PlacesOf(fleet_.address()).contains("log of the coordinator"));
  EXPECT_TRUE(haystack_.PlacesOf(tenant_).contains("backups"));
  EXPECT_TRUE(haystack_.PlacesOf(tenant_).contains("dump of target"));

  // Where the operator has put the passwords of the servers, because workers resolve the plan's ${env:…} there.
  const std::set<std::string> given = {"environment of daemons"};
  for (const auto& [name, secret] : secrets) {
    ASSERT_GE(secret.size(), 40U) << name;
    const bool in_environment = name.starts_with("PGCONVOY_");
    EXPECT_EQ(haystack_.PlacesOf(secret).contains("environment of daemons"), in_environment) << name;
    EXPECT_THAT(Without(haystack_.PlacesOf(secret), in_environment ? given : std::set<std::string>()), IsEmpty())
        << name;
  }
  // Whoever has the file of a backup or the database has the rows.
  const std::set<std::string> tenants_own = {"backups", "dump of source", "dump of target", "log of source",
                                             "log of target"};
  EXPECT_THAT(Without(haystack_.PlacesOf(tenant_), tenants_own), IsEmpty());
  // Every other password, those of attempts' logins too, never leaves a worker's memory: all that servers were told are
  // verifiers.
  for (const auto& [name, server] : servers_) {
    const std::string& log = haystack_.At("log of " + name);
    size_t verifiers = 0;
    for (size_t at = log.find(" PASSWORD "); at != std::string::npos; at = log.find(" PASSWORD ", at + 1)) {
      const std::string value = log.substr(at + 10, 15);
      EXPECT_TRUE(value.starts_with("'SCRAM-SHA-256$") || value.starts_with("NULL")) << name << ": " << value;
      ++verifiers;
    }
    EXPECT_EQ(verifiers > 0, name == "target") << name;
  }
}

// ---- core files ------------------------------------------------------------------------------------------------

std::string CorePattern() { return ReadFile("/proc/sys/kernel/core_pattern"); }

// What is left in a folder by a process that was ended by SIGABRT there, and all that a core file of it would hold.
Haystack Abort(ProcessOptions options, const std::string& folder, const std::function<bool(Process&)>& ready) {
  fs::create_directory(folder);
  options.working_directory = folder;
  Haystack left;
  Process process(options);
  EXPECT_TRUE(Eventually([&] { return ready(process); }));
  process.Kill(SIGABRT);
  EXPECT_EQ(process.Wait(), 128 + SIGABRT);
  for (const auto& entry : fs::directory_iterator(folder)) {
    left.Add("core", ReadFile(entry.path()));
  }
  return left;
}

TEST(CoreFiles, AreNotWrittenByWhateverHandlesPasswords) {
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_CORE, &unlimited) != 0 || CorePattern().find_first_of("|/") != std::string::npos) {
    GTEST_SKIP() << "this machine writes no core files into the working directory: " << CorePattern();
  }
  Fleet fleet({.projects = 1});
  const std::string secret = fleet.env().at("PGCONVOY_ISOLATED_PROVISIONER_PASSWORD");
  fleet.StartCoordinator();

  const auto asleep = [](Process& process) {
    return ReadOfProcess(std::to_string(process.pid()), "cmdline").starts_with("/bin/sleep");
  };
  const Haystack planted =
      Abort({.argv = {"/bin/sleep", "60"}, .env = fleet.env()}, fleet.folder() + "/planted", asleep);
  EXPECT_THAT(planted.PlacesOf(secret), Not(IsEmpty())) << "a core file would have been found";

  const std::string log = fleet.folder() + "/aborted.log";
  const auto connected = [&](Process&) { return ReadFile(log).find("connected") != std::string::npos; };
  const Haystack worker = Abort({.argv = {BinaryPath("pgconvoy-worker"), "--coordinator", fleet.address()},
                                 .env = fleet.env(),
                                 .stdout_path = log,
                                 .stderr_path = log},
                                fleet.folder() + "/worker", connected);
  EXPECT_THAT(worker.Places(), IsEmpty());

  PgClusterOptions durable;
  durable.durable = true;
  const PgCluster store(durable);
  const std::string port_file = fleet.folder() + "/port";
  const auto serves = [&](Process&) { return fs::exists(port_file); };
  const Haystack coordinator = Abort({.argv = {BinaryPath("pgconvoy-coordinator"), "--listen", "127.0.0.1:0",
                                               "--port-file", port_file, "--store", store.SocketConninfo()},
                                      .env = fleet.env()},
                                     fleet.folder() + "/coordinator", serves);
  EXPECT_THAT(coordinator.Places(), IsEmpty());
}

}  // namespace
}  // namespace pgconvoy::testing
