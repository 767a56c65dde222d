#include "worker/phases/dump.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/local_cluster.h"
#include "common/pg/startup.h"
#include "common/plan/secret_ref.h"
#include "common/plan/table_pattern.h"
#include "worker/core/sql.h"
#include "worker/core/toc.h"
#include "worker/phases/scratch_folder.h"

extern char** environ;

namespace pgconvoy::worker {
namespace {

constexpr size_t kMaxComplaint = 500;

// Where a child finds its password file.
constexpr int kPasswordFd = 3;
constexpr char kPasswordPath[] = "/proc/self/fd/3";

// A password file that has no name in any folder, so that nothing is left of it when this process is killed.
class PasswordFile {
 public:
  static absl::StatusOr<PasswordFile> Create(const std::string& line) {
    PasswordFile file(::memfd_create("pgconvoy", MFD_CLOEXEC));
    // libpq refuses a password file that others may read.
    const bool written = file.fd_ >= 0 && ::fchmod(file.fd_, 0600) == 0 &&
                         ::write(file.fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    if (!written) {
      return MakeError(Verdict::kTransient, "PGC-WORKER-TMP", std::string("password file: ") + strerror(errno));
    }
    return file;
  }
  PasswordFile(PasswordFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  PasswordFile& operator=(PasswordFile&&) = delete;
  PasswordFile(const PasswordFile&) = delete;
  PasswordFile& operator=(const PasswordFile&) = delete;
  ~PasswordFile() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int fd() const { return fd_; }

 private:
  explicit PasswordFile(int fd) : fd_(fd) {}
  int fd_;
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in.good()) {
    return MakeError(Verdict::kTransient, "PGC-WORKER-TMP", "cannot read " + path);
  }
  return text.str();
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  return out ? absl::OkStatus() : MakeError(Verdict::kTransient, "PGC-WORKER-TMP", "cannot write " + path);
}

std::string FirstLine(const std::string& text) {
  return Printable(text.substr(0, std::min(text.find('\n'), kMaxComplaint)));
}

// False when the child has not ended after `limit_ms`; 0: it is waited for without end.
bool EndsInTime(pid_t pid, int64_t limit_ms) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    return true;
  }
  pollfd child{fd, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&child, 1, limit_ms == 0 ? -1 : static_cast<int>(limit_ms));
  } while (ready < 0 && errno == EINTR);
  ::close(fd);
  return ready != 0;
}

// What the server or the network may do better next time.
Verdict VerdictOfComplaint(const std::string& complaint) {
  for (const char* const passing :
       {"connection to server", "server closed the connection", "terminating connection", "lock timeout",
        "statement timeout", "deadlock detected", "could not receive data", "could not send data",
        "no connection to the server", "SSL connection has been closed", "SSL SYSCALL error"}) {
    if (complaint.find(passing) != std::string::npos) {
      return Verdict::kTransient;
    }
  }
  return Verdict::kPermanent;
}

// Whether a child may have this variable of ours. The passwords of all servers are among them, whatever they are
// called; and libpq's own variables would bend the connection.
bool MayInherit(const char* variable) {
  constexpr std::array kInherited = {
      "PATH=", "HOME=", "LANG=", "LC_", "TZ=", "TMPDIR=", "LD_", "KRB5", "SSL_CERT_FILE=", "SSL_CERT_DIR="};
  return std::any_of(kInherited.begin(), kInherited.end(), [variable](const char* prefix) {
    return std::strncmp(variable, prefix, std::strlen(prefix)) == 0;
  });
}

// Runs to the end, for `limit_ms` at most; stdout goes to `out_path`, stderr to `err_path`. The child has `password` at
// kPasswordPath, if there is one.
absl::Status Run(const std::vector<std::string>& args,
                 const std::vector<std::string>& extra_env,
                 const std::string& out_path,
                 const std::string& err_path,
                 int64_t limit_ms,
                 const PasswordFile* password = nullptr) {
  std::vector<char*> argv;
  for (const std::string& arg : args) {
    argv.push_back(const_cast<char*>(arg.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<char*> env;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (MayInherit(*variable)) {
      env.push_back(*variable);
    }
  }
  for (const std::string& variable : extra_env) {
    env.push_back(const_cast<char*>(variable.c_str()));
  }
  env.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (password != nullptr) {
    posix_spawn_file_actions_adddup2(&actions, password->fd(), kPasswordFd);
  }
  pid_t pid = 0;
  const int spawned = ::posix_spawn(&pid, args[0].c_str(), &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) {
    return MakeError(Verdict::kPermanent, "PGC-SCHEMA-DUMP", "cannot start " + args[0] + ": " + strerror(spawned));
  }
  const std::string program = std::filesystem::path(args[0]).filename().string();
  const bool in_time = EndsInTime(pid, limit_ms);
  if (!in_time) {
    ::kill(pid, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return absl::OkStatus();
  }
  if (!in_time) {
    return MakeError(Verdict::kTransient, "PGC-SCHEMA-DUMP",
                     program + " did not end within " + std::to_string(limit_ms) + " ms",
                     "look at what the source does; execution.phase_timeout_ms of the plan is how long it may take");
  }
  const auto complaint = ReadFile(err_path);
  const std::string text = complaint.ok() ? *complaint : "no message";
  return MakeError(WIFSIGNALED(status) ? Verdict::kTransient : VerdictOfComplaint(text), "PGC-SCHEMA-DUMP",
                   program + " failed: " + FirstLine(text),
                   "run `pgconvoy plan validate` and see that the reader may read the schema");
}

// A line of a password file: host, port, database and user are wildcards, as the file serves one connection.
std::string PassfileLine(const std::string& password) {
  std::string escaped;
  for (const char c : password) {
    escaped += c == ':' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  }
  return "*:*:*:*:" + escaped + "\n";
}

// 'a''s' in a libpq connection string.
std::string ConninfoValue(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  }
  return out + "'";
}

absl::Status RunDump(Attempt& attempt, const ScratchFolder& scratch, const std::vector<std::string>& schemas) {
  const v1::Server& server = attempt.source_server();
  PGC_ASSIGN_OR_RETURN(const std::string conninfo, ResolveConninfo(server));
  // The database's owner may have set others.
  std::vector<std::string> env = {"PGOPTIONS=" + pg::PinnedOptions(), "PGAPPNAME=" + attempt.names().application_name,
                                  "PGCONNECT_TIMEOUT=10"};
  std::optional<PasswordFile> passfile;
  if (!server.reader().password().empty()) {
    PGC_ASSIGN_OR_RETURN(const Secret password,
                         plan::ResolveSecret(server.reader().password(), /*allow_literal=*/false));
    PGC_ASSIGN_OR_RETURN(PasswordFile file, PasswordFile::Create(PassfileLine(password.Reveal())));
    passfile.emplace(std::move(file));
    env.push_back(std::string("PGPASSFILE=") + kPasswordPath);
  }
  PGC_ASSIGN_OR_RETURN(const std::string pg_dump, pg::PostgresBinary("pg_dump"));
  std::vector<std::string> args = {pg_dump, "--format=custom", "--schema-only", "--no-owner", "--no-privileges",
                                   "--no-publications", "--no-subscriptions", "--no-security-labels",
                                   "--no-tablespaces", "--no-password", "--strict-names",
                                   // It takes lock_timeout back, which PGOPTIONS sets.
                                   "--lock-wait-timeout=10000", "--file=" + scratch.File("schema.dump")};
  if (plan::IsWholeDatabase(attempt.plan())) {
    args.push_back("--exclude-schema=pgconvoy");
  } else {
    for (const std::string& schema : schemas) {
      args.push_back("--schema=" + Ident(schema));
    }
  }
  args.push_back("--dbname=" + conninfo + " user=" + ConninfoValue(server.reader().user()) +
                 " dbname=" + ConninfoValue(attempt.project().source_database));
  return Run(args, env, "/dev/null", scratch.File("dump.err"), attempt.plan().execution().phase_timeout_ms(),
             passfile.has_value() ? &*passfile : nullptr);
}

absl::StatusOr<std::string> Extract(const ScratchFolder& scratch,
                                    const std::string& pg_restore,
                                    const std::string& list,
                                    const std::string& name) {
  const std::string key = "pgconvoy" + RandomHex(16);
  PGC_RETURN_IF_ERROR(WriteFile(scratch.File(name + ".list"), list));
  PGC_RETURN_IF_ERROR(Run({pg_restore, "--no-owner", "--no-privileges", "--restrict-key=" + key,
                           "--use-list=" + scratch.File(name + ".list"), "--file=" + scratch.File(name + ".sql"),
                           scratch.File("schema.dump")},
                          {}, "/dev/null", scratch.File(name + ".err"), /*limit_ms=*/0));
  PGC_ASSIGN_OR_RETURN(const std::string script, ReadFile(scratch.File(name + ".sql")));
  return BodyOfScript(script, key);
}

}  // namespace

absl::Status CheckDumpable(int server_version) {
  PGC_ASSIGN_OR_RETURN(const ScratchFolder scratch, ScratchFolder::Create());
  PGC_ASSIGN_OR_RETURN(const std::string pg_dump, pg::PostgresBinary("pg_dump"));
  PGC_RETURN_IF_ERROR(Run({pg_dump, "--version"}, {}, scratch.File("version"), scratch.File("version.err"), 0));
  PGC_ASSIGN_OR_RETURN(const std::string text, ReadFile(scratch.File("version")));
  // "pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"
  const size_t digits = text.find_first_of("0123456789");
  const auto major = digits == std::string::npos
                         ? std::nullopt
                         : ParseDecimal(std::string_view(text).substr(
                               digits, text.find_first_not_of("0123456789", digits) - digits));
  if (major.has_value() && server_version / 10'000 > *major) {
    return MakeError(Verdict::kPermanent, "PGC-SRC-VERSION",
                     "the source is PostgreSQL " + std::to_string(server_version / 10'000) +
                         ", and the worker's pg_dump is of version " + std::to_string(*major),
                     "install the client programs of the source's version where workers run, and set "
                     "PGCONVOY_PG_BINDIR to their folder");
  }
  return absl::OkStatus();
}

absl::StatusOr<SchemaScripts> DumpSchema(Attempt& attempt,
                                         const std::set<int64_t>& skipped_triggers,
                                         const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const ScratchFolder scratch, ScratchFolder::Create());
  PGC_RETURN_IF_ERROR(RunDump(attempt, scratch, schemas));
  PGC_ASSIGN_OR_RETURN(const std::string pg_restore, pg::PostgresBinary("pg_restore"));
  PGC_RETURN_IF_ERROR(
      Run({pg_restore, "--list", scratch.File("schema.dump")}, {}, scratch.File("toc"), scratch.File("toc.err"), 0));
  PGC_ASSIGN_OR_RETURN(const std::string listing, ReadFile(scratch.File("toc")));
  PGC_ASSIGN_OR_RETURN(const std::vector<TocEntry> entries, ParseToc(listing));
  const SplitToc split = Split(entries, skipped_triggers);
  SchemaScripts scripts;
  PGC_ASSIGN_OR_RETURN(scripts.laid_first, Extract(scratch, pg_restore, split.laid_first, "first"));
  PGC_ASSIGN_OR_RETURN(scripts.added_last, Extract(scratch, pg_restore, split.added_last, "last"));
  return scripts;
}

}  // namespace pgconvoy::worker
