#include "common/pg/local_cluster.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::pg {
namespace {

namespace fs = std::filesystem;

// sizeof(sockaddr_un::sun_path) less the terminating NUL, and "/.s.PGSQL.65535.lock".
constexpr size_t kMaxSocketFolderBytes = 107 - 20;
constexpr int kSocketOnlyPort = 5432;
constexpr char kStartTimeoutS[] = "60";
constexpr std::chrono::seconds kKillTimeout(20);
constexpr size_t kLogTailBytes = 2000;

absl::Status DirError(const std::string& what, const std::string& path, int error) {
  return MakeError(Verdict::kPermanent, "PGC-STORE-DIR", what + " " + path + ": " + std::strerror(error));
}

// The user's alone, because whoever reaches the socket in it is the superuser.
absl::Status TakeFolder(const std::string& path, const OsUser& user) {
  if (chmod(path.c_str(), 0700) != 0 || (user.switch_to && chown(path.c_str(), user.uid, user.gid) != 0)) {
    return DirError("cannot take over", path, errno);
  }
  return absl::OkStatus();
}

// Makes `path`, or takes over an empty folder or one that holds a cluster; never a folder with anything else in it.
absl::Status MakeFolder(const std::string& path, const OsUser& user) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return DirError("cannot make", path, errno);
  }
  const bool usable =
      fs::is_empty(path, error) || fs::exists(path + "/data", error) || fs::exists(path + "/data.new", error);
  if (!usable || !fs::is_directory(path, error)) {
    return MakeError(Verdict::kPermanent, "PGC-STORE-DIR", path + " is not a folder for a cluster",
                     "name a folder that is empty or does not exist yet");
  }
  return TakeFolder(path, user);
}

absl::Status WriteLines(const std::string& path, const std::vector<std::string>& lines, const OsUser& user) {
  std::ofstream file(path, std::ios::trunc);
  for (const std::string& line : lines) {
    file << line << '\n';
  }
  file.close();
  if (!file.good()) {
    return DirError("cannot write", path, errno);
  }
  chmod(path.c_str(), 0600);
  if (user.switch_to && chown(path.c_str(), user.uid, user.gid) != 0) {
    return DirError("cannot give away", path, errno);
  }
  return absl::OkStatus();
}

std::vector<std::string> ReadLines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::string TailOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return text.size() > kLogTailBytes ? text.substr(text.size() - kLogTailBytes) : text;
}

// Every server process of a cluster stands in its data folder.
bool StandsIn(int64_t pid, const std::string& folder) {
  std::error_code error;
  const fs::path cwd = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error);
  return !error && cwd == folder;
}

std::vector<int64_t> ProcessesIn(const std::string& folder) {
  std::vector<int64_t> pids;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    const auto pid = ParseDecimal(entry.path().filename().string());
    if (pid && StandsIn(*pid, folder)) {
      pids.push_back(*pid);
    }
  }
  return pids;
}

// A quoted value, both of postgresql.conf and of a conninfo.
std::string Quoted(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') {
      quoted.push_back('\\');
    }
    quoted.push_back(c);
  }
  return quoted + "'";
}

bool IsExecutable(const fs::path& path) { return access(path.c_str(), X_OK) == 0; }

std::optional<std::string> FindInVersions(const std::string& name) {
  std::optional<std::string> best;
  int64_t best_version = -1;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const int64_t version = ParseDecimal(entry.path().filename().string()).value_or(-1);
    const fs::path candidate = entry.path() / "bin" / name;
    if (version > best_version && IsExecutable(candidate)) {
      best_version = version;
      best = candidate.string();
    }
  }
  return best;
}

std::optional<std::string> FindInPath(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (const fs::path candidate = fs::path(folder) / name; IsExecutable(candidate)) {
      return candidate.string();
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::string> PostgresBinary(const std::string& name) {
  std::optional<std::string> found;
  if (const char* const folder = std::getenv("PGCONVOY_PG_BINDIR"); folder != nullptr && *folder != '\0') {
    const fs::path candidate = fs::path(folder) / name;
    found = IsExecutable(candidate) ? std::optional(candidate.string()) : std::nullopt;
  } else {
    found = FindInVersions(name);
    found = found ? found : FindInPath(name);
  }
  if (!found) {
    return MakeError(Verdict::kPermanent, "PGC-PG-NO-BINARY", "cannot find " + name,
                     "install PostgreSQL's server programs or set PGCONVOY_PG_BINDIR");
  }
  return *found;
}

LocalCluster::LocalCluster(LocalClusterOptions options, OsUser user)
    : options_(std::move(options)),
      user_(std::move(user)),
      port_(options_.port == 0 ? kSocketOnlyPort : options_.port) {}

LocalCluster::~LocalCluster() {
  if (stop_on_destroy_) {
    (void)Stop("fast");
  }
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(const LocalClusterOptions& options) {
  PGC_ASSIGN_OR_RETURN(OsUser user, ClusterUser(options.run_as));
  PGC_RETURN_IF_ERROR(MakeFolder(options.directory, user));
  LocalClusterOptions canonical = options;
  std::error_code error;
  canonical.directory = fs::canonical(options.directory, error).string();
  if (error) {
    return DirError("cannot resolve", options.directory, error.value());
  }
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(canonical), std::move(user)));
  PGC_RETURN_IF_ERROR(cluster->Prepare());
  return cluster;
}

absl::Status LocalCluster::Prepare() {
  if (postmaster_pid() != 0) {
    TakeOver();
    return absl::OkStatus();
  }
  if (std::error_code error; !fs::exists(data() + "/PG_VERSION", error)) {
    PGC_RETURN_IF_ERROR(Initialize());
  }
  return Launch();
}

// Made under another name and renamed, so that a crash leaves no half of a cluster.
absl::Status LocalCluster::Initialize() const {
  const std::string fresh = options_.directory + "/data.new";
  std::error_code error;
  fs::remove_all(fresh, error);
  PGC_ASSIGN_OR_RETURN(const std::string initdb, Binary("initdb"));
  PGC_ASSIGN_OR_RETURN(const CommandOutcome outcome,
                       RunCommand(user_, {initdb, "-D", fresh, "-U", "postgres", "--auth-local=trust",
                                          "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C"}));
  if (outcome.exit_code != 0) {
    return MakeError(Verdict::kPermanent, "PGC-STORE-START", "initdb failed: " + Printable(outcome.output),
                     "every folder above the data folder must be open to the user that runs PostgreSQL");
  }
  std::ofstream(fresh + "/postgresql.conf", std::ios::app) << "include 'pgconvoy.conf'\n";
  fs::rename(fresh, data(), error);
  return error ? DirError("cannot rename", fresh, error.value()) : absl::OkStatus();
}

absl::Status LocalCluster::ChooseSocketFolder() {
  socket_folder_ = options_.directory;
  // A comma would separate two folders, and two hosts in a conninfo.
  if (socket_folder_.size() <= kMaxSocketFolderBytes && socket_folder_.find(',') == std::string::npos) {
    return absl::OkStatus();
  }
  std::string name = "/tmp/pgc-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    return DirError("cannot make", name, errno);
  }
  socket_folder_ = name;
  return TakeFolder(name, user_);
}

absl::Status LocalCluster::Configure() {
  std::vector<std::string> lines = {
      "# Written by pgconvoy at every start. Settings below the include line of postgresql.conf win over these.",
      "listen_addresses = " + Quoted(options_.port == 0 ? "" : "127.0.0.1"),
      "port = " + std::to_string(port_),
      "unix_socket_directories = " + Quoted(socket_folder_),
  };
  lines.insert(lines.end(), options_.settings.begin(), options_.settings.end());
  PGC_RETURN_IF_ERROR(WriteLines(data() + "/pgconvoy.conf", lines, user_));
  const std::vector<std::string> default_hba = {
      "local all postgres trust",
      "local all all scram-sha-256",
      "host all all 127.0.0.1/32 scram-sha-256",
  };
  return WriteLines(data() + "/pg_hba.conf", options_.hba.empty() ? default_hba : options_.hba, user_);
}

// A lock file holds while its number is in use, be it by a stranger or by a zombie that nobody waits for, as in a
// container. A killed postmaster may leave children behind, and then its postmaster.pid still guards the data.
void LocalCluster::RemoveStaleLocks() const {
  if (ProcessesIn(data()).empty()) {
    std::error_code error;
    fs::remove(data() + "/postmaster.pid", error);
    fs::remove(socket_folder_ + "/.s.PGSQL." + std::to_string(port_) + ".lock", error);
  }
}

absl::Status LocalCluster::Launch() {
  PGC_RETURN_IF_ERROR(ChooseSocketFolder());
  RemoveStaleLocks();
  PGC_RETURN_IF_ERROR(Configure());
  absl::Status status = PgCtl({"start", "-w", "-t", kStartTimeoutS, "-l", log_path()}, "PGC-STORE-START");
  if (!status.ok()) {
    return MakeError(Verdict::kPermanent, "PGC-STORE-START",
                     MessageOf(status) + "; end of " + log_path() + ": " + Printable(TailOf(log_path())));
  }
  return absl::OkStatus();
}

// Line 4 of postmaster.pid is the port, line 5 the folder of the socket.
void LocalCluster::TakeOver() {
  const std::vector<std::string> lines = ReadLines(data() + "/postmaster.pid");
  socket_folder_ = lines.size() > 4 && !lines[4].empty() ? lines[4] : options_.directory;
  port_ = lines.size() > 3 ? static_cast<int>(ParseDecimal(lines[3]).value_or(port_)) : port_;
}

absl::Status LocalCluster::PgCtl(const std::vector<std::string>& arguments, const std::string& code) const {
  PGC_ASSIGN_OR_RETURN(const std::string pg_ctl, Binary("pg_ctl"));
  std::vector<std::string> argv = {pg_ctl, "-D", data()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  PGC_ASSIGN_OR_RETURN(const CommandOutcome outcome, RunCommand(user_, argv));
  if (outcome.exit_code != 0) {
    return MakeError(Verdict::kPermanent, code, "pg_ctl " + arguments[0] + " failed: " + Printable(outcome.output));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> LocalCluster::Binary(const std::string& name) const {
  return options_.binaries.empty() ? PostgresBinary(name) : options_.binaries + "/" + name;
}

std::string LocalCluster::data() const { return options_.directory + "/data"; }

std::string LocalCluster::log_path() const { return options_.directory + "/postgres.log"; }

std::string LocalCluster::SocketAddress() const {
  return "host=" + Quoted(socket_folder_) + " port=" + std::to_string(port_);
}

std::string LocalCluster::SocketConninfo(const std::string& database) const {
  return SocketAddress() + " user=postgres dbname=" + Quoted(database);
}

std::string LocalCluster::TcpConninfo() const { return "host=127.0.0.1 port=" + std::to_string(port_); }

absl::Status LocalCluster::Stop(const std::string& mode) {
  absl::Status status = postmaster_pid() == 0
                            ? absl::OkStatus()
                            : PgCtl({"stop", "-w", "-t", kStartTimeoutS, "-m", mode}, "PGC-STORE-STOP");
  if (status.ok() && socket_folder_ != options_.directory) {
    std::error_code error;
    fs::remove_all(socket_folder_, error);
  }
  return status;
}

absl::Status LocalCluster::StartAgain() { return Prepare(); }

void LocalCluster::Kill() {
  const int pid = postmaster_pid();
  if (pid != 0) {
    kill(pid, SIGKILL);
  }
  const auto deadline = std::chrono::steady_clock::now() + kKillTimeout;
  while (!ProcessesIn(data()).empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const int64_t child : ProcessesIn(data())) {
    kill(static_cast<pid_t>(child), SIGKILL);
  }
}

int LocalCluster::postmaster_pid() const {
  const std::vector<std::string> lines = ReadLines(data() + "/postmaster.pid");
  const int64_t pid = lines.empty() ? 0 : ParseDecimal(lines[0]).value_or(0);
  return pid > 0 && StandsIn(pid, data()) ? static_cast<int>(pid) : 0;
}

}  // namespace pgconvoy::pg
