#include <algorithm>

#include "common/base/planted.h"
#include "tests/sim/operation.h"
#include "tests/sim/phases.h"
#include "worker/core/takeover.h"

namespace pgconvoy::sim {
namespace {

using Login = Backend::Login;
using Name = Database::Name;

auto SetLogin(Attempt& attempt, bool allowed) {
  return attempt.Fenced(Site::kTarget, [allowed](Project& project) {
    project.role.can_login = allowed;
    return Outcome();
  });
}

// What the tenant wrote is kept under names that nobody uses.
auto SetAside(Attempt& attempt) {
  return attempt.Fenced(Site::kTarget, [fence = attempt.fence()](Project& project) {
    Database* const database = project.Find(Name::kFinal);
    if (database == nullptr) {
      return Fail(Verdict::kPermanent, "PGC-PG-NO-DATABASE");
    }
    database->name = Name::kKept;
    database->fence = fence;
    project.role = {};
    return Outcome();
  });
}

Task StopUnlessWritten(Attempt& attempt) {
  SIM_TRY(attempt.Statement(Site::kTarget, [](Project&) { return Outcome(); }));
  const Database* const found = attempt.project().Find(Name::kFinal);
  if (found == nullptr) {
    co_return Outcome();
  }
  if (!found->Own(attempt.migration())) {
    co_return Fail(Verdict::kOperator, "PGC-ROLLBACK-FOREIGN");
  }
  SIM_TRY(SetLogin(attempt, false));
  SIM_TRY(attempt.Fenced(Site::kTarget, [](Project& project) {
    if (Database* const database = project.Find(Name::kFinal)) {
      database->allows_connections = true;
    }
    return Outcome();
  }));
  SIM_TRY(EnsureLogin(attempt));
  const Outcome compared =
      co_await attempt.Do({Site::kTarget, Login::kAttempt, Mode::kStatement, 20}, [](Project&) { return Outcome(); });
  attempt.CloseTarget();
  const Database* const database = attempt.project().Find(Name::kFinal);
  const StoredResult* const verified = attempt.Result(Phase::kVerify);
  const bool written =
      verified == nullptr || database == nullptr || !IsLoadOf(attempt.project(), *database, verified->value);
  if (compared.ok && written && database != nullptr && database->tenant_writes == 0) {
    attempt.sim().judge.Fail("O10", "a rollback stopped for writes that nobody made: " + attempt.project().ref);
  }
  switch (worker::DecideWrites(compared.ok, compared.ok && written, attempt.discard_writes())) {
    case worker::WritesAction::kGoOn: co_return Outcome();
    case worker::WritesAction::kSetAside: {
      SIM_TRY(SetAside(attempt));
      co_return Outcome();
    }
    case worker::WritesAction::kGiveBack: break;
  }
  SIM_TRY(SetLogin(attempt, true));
  co_return compared.ok ? Fail(Verdict::kOperator, "PGC-ROLLBACK-WRITES") : compared;
}

Task LetFallbackIn(Attempt& attempt) {
  if (!attempt.sim().config.has_fallback || PGC_PLANTED(kFallbackStaysOut)) {
    co_return Outcome();
  }
  SIM_TRY(attempt.Fenced(Site::kTarget, [migration = attempt.migration()](Project& project) {
    Access& access = project.access;
    const bool own = access.migration == migration || PGC_PLANTED(kLetsInForOtherMigration);
    if (own && access.shut_out) {
      project.fallback_gets_in = access.taken;
      access.shut_out = false;
    }
    return Outcome();
  }));
  co_return Outcome();
}

Task UndoCutover(Attempt& attempt) {
  SIM_TRY(attempt.Statement(Site::kRegistry, [](Project&) { return Outcome(); }));
  const Cutover* const record = attempt.project().InForce(attempt.migration());
  if (record == nullptr) {
    co_return co_await LetFallbackIn(attempt);
  }
  if (attempt.project().registry != record->after) {
    co_return Fail(Verdict::kOperator, "PGC-ROLLBACK-REGISTRY");
  }
  if (attempt.sim().config.has_target) {
    SIM_TRY(StopUnlessWritten(attempt));
  }
  SIM_TRY(LetFallbackIn(attempt));
  SIM_TRY(attempt.Fenced(Site::kRegistry, [migration = attempt.migration()](Project& project) {
    Cutover* const cutover = project.InForce(migration);
    if (cutover == nullptr || project.registry != cutover->after) {
      return Fail(Verdict::kOperator, "PGC-ROLLBACK-REGISTRY");
    }
    project.registry = cutover->before;
    cutover->undone = true;
    return Outcome();
  }));
  co_return Outcome();
}

// The log's rows, unless a tenant has written to them since.
Task UndoTransform(Attempt& attempt) {
  SIM_TRY(attempt.Fenced(Site::kSource, [migration = attempt.migration(), discard = attempt.discard_writes(),
                                         &sim = attempt.sim()](Project& project) {
    Transformation* const record = project.TransformationInForce(migration);
    if (record == nullptr) {
      return Outcome();
    }
    if (project.version != record->version && !discard) {
      if (!PGC_PLANTED(kUndoneOverTenantWrites)) {
        return Fail(Verdict::kOperator, "PGC-ROLLBACK-WRITES");
      }
      sim.judge.Fail("O7", "rows that a tenant has written to were put back: " + project.ref);
    }
    for (int& times : project.changed) {
      --times;
    }
    record->undone = !PGC_PLANTED(kUndoesTransformTwice);
    return Outcome();
  }));
  co_return Outcome();
}

Task UndoProvision(Attempt& attempt) {
  attempt.CloseTarget();
  if (!attempt.sim().config.has_cutover && attempt.Result(Phase::kVerify) != nullptr) {
    SIM_TRY(StopUnlessWritten(attempt));
  }
  SIM_TRY(attempt.Statement(Site::kTarget, [](Project&) { return Outcome(); }));
  const std::vector<Database> found = attempt.project().databases;
  int dropped = 0;
  for (const Database& database : found) {
    if (database.Own(attempt.migration()) && database.name != Name::kKept) {
      SIM_TRY(DoomAndDrop(attempt, database.name, database.fence, dropped++));
    }
  }
  co_return Outcome();
}

Task UndoCredentials(Attempt& attempt) {
  SIM_TRY(attempt.Statement(Site::kTarget, [](Project&) { return Outcome(); }));
  const Role& role = attempt.project().role;
  if (!role.Own(attempt.migration()) || PGC_PLANTED(kRollbackLeavesRole)) {
    co_return Outcome();
  }
  SIM_TRY(SetLogin(attempt, false));
  SIM_TRY(attempt.Fenced(Site::kTarget, [fence = attempt.fence()](Project& project) {
    std::erase_if(project.logins, [fence](const AttemptLogin& login) { return login.fence == fence; });
    project.role = {};
    project.access = {};
    return Outcome();
  }));
  attempt.has_login = false;
  co_return Outcome();
}

Task UndoBackup(Attempt& attempt) {
  const StoredResult* const sealed = attempt.Result(Phase::kBackup);
  const int64_t kept = sealed == nullptr ? 0 : sealed->key.fence;
  for (const StoredIntent& intent : attempt.intents()) {
    if (intent.kind == 'B' && worker::RemovesBackup(intent.fence, kept)) {
      Project& project = attempt.project();
      std::erase_if(project.backups,
                    [&intent](const Backup& backup) { return backup.fence == intent.fence && !backup.sealed; });
    }
  }
  co_return Outcome();
}

Task VerifyRollback(Attempt& attempt) {
  SIM_TRY(attempt.Statement(Site::kTarget, [](Project&) { return Outcome(); }));
  const Project& project = attempt.project();
  const std::vector<Database> found = project.databases;
  const bool left = std::any_of(found.begin(), found.end(), [&attempt](const Database& database) {
    return database.Own(attempt.migration()) && database.name == Name::kFinal;
  });
  int dropped = 0;
  for (const Database& database : found) {
    if (database.name == Name::kTemporary || database.name == Name::kDoomed) {
      SIM_TRY(DoomAndDrop(attempt, database.name, database.fence, dropped++));
    }
  }
  const bool role_left = project.role.Own(attempt.migration());
  if (left || role_left || attempt.project().InForce(attempt.migration()) != nullptr ||
      attempt.project().TransformationInForce(attempt.migration()) != nullptr) {
    co_return Fail(Verdict::kOperator, "PGC-ROLLBACK-LEFT");
  }
  co_return Outcome();
}

Task CleanUp(Attempt& attempt) {
  attempt.CloseTarget();
  if (attempt.sim().config.has_credentials) {
    SIM_TRY(DropLogin(attempt));
  }
  co_return Outcome();
}

}  // namespace

Task UndoPhase(Attempt& attempt, Phase phase) {
  switch (phase) {
    case Phase::kFence: return RunFence(attempt);
    case Phase::kCutover: return UndoCutover(attempt);
    case Phase::kTransform: return UndoTransform(attempt);
    case Phase::kProvision: return UndoProvision(attempt);
    case Phase::kCredentials: return UndoCredentials(attempt);
    case Phase::kFreeze: return Thaw(attempt);
    case Phase::kBackup: return UndoBackup(attempt);
    case Phase::kVerify: return VerifyRollback(attempt);
    default: return CleanUp(attempt);
  }
}

}  // namespace pgconvoy::sim
