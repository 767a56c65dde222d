#include "tests/support/pg_cluster.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>

#include "common/base/error.h"
#include "tests/support/process.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

// What the template's data folders hold; raise it when InitializeTemplate changes.
constexpr int kTemplateVersion = 1;
constexpr int kStartAttempts = 3;

const std::string kPassword = "postgres-of-the-tests";

void Check(const absl::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(Describe(status));
  }
}

template <typename T>
T Check(absl::StatusOr<T> value) {
  Check(value.status());
  return *std::move(value);
}

// The lowest number that no living cluster of this process uses.
class TemplateIndexes {
 public:
  int Take() {
    const std::lock_guard lock(mutex_);
    int index = 0;
    while (used_.contains(index)) {
      ++index;
    }
    used_.insert(index);
    return index;
  }

  void GiveBack(int index) {
    const std::lock_guard lock(mutex_);
    used_.erase(index);
  }

 private:
  std::mutex mutex_;
  std::set<int> used_;
};

TemplateIndexes& Indexes() {
  static TemplateIndexes indexes;
  return indexes;
}

// Held while a template is made or copied, across processes.
class MachineLock {
 public:
  explicit MachineLock(const std::string& path) : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0 || flock(fd_, LOCK_EX) != 0) {
      throw std::runtime_error("cannot lock " + path);
    }
  }
  ~MachineLock() { close(fd_); }
  MachineLock(const MachineLock&) = delete;
  MachineLock& operator=(const MachineLock&) = delete;

 private:
  int fd_;
};

using PgResult = std::unique_ptr<PGresult, decltype(&PQclear)>;

PgResult Run(const std::string& conninfo, const std::string& sql) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> conn(PQconnectdb(conninfo.c_str()), &PQfinish);
  PQsetNoticeReceiver(
      conn.get(), [](void*, const PGresult*) {}, nullptr);
  PgResult result(PQexec(conn.get(), sql.c_str()), &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
    throw std::runtime_error(PQerrorMessage(conn.get()) + ("in: " + sql));
  }
  return result;
}

// "" for Debian's own.
std::string BinariesOf(int major) {
  const std::string debian = "/usr/lib/postgresql/" + std::to_string(major) + "/bin";
  if (major == 0 || fs::exists(debian)) {
    return major == 0 ? "" : debian;
  }
  const char* const root = std::getenv("PGCONVOY_SOURCE_DIR");
  const char* const cache = std::getenv("PGCONVOY_POSTGRES_DIR");
  const std::string folder = cache != nullptr ? cache : std::string(root == nullptr ? "." : root) + "/build/postgres";
  return fs::absolute(folder).string() + "/" + std::to_string(major) + "/bin";
}

void InitializeTemplate(const std::string& folder, const std::string& binaries) {
  pg::LocalClusterOptions options;
  options.directory = folder;
  options.binaries = binaries;
  options.settings = {"fsync = off"};
  const auto cluster = Check(pg::LocalCluster::Start(options));
  Run(cluster->SocketConninfo(), "ALTER ROLE postgres PASSWORD '" + kPassword + "'");
  Check(cluster->Stop("fast"));
}

// cp keeps the owner, which is not the user that runs the test when that is root.
void CopyFolder(const std::string& from, const std::string& to) {
  const Finished copied = RunToEnd({.argv = {"/bin/cp", "-a", from, to}});
  if (copied.exit_code != 0) {
    throw std::runtime_error("cannot copy " + from + ": " + copied.err);
  }
}

std::string TemplateFolder(int index, const std::string& binaries) {
  const fs::path binary = binaries.empty() ? Check(pg::PostgresBinary("postgres")) : binaries + "/postgres";
  std::string version = fs::path(binary).parent_path().parent_path().filename();
  return "/tmp/pgconvoy-test-template-" + version + "-" + std::to_string(kTemplateVersion) + "-" +
         std::to_string(geteuid()) + "-" + std::to_string(index);
}

void CopyTemplate(int index, const std::string& binaries, const std::string& data) {
  const std::string folder = TemplateFolder(index, binaries);
  const MachineLock lock(folder + ".lock");
  if (!fs::exists(folder)) {
    const std::string fresh = folder + ".new";
    fs::remove_all(fresh);
    InitializeTemplate(fresh, binaries);
    fs::rename(fresh, folder);
  }
  CopyFolder(folder + "/data", data);
}

}  // namespace

bool HasPostgres(int major) {
  const std::string server = BinariesOf(major) + "/postgres";
  if (fs::exists(server)) {
    return true;
  }
  const char* const root = std::getenv("PGCONVOY_SOURCE_DIR");
  const std::string script = std::string(root == nullptr ? "." : root) + "/tests/support/fetch_postgres.sh";
  const Finished fetched = RunToEnd({.argv = {"/bin/bash", script, std::to_string(major)}}, std::chrono::minutes(5));
  std::fputs(fetched.err.c_str(), stderr);
  return fetched.exit_code == 0 && fs::exists(server);
}

PgCluster::PgCluster(const PgClusterOptions& options) : template_index_(Indexes().Take()) {
  pg::LocalClusterOptions local;
  local.directory = folder_.path() + "/pg";
  local.settings = options.settings;
  if (!options.durable) {
    local.settings.insert(local.settings.begin(), {"fsync = off", "full_page_writes = off"});
  }
  fs::create_directory(local.directory);
  local.binaries = BinariesOf(options.major);
  CopyTemplate(template_index_, local.binaries, local.directory + "/data");
  for (int attempt = 1;; ++attempt) {
    // Another process may have taken the port in the meantime.
    local.port = port_ = FreePort();
    auto cluster = pg::LocalCluster::Start(local);
    if (cluster.ok()) {
      cluster_ = *std::move(cluster);
      return;
    }
    if (attempt == kStartAttempts) {
      Check(cluster.status());
    }
  }
}

PgCluster::~PgCluster() {
  if (cluster_ != nullptr) {
    (void)cluster_->Stop("immediate");
  }
  Indexes().GiveBack(template_index_);
}

void PgCluster::Exec(const std::string& database, const std::string& sql) const {
  Run(SocketConninfo(database), sql);
}

std::string PgCluster::QueryValue(const std::string& database, const std::string& sql) const {
  const auto rows = QueryRows(database, sql);
  return rows.empty() || rows[0].empty() ? "" : rows[0][0];
}

std::vector<std::vector<std::string>> PgCluster::QueryRows(const std::string& database,
                                                           const std::string& sql) const {
  const PgResult result = Run(SocketConninfo(database), sql);
  std::vector<std::vector<std::string>> rows(static_cast<size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      rows[static_cast<size_t>(row)].emplace_back(PQgetvalue(result.get(), row, column));
    }
  }
  return rows;
}

pg::Endpoint PgCluster::EndpointFor(const std::string& role,
                                    const std::string& password,
                                    const std::string& database) const {
  return {TcpConninfo(), role, Secret(password), database, "pgconvoy-test"};
}

pg::Endpoint PgCluster::Superuser(const std::string& database) const {
  return EndpointFor("postgres", kPassword, database);
}

std::string PgCluster::TcpConninfo() const { return cluster_->TcpConninfo(); }

std::string PgCluster::SocketConninfo(const std::string& database) const {
  return cluster_->SocketConninfo(database);
}

const std::string& PgCluster::password() const { return kPassword; }

std::string PgCluster::log() const { return ReadFile(cluster_->log_path()); }

void PgCluster::Restart() {
  Stop();
  Start();
}

void PgCluster::Stop(const std::string& mode) { Check(cluster_->Stop(mode)); }

void PgCluster::Start() { Check(cluster_->StartAgain()); }

void PgCluster::Kill() { cluster_->Kill(); }

}  // namespace pgconvoy::testing
