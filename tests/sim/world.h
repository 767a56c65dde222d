// What one project has outside the store: its source, its registry row, its target's roles, databases, sessions and
// fence rows, its backups. Objects instead of SQL; each carries what the oracles ask about.
//
// Thread safety: none; every schedule has a world of its own.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/planted.h"
#include "common/model/model.h"

namespace pgconvoy::sim {

inline constexpr int kProjects = 50;
inline constexpr int kWorkers = 8;
inline constexpr int kTargets = 2;
// Per project.
inline constexpr size_t kChunks = 3;

// What the oracles found: the first thing counts, what follows is mostly its consequence.
class Judge {
 public:
  void Fail(const char* oracle, std::string what) {
    if (oracle_ == nullptr) {
      oracle_ = oracle;
      what_ = std::move(what);
    }
  }
  bool failed() const { return oracle_ != nullptr; }
  // Tells what happens, to whoever replays a schedule.
  template <typename... Parts>
  void Tell(const Parts&... parts) const {
    if (tells) {
      std::string line;
      ((line += Text(parts), line += ' '), ...);
      std::puts(line.c_str());
    }
  }
  bool tells = false;
  std::string Verdict() const { return oracle_ == nullptr ? "" : std::string(oracle_) + ": " + what_; }

 private:
  static std::string Text(std::string_view part) { return std::string(part); }
  static std::string Text(int64_t part) { return std::to_string(part); }

  const char* oracle_ = nullptr;
  std::string what_;
};

// Where a project's fence rows are.
enum class Site : uint8_t { kRegistry, kTarget, kSource };
inline constexpr size_t kSites = 3;
constexpr size_t At(Site site) { return static_cast<size_t>(site); }

// A backend. It lives on when its client has died, until somebody ends it.
struct Backend {
  enum class Login : uint8_t { kRegistrar, kProvisioner, kAttempt, kReader, kTransformer };
  int64_t fence = 0;
  Login login = Login::kRegistrar;
  bool ended = false;
};

// Whether what carries the COMMENT of one migration is taken for another one's. What that has made may be in use.
inline bool IsOwnOf(int64_t marked, int64_t migration) {
  return marked != 0 && (marked == migration || PGC_PLANTED(kOwnsOtherMigrations));
}

struct Role {
  bool exists = false;
  // Made by somebody else before.
  bool foreign = false;
  // Its COMMENT: the migration that made it.
  int64_t marked = 0;
  bool can_login = false;
  int64_t password = 0;

  bool Own(int64_t migration) const { return exists && IsOwnOf(marked, migration); }
};

struct AttemptLogin {
  int64_t fence = 0;
  bool can_login = true;
};

struct Database {
  enum class Name : uint8_t { kTemporary, kFinal, kDoomed, kKept };
  struct Chunk {
    // How often its rows are there.
    int copies = 0;
    // Which state of the source they are from, and whose they are.
    int64_t version = 0;
    int tenant = 0;
    // The ledger's row.
    bool recorded = false;
  };
  Name name = Name::kTemporary;
  // In the name; of a database under its final name 0.
  int64_t fence = 0;
  bool foreign = false;
  // Its COMMENT: the migration that made it; 0: none.
  int64_t marked = 0;
  bool invalid = false;
  bool allows_connections = false;
  bool open_to_public = true;
  // The project owns it and its ledger is there.
  bool complete = false;
  bool ledger = false;
  // Fence of the backup that it is loaded from; 0: none yet.
  int64_t backup = 0;
  bool finished = false;
  std::array<Chunk, kChunks> chunks{};
  // What the tenant has written since the cutover.
  int tenant_writes = 0;

  bool Own(int64_t migration) const { return name != Name::kFinal || IsOwnOf(marked, migration); }
};

struct Backup {
  int64_t fence = 0;
  bool sealed = false;
  // Written by a zombie, after a newer attempt had begun; `pgconvoy orphans` lists what is left of it.
  bool late = false;
  int64_t version = 0;
};

// The registry's row: which database and which password the project uses.
struct RegistryRow {
  bool isolated = false;
  int64_t password = 0;
  bool operator==(const RegistryRow&) const = default;
};

// A change of the source's rows where they are, and what its log knows.
struct Transformation {
  int64_t migration = 0;
  // The state of the source in which it left the rows.
  int64_t version = 0;
  bool undone = false;
};

// Who might connect before the cutover, so that it can be put back.
struct Access {
  // Whose record it is; 0: there is none.
  int64_t migration = 0;
  bool shut_out = false;
  // The former login could connect.
  bool taken = false;
};

struct Cutover {
  int64_t migration = 0;
  int64_t fence = 0;
  int64_t credentials_fence = 0;
  RegistryRow before;
  RegistryRow after;
  bool undone = false;
};

// "p07" is 7.
inline size_t IndexOfRef(const std::string& ref) {
  return static_cast<size_t>(ref[1] - '0') * 10 + static_cast<size_t>(ref[2] - '0');
}

// Something is wrong with the project itself, so that it cannot succeed.
enum class Defect : uint8_t {
  kNone,
  kFailsCheck,
  kForeignRole,
  kForeignDatabase,
  kFailsInUse,
  kSourceKeepsChanging,
  kAlwaysBusy
};

struct Project {
  int index = 0;
  std::string ref;
  Defect defect = Defect::kNone;
  // An operator has asked for an end other than success.
  bool steered = false;

  // The source: every committed write of the tenant makes a new version of it.
  int64_t version = 1;
  bool frozen = false;
  bool freeze_row = false;
  // How often each of its rows is changed where it is.
  std::array<int, kChunks> changed{};
  std::vector<Transformation> transformations;
  // The login that the project used until now.
  bool fallback_gets_in = true;
  Access access;
  RegistryRow registry;
  std::vector<Cutover> cutovers;
  Role role;
  std::vector<AttemptLogin> logins;
  std::vector<Database> databases;
  std::vector<Backup> backups;
  std::vector<Backend> backends;
  // Fence rows, and who holds them: index into backends plus one.
  std::array<int64_t, kSites> fence{};
  std::array<uint32_t, kSites> holder{};
  // The fence below which FENCE has shut everybody out, of each site.
  std::array<int64_t, kSites> shut{};
  // Backups of which VERIFY has proven the load, by fence.
  std::vector<int64_t> verified;

  Database* Find(Database::Name name, int64_t fence_in_name = 0) {
    for (Database& database : databases) {
      if (database.name == name && database.fence == fence_in_name) {
        return &database;
      }
    }
    return nullptr;
  }
  Backup* FindBackup(int64_t fence_in_name) {
    for (Backup& backup : backups) {
      if (backup.fence == fence_in_name) {
        return &backup;
      }
    }
    return nullptr;
  }
  AttemptLogin* FindLogin(int64_t fence_in_name) {
    for (AttemptLogin& login : logins) {
      if (login.fence == fence_in_name) {
        return &login;
      }
    }
    return nullptr;
  }
  // Whether anybody is connected to its database.
  bool InUse() const {
    return std::any_of(backends.begin(), backends.end(),
                       [](const Backend& one) { return one.login == Backend::Login::kAttempt && !one.ended; });
  }
  // 0: of any migration.
  Cutover* InForce(int64_t migration) {
    for (Cutover& cutover : cutovers) {
      if (!cutover.undone && (migration == 0 || cutover.migration == migration || PGC_PLANTED(kUndoesOtherCutover))) {
        return &cutover;
      }
    }
    return nullptr;
  }
  Transformation* TransformationInForce(int64_t migration) {
    for (Transformation& one : transformations) {
      if (!one.undone && one.migration == migration) {
        return &one;
      }
    }
    return nullptr;
  }
  // Ends a session: what it had not committed never happens.
  void End(uint32_t backend);
};

}  // namespace pgconvoy::sim
