#include <algorithm>

#include "common/base/planted.h"
#include "tests/sim/operation.h"
#include "tests/sim/payload.h"
#include "tests/sim/phases.h"
#include "worker/core/takeover.h"

namespace pgconvoy::sim {
namespace {

using Login = Backend::Login;
using Name = Database::Name;

constexpr OpSpec kRead{Site::kRegistry, Login::kReader, Mode::kStatement, 20};

// ---- PRE_VALIDATION, FREEZE --------------------------------------------------------------------------------------

Task RunPreValidation(Attempt& attempt) {
  SIM_TRY(attempt.Do(kRead, [](Project& project) {
    if (project.defect == Defect::kAlwaysBusy) {
      return Fail(Verdict::kTransient, "PGC-PG-BUSY");
    }
    return project.defect == Defect::kFailsCheck ? Fail(Verdict::kPermanent, "PGC-CHECK-FAILED") : Outcome();
  }));
  co_return Outcome();
}

Task RunFreeze(Attempt& attempt) {
  SIM_TRY(attempt.Intent('F', 0));
  SIM_TRY(attempt.Fenced(Site::kRegistry, [](Project& project) {
    if (!project.freeze_row) {
      project.freeze_row = true;
      project.frozen = !PGC_PLANTED(kSkipFreeze);
    }
    return Outcome();
  }));
  co_return Outcome();
}

// ---- CREDENTIALS -------------------------------------------------------------------------------------------------

auto SetRole(Attempt& attempt, int64_t password) {
  return attempt.Fenced(Site::kTarget,
                        [password, migration = attempt.migration(), &sim = attempt.sim()](Project& project) {
                          Role& role = project.role;
                          if (worker::DecideRole(role.exists, role.Own(migration)) == worker::RoleAction::kForeign) {
                            return Fail(Verdict::kOperator, "PGC-CRED-EXISTS");
                          }
                          if (role.exists && role.marked != migration) {
                            sim.judge.Fail("O7", "a role that somebody else has made was taken over: " + project.ref);
                          }
                          if (!sim.store.HasSealed(project.ref, password)) {
                            sim.judge.Fail("O9", "a role got a password that nobody can open: " + project.ref);
                          }
                          role = {true, false, migration, true, password};
                          return Outcome();
                        });
}

// What the former login could do is written down before it changes.
auto NoteAccess(Attempt& attempt) {
  return attempt.Fenced(Site::kTarget, [migration = attempt.migration()](Project& project) {
    if (project.access.migration != migration) {
      project.access = {migration, false, false};
    }
    return Outcome();
  });
}

Task RunCredentials(Attempt& attempt) {
  const int64_t password = attempt.sim().NextPassword();
  if (PGC_PLANTED(kSealAfterRole)) {
    SIM_TRY(SetRole(attempt, password));
  }
  SIM_TRY(attempt.Intent(PGC_PLANTED(kPlainPasswordInIntent) ? kPlainSecret : 'R', password));
  SIM_TRY(SetRole(attempt, password));
  if (attempt.sim().config.has_fallback) {
    SIM_TRY(NoteAccess(attempt));
  }
  SIM_TRY(attempt.Statement(Site::kTarget, [password](Project& project) {
    const bool works = project.role.can_login && project.role.password == password;
    return works ? Outcome() : Fail(Verdict::kPermanent, "PGC-PG-AUTH");
  }));
  attempt.AddResult(Phase::kCredentials, password);
  co_return Outcome();
}

// ---- PROVISION ---------------------------------------------------------------------------------------------------

Task TakeOverLeftovers(Attempt& attempt, bool& finished) {
  SIM_TRY(attempt.Statement(Site::kTarget, [](Project&) { return Outcome(); }));
  const std::vector<Database> found = attempt.project().databases;
  int dropped = 0;
  for (const Database& database : found) {
    if (database.name == Name::kKept) {
      continue;
    }
    const worker::FoundDatabase facts{database.name == Name::kFinal, database.Own(attempt.migration()),
                                      database.invalid, !database.allows_connections};
    bool complete = false;
    if (worker::MayBeComplete(facts)) {
      SIM_TRY(EnsureLogin(attempt));
      SIM_TRY(attempt.Do({Site::kTarget, Login::kAttempt, Mode::kStatement}, [](Project&) { return Outcome(); }));
      complete = database.complete;
    }
    const worker::DatabaseAction action = worker::DecideDatabase(facts, complete);
    finished = finished || action == worker::DatabaseAction::kKeep;
    if (action == worker::DatabaseAction::kForeign) {
      co_return Fail(Verdict::kOperator, "PGC-DB-EXISTS");
    }
    if (action == worker::DatabaseAction::kDrop) {
      attempt.CloseTarget();
      attempt.has_login = false;
      SIM_TRY(DoomAndDrop(attempt, database.name, database.fence, dropped++));
    }
  }
  co_return Outcome();
}

// Nothing but its name keeps the CREATE DATABASE of an older attempt from harm.
auto CreateDatabase(Attempt& attempt) {
  return attempt.Do({Site::kTarget, Login::kProvisioner, Mode::kStatement, 40},
                    [fence = attempt.fence()](Project& project) {
                      Database database;
                      database.name = PGC_PLANTED(kCreateUnderFinalName) ? Name::kFinal : Name::kTemporary;
                      database.fence = PGC_PLANTED(kCreateUnderFinalName) ? 0 : fence;
                      if (project.Find(database.name, database.fence) != nullptr) {
                        return Fail(Verdict::kPermanent, "PGC-PG-EXISTS");
                      }
                      project.databases.push_back(database);
                      return Outcome();
                    });
}

auto NameDatabase(Attempt& attempt) {
  return attempt.Fenced(Site::kTarget, [fence = attempt.fence(), migration = attempt.migration()](Project& project) {
    Database* const database =
        PGC_PLANTED(kCreateUnderFinalName) ? project.Find(Name::kFinal) : project.Find(Name::kTemporary, fence);
    if (database == nullptr || (project.Find(Name::kFinal) != nullptr && !PGC_PLANTED(kCreateUnderFinalName))) {
      return Fail(Verdict::kPermanent, "PGC-PG-NO-DATABASE");
    }
    database->name = Name::kFinal;
    database->fence = 0;
    database->marked = migration;
    database->allows_connections = true;
    database->open_to_public = false;
    return Outcome();
  });
}

Task RunProvision(Attempt& attempt) {
  bool finished = false;
  SIM_TRY(TakeOverLeftovers(attempt, finished));
  if (finished) {
    co_return Outcome();
  }
  SIM_TRY(EnsureLogin(attempt));
  SIM_TRY(attempt.Intent('D', attempt.fence()));
  SIM_TRY(CreateDatabase(attempt));
  SIM_TRY(NameDatabase(attempt));
  SIM_TRY(attempt.OwnLogin([](Project& project) {
    Database* const database = project.Find(Name::kFinal);
    if (database == nullptr) {
      return Fail(Verdict::kPermanent, "PGC-PG-NO-DATABASE");
    }
    database->complete = true;
    database->ledger = true;
    return Outcome();
  }));
  SIM_TRY(attempt.Fenced(Site::kTarget, [](Project&) { return Outcome(); }));
  co_return Outcome();
}

// ---- BACKUP, COPY ------------------------------------------------------------------------------------------------

Task RunBackup(Attempt& attempt) {
  const int64_t fence = attempt.fence();
  SIM_TRY(attempt.Intent('B', fence));
  // The server reads; it is the client that writes, also one that slept meanwhile.
  SIM_TRY(attempt.Do(kRead, [](Project&) { return Outcome(); }));
  Project& project = attempt.project();
  const bool late = fence < *std::max_element(project.shut.begin(), project.shut.end());
  project.backups.push_back({fence, false, late, project.version});
  SIM_TRY(attempt.Do(kRead, [](Project&) { return Outcome(); }));
  Backup* const written = project.FindBackup(fence);
  if (written == nullptr) {
    // A rollback has removed it meanwhile.
    co_return Fail(Verdict::kTransient, "PGC-BACKUP-IO");
  }
  written->sealed = true;
  attempt.AddResult(Phase::kBackup, fence);
  co_return Outcome();
}

// The transaction that begins the load of a backup empties what another one has left.
auto BeginLoad(Attempt& attempt, int64_t backup) {
  return attempt.OwnLogin([backup, &sim = attempt.sim()](Project& project) {
    if (!sim.store.HasResult(project.ref, Phase::kBackup, backup)) {
      sim.judge.Fail("O4", "a backup was loaded that the store does not know of: " + project.ref);
    }
    Database& database = *project.Find(Name::kFinal);
    if (!database.ledger) {
      return Fail(Verdict::kPermanent, "PGC-PG-NO-TABLE");
    }
    if (database.backup != backup) {
      database.chunks = {};
      database.backup = backup;
      database.finished = false;
    }
    return Outcome();
  });
}

auto LoadChunk(Attempt& attempt, size_t chunk, int64_t backup) {
  return attempt.OwnLogin([chunk, backup](Project& project) {
    Database::Chunk& loaded = project.Find(Name::kFinal)->chunks[chunk];
    if (loaded.recorded && !PGC_PLANTED(kNoLedgerRead)) {
      return Fail(Verdict::kPermanent, "PGC-PG-DUPLICATE");
    }
    ++loaded.copies;
    loaded.version = project.FindBackup(backup)->version;
    loaded.tenant = PGC_PLANTED(kCopyOtherTenant) ? (project.index + 1) % kProjects : project.index;
    loaded.recorded = !PGC_PLANTED(kLedgerOutsideTransaction);
    return Outcome();
  });
}

Task RunCopy(Attempt& attempt) {
  const StoredResult* const sealed = attempt.Result(Phase::kBackup);
  const Backup* const backup = sealed == nullptr ? nullptr : attempt.project().FindBackup(sealed->value);
  if (backup == nullptr || !backup->sealed) {
    co_return Fail(Verdict::kPermanent, "PGC-BACKUP-MISSING");
  }
  const int64_t id = backup->fence;
  SIM_TRY(EnsureLogin(attempt));
  SIM_TRY(BeginLoad(attempt, id));
  SIM_TRY(attempt.Do({Site::kTarget, Login::kAttempt, Mode::kStatement}, [](Project&) { return Outcome(); }));
  const size_t last = kChunks - (PGC_PLANTED(kSkipLastChunk) ? 1 : 0);
  for (size_t chunk = 0; chunk < last; ++chunk) {
    const Database* const database = attempt.project().Find(Name::kFinal);
    if (database != nullptr && database->chunks[chunk].recorded && !PGC_PLANTED(kNoLedgerRead)) {
      continue;
    }
    SIM_TRY(LoadChunk(attempt, chunk, id));
    if (PGC_PLANTED(kLedgerOutsideTransaction)) {
      SIM_TRY(attempt.OwnLogin([chunk](Project& project) {
        project.Find(Name::kFinal)->chunks[chunk].recorded = true;
        return Outcome();
      }));
    }
    if (const Outcome stop = attempt.Checkpoint(); !stop.ok) {
      co_return stop;
    }
  }
  co_return Outcome();
}

// ---- TRANSFORM -------------------------------------------------------------------------------------------------

// Rows and their log's record commit together, so that they are changed once.
Outcome ChangeRows(Project& project, int64_t migration) {
  if (project.TransformationInForce(migration) != nullptr && !PGC_PLANTED(kTransformRecordNotRead)) {
    return Outcome();
  }
  for (int& times : project.changed) {
    ++times;
  }
  if (!PGC_PLANTED(kTransformRecordLater)) {
    project.transformations.push_back({migration, project.version, false});
  }
  return Outcome();
}

Task RunTransform(Attempt& attempt) {
  const StoredResult* const sealed = attempt.Result(Phase::kBackup);
  const Backup* const backup = sealed == nullptr ? nullptr : attempt.project().FindBackup(sealed->value);
  if (backup == nullptr || !backup->sealed) {
    co_return Fail(Verdict::kPermanent, "PGC-BACKUP-MISSING");
  }
  SIM_TRY(attempt.Statement(Site::kSource, [](Project&) { return Outcome(); }));
  SIM_TRY(attempt.Fenced(Site::kSource, [migration = attempt.migration(), version = backup->version,
                                         frozen = attempt.sim().config.has_freeze](Project& project) {
    const bool dirty = frozen && project.version != version;
    return dirty && project.TransformationInForce(migration) == nullptr
               ? Fail(Verdict::kPermanent, "PGC-TRANSFORM-DIRTY")
               : ChangeRows(project, migration);
  }));
  if (PGC_PLANTED(kTransformRecordLater)) {
    SIM_TRY(attempt.Fenced(Site::kSource, [migration = attempt.migration()](Project& project) {
      if (project.TransformationInForce(migration) == nullptr) {
        project.transformations.push_back({migration, project.version, false});
      }
      return Outcome();
    }));
  }
  co_return Outcome();
}

bool IsChangedOnce(const Project& project) {
  return std::all_of(project.changed.begin(), project.changed.end(), [](int times) { return times == 1; });
}

Task VerifyTransformation(Attempt& attempt) {
  SIM_TRY(attempt.Statement(Site::kSource, [migration = attempt.migration()](Project& project) {
    return project.TransformationInForce(migration) != nullptr ? Outcome()
                                                               : Fail(Verdict::kPermanent, "PGC-VERIFY-DIFFERS");
  }));
  attempt.AddResult(Phase::kVerify, 0);
  co_return Outcome();
}

// ---- VERIFY, CUTOVER ---------------------------------------------------------------------------------------------

Task RunVerify(Attempt& attempt) {
  if (attempt.sim().config.has_transform) {
    co_return co_await VerifyTransformation(attempt);
  }
  const StoredResult* const sealed = attempt.Result(Phase::kBackup);
  const int64_t id = sealed == nullptr ? 0 : sealed->value;
  SIM_TRY(EnsureLogin(attempt));
  SIM_TRY(attempt.Do({Site::kTarget, Login::kAttempt, Mode::kStatement, 20}, [id](Project& project) {
    const Database* const database = project.Find(Name::kFinal);
    const bool same = database != nullptr && IsLoadOf(project, *database, id);
    return same ? Outcome() : Fail(Verdict::kPermanent, "PGC-VERIFY-DIFFERS");
  }));
  SIM_TRY(attempt.OwnLogin([id](Project& project) {
    project.Find(Name::kFinal)->finished = true;
    project.verified.push_back(id);
    return Outcome();
  }));
  attempt.AddResult(Phase::kVerify, id);
  co_return Outcome();
}

// Only a database that was proven to hold exactly the project's rows is shown to users.
void JudgeCutover(Simulation& sim, Project& project, int64_t migration, int64_t credentials) {
  if (sim.config.has_credentials && !sim.store.HasResult(project.ref, Phase::kCredentials, credentials)) {
    sim.judge.Fail("O4", "the registry was switched to credentials that the store does not know of: " + project.ref);
  }
  if (project.InForce(0) != nullptr) {
    sim.judge.Fail("O4", "the registry was switched twice: " + project.ref);
  }
  const Database* const database = project.Find(Name::kFinal);
  const bool moves = sim.config.has_target;
  if (moves &&
      (database == nullptr || database->foreign || !database->complete || !database->finished ||
       std::find(project.verified.begin(), project.verified.end(), database->backup) == project.verified.end())) {
    sim.judge.Fail("O4", "the registry was switched to a database that was not verified: " + project.ref);
  }
  if (sim.config.has_transform && (project.TransformationInForce(migration) == nullptr || !IsChangedOnce(project))) {
    sim.judge.Fail("O4", "the registry was switched to rows that are not changed once: " + project.ref);
  }
  if (sim.config.has_credentials && (!project.role.can_login || project.role.foreign)) {
    sim.judge.Fail("O4", "the registry was switched to a role that cannot log in: " + project.ref);
  }
}

auto Switch(Attempt& attempt) {
  const StoredResult* const credentials = attempt.Result(Phase::kCredentials);
  const int64_t password = credentials == nullptr ? 0 : credentials->value;
  const int64_t made_by = credentials == nullptr ? 0 : credentials->key.fence;
  return attempt.Fenced(Site::kRegistry, [password, made_by, migration = attempt.migration(), fence = attempt.fence(),
                                          &sim = attempt.sim()](Project& project) {
    JudgeCutover(sim, project, migration, made_by);
    const RegistryRow after{true, password};
    project.cutovers.push_back({migration, fence, made_by, project.registry, after, false});
    project.registry = after;
    return Outcome();
  });
}

auto CheckSource(Attempt& attempt, int64_t backup) {
  return attempt.Do(kRead, [backup](Project& project) {
    if (project.defect == Defect::kSourceKeepsChanging) {
      ++project.version;
    }
    const bool same = project.version == project.FindBackup(backup)->version || PGC_PLANTED(kSkipSourceCheck);
    return same ? Outcome() : Fail(Verdict::kPermanent, "PGC-CUT-SOURCE-DIRTY");
  });
}

// With CONNECT goes the record of who had it: what another attempt finds is not what there was.
auto ShutOutFallback(Attempt& attempt) {
  return attempt.Fenced(Site::kTarget, [migration = attempt.migration()](Project& project) {
    Access& access = project.access;
    if (access.migration != migration) {
      return Fail(Verdict::kOperator, "PGC-CRED-RECORD");
    }
    if (!access.shut_out || PGC_PLANTED(kFallbackRecordOverwritten)) {
      access.taken = project.fallback_gets_in;
      access.shut_out = !PGC_PLANTED(kFallbackRecordLater);
      project.fallback_gets_in = false;
    }
    return Outcome();
  });
}

Task KeepFallbackOut(Attempt& attempt) {
  if (!attempt.sim().config.has_fallback) {
    co_return Outcome();
  }
  SIM_TRY(ShutOutFallback(attempt));
  if (PGC_PLANTED(kFallbackRecordLater)) {
    SIM_TRY(attempt.Fenced(Site::kTarget, [](Project& project) {
      project.access.shut_out = true;
      return Outcome();
    }));
  }
  co_return Outcome();
}

Task RunCutover(Attempt& attempt) {
  const bool moves = attempt.sim().config.has_target;
  const StoredResult* const sealed = attempt.Result(Phase::kBackup);
  const StoredResult* const verified = attempt.Result(Phase::kVerify);
  if (moves && (sealed == nullptr || verified == nullptr || sealed->value != verified->value)) {
    co_return Fail(Verdict::kPermanent, "PGC-CUT-UNVERIFIED");
  }
  const int64_t id = sealed == nullptr ? 0 : sealed->value;
  SIM_TRY(attempt.Statement(Site::kRegistry, [](Project&) { return Outcome(); }));
  if (attempt.project().InForce(attempt.migration()) != nullptr && !PGC_PLANTED(kCutoverTwice)) {
    co_return co_await KeepFallbackOut(attempt);
  }
  if (moves) {
    SIM_TRY(CheckSource(attempt, id));
  }
  if (const Outcome stop = attempt.Checkpoint(); !stop.ok) {
    co_return stop;
  }
  SIM_TRY(Switch(attempt));
  co_return co_await KeepFallbackOut(attempt);
}

// ---- POST_VALIDATION, CLEANUP --------------------------------------------------------------------------------------

Task RunPostValidation(Attempt& attempt) {
  const Site site = attempt.sim().config.has_credentials ? Site::kTarget : Site::kSource;
  SIM_TRY(attempt.Statement(site, [](Project& project) {
    return project.defect == Defect::kFailsInUse ? Fail(Verdict::kPermanent, "PGC-CHECK-FAILED") : Outcome();
  }));
  co_return Outcome();
}

Task RunCleanup(Attempt& attempt) {
  const Config& config = attempt.sim().config;
  if (config.has_target) {
    SIM_TRY(EnsureLogin(attempt));
    SIM_TRY(attempt.OwnLogin([](Project& project) {
      project.Find(Name::kFinal)->ledger = false;
      return Outcome();
    }));
    attempt.CloseTarget();
  }
  if (config.has_credentials) {
    SIM_TRY(DropLogin(attempt));
  }
  SIM_TRY(Thaw(attempt));
  co_return Outcome();
}

}  // namespace

Task RunPhase(Attempt& attempt, Phase phase) {
  if (attempt.direction() == Direction::kRollback) {
    return UndoPhase(attempt, phase);
  }
  switch (phase) {
    case Phase::kFence: return RunFence(attempt);
    case Phase::kPreValidation: return RunPreValidation(attempt);
    case Phase::kFreeze: return RunFreeze(attempt);
    case Phase::kCredentials: return RunCredentials(attempt);
    case Phase::kProvision: return RunProvision(attempt);
    case Phase::kBackup: return RunBackup(attempt);
    case Phase::kCopy: return RunCopy(attempt);
    case Phase::kVerify: return RunVerify(attempt);
    case Phase::kCutover: return RunCutover(attempt);
    case Phase::kPostValidation: return RunPostValidation(attempt);
    case Phase::kTransform: return RunTransform(attempt);
    case Phase::kCleanup: break;
  }
  return RunCleanup(attempt);
}

}  // namespace pgconvoy::sim
