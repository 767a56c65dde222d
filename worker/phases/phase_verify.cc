#include <algorithm>
#include <iterator>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "worker/backup/backup.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/catalog_stamp.h"
#include "worker/phases/control.h"
#include "worker/phases/databases.h"
#include "worker/phases/exact.h"
#include "worker/phases/fallback.h"
#include "worker/phases/late_indexes.h"
#include "worker/phases/parallel.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/tables.h"
#include "worker/phases/transform.h"

namespace pgconvoy::worker {
namespace {

// At most so many missing objects are named in one message.
constexpr size_t kMaxNamed = 5;

constexpr char kFinished[] = "SELECT finished FROM pgconvoy.load FOR UPDATE";
constexpr char kSetFinished[] = "UPDATE pgconvoy.load SET finished = true";

// Where the plan allows it, a foreign key that rows of the source violated holds for new rows only.
absl::Status AddForeignKeys(Attempt& attempt, pg::Connection& target, const SourceSchema& schema) {
  const bool tolerant = attempt.plan().target().violated_foreign_keys() == v1::Target::NOT_VALID;
  for (const ForeignKey& key : schema.foreign_keys) {
    bool not_valid = false;
    if (tolerant && key.validated && !key.partitioned) {
      PGC_ASSIGN_OR_RETURN(const pg::Result violations,
                           target.Exec("SELECT " + ViolationsSql(key, key.table, key.referenced)));
      not_valid = violations.Int(0, 0) != 0;
    }
    if (const absl::Status added = target.ExecScript(AddConstraintSql(key, not_valid)); !added.ok()) {
      return Annotate(added, "adding foreign key " + key.name + " of " + key.table);
    }
  }
  return absl::OkStatus();
}

// Foreign keys, triggers, policies and row-level security, in one transaction with the mark that they are there.
absl::Status Finish(Attempt& attempt, pg::Connection& target, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  PGC_ASSIGN_OR_RETURN(const pg::Result finished, target.Exec(kFinished));
  if (finished.rows() == 1 && finished.Bool(0, 0)) {
    return transaction->Commit();
  }
  PGC_RETURN_IF_ERROR(AddForeignKeys(attempt, target, schema));
  if (!schema.finish_sql.empty()) {
    PGC_RETURN_IF_ERROR(target.ExecScript("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off"));
    if (const absl::Status added = target.ExecScript(schema.finish_sql); !added.ok()) {
      return Annotate(added, "adding triggers and policies");
    }
  }
  PGC_RETURN_IF_ERROR(target.Exec(kSetFinished).status());
  PGC_FAILPOINT("worker.verify.before_finish");
  return transaction->Commit();
}

absl::Status CompareObjects(const std::vector<std::string>& source, const std::vector<std::string>& target) {
  std::vector<std::string> missing;
  std::vector<std::string> extra;
  std::set_difference(source.begin(), source.end(), target.begin(), target.end(), std::back_inserter(missing));
  std::set_difference(target.begin(), target.end(), source.begin(), source.end(), std::back_inserter(extra));
  if (missing.empty() && extra.empty()) {
    return absl::OkStatus();
  }
  std::string named;
  const auto name = [&named](const char* what, const std::vector<std::string>& objects) {
    for (size_t i = 0; i < std::min(objects.size(), kMaxNamed); ++i) {
      named += (named.empty() ? "" : "; ") + std::string(what) + Printable(objects[i]);
    }
  };
  name("missing: ", missing);
  name("not in the source: ", extra);
  return MakeError(Verdict::kPermanent, "PGC-VERIFY-SCHEMA",
                   std::to_string(missing.size()) + " object(s) missing and " + std::to_string(extra.size()) +
                       " too many in the target (" + named + ")",
                   "stop DDL on the source for the time of the migration, then retry");
}

// Of COPY text.
int64_t BytesOf(const Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  int64_t bytes = 0;
  for (const v1::TableDigest& table : sealed == nullptr ? v1::BackupResult().tables() : sealed->backup().tables()) {
    bytes += table.bytes();
  }
  return bytes;
}

std::vector<v1::TableDigest> Expected(const v1::PhaseResult& sealed) {
  return {sealed.backup().tables().begin(), sealed.backup().tables().end()};
}

absl::Status Mismatch(const std::string& difference) {
  return MakeError(Verdict::kPermanent, "PGC-VERIFY-MISMATCH",
                   "the target does not hold what the backup holds: " + difference,
                   "look for writers on the target; the project is rolled back");
}

absl::Status CompareCounts(const std::vector<pg::Connection*>& targets,
                           const std::vector<v1::TableDigest>& expected,
                           std::vector<SessionTask> others) {
  std::vector<int64_t> found(expected.size());
  std::vector<SessionTask> counting;
  for (size_t i = 0; i < expected.size(); ++i) {
    counting.push_back([&, i](pg::Connection& target) -> absl::Status {
      PGC_ASSIGN_OR_RETURN(const pg::Result rows, target.Exec("SELECT pg_catalog.count(*) FROM " +
                                                              SplitTable(expected[i].table()).Quoted()));
      found[i] = rows.Int(0, 0);
      return absl::OkStatus();
    });
  }
  PGC_RETURN_IF_ERROR(RunOnSessions(targets, Alternating(std::move(others), std::move(counting))));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (found[i] != expected[i].rows()) {
      return Mismatch(expected[i].table() + " has " + std::to_string(found[i]) + " rows instead of " +
                      std::to_string(expected[i].rows()));
    }
  }
  return absl::OkStatus();
}

// The server computes these columns anew; only the source can say what they were.
absl::Status CompareGenerated(Attempt& attempt, const SourceSchema& schema, pg::Connection& target) {
  for (TableInfo table : schema.tables) {
    if (table.generated.empty()) {
      continue;
    }
    table.columns = table.generated;
    PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
    PGC_ASSIGN_OR_RETURN(const std::string sql, SourceCopySql(attempt, table.entry, table));
    PGC_ASSIGN_OR_RETURN(const RowDigest there, ReadDigest(attempt, *reader, sql));
    PGC_ASSIGN_OR_RETURN(const RowDigest here, ReadDigest(attempt, target, TargetCopySql(table.name, table.columns)));
    if (!(there == here)) {
      return MakeError(
          Verdict::kPermanent, "PGC-VERIFY-GENERATED",
          "the target computes other values for the generated columns of " + table.name + " than the source has",
          "look for writers on the source, and for functions or a locale that differ between the servers");
    }
  }
  return absl::OkStatus();
}

absl::Status CompareDigests(Attempt& attempt,
                            const SourceSchema& schema,
                            const std::vector<v1::TableDigest>& expected,
                            const std::vector<pg::Connection*>& targets,
                            std::vector<SessionTask> others,
                            v1::VerifyResult& verify) {
  const bool simple = targets.size() == 1 && others.empty();
  PGC_ASSIGN_OR_RETURN(const auto found, simple ? TargetDigests(attempt, schema)
                                                : TargetDigestsOn(targets, attempt, schema, std::move(others)));
  const std::string difference = FirstDifference(expected, found);
  if (!difference.empty()) {
    return Mismatch(difference);
  }
  verify.mutable_tables()->Assign(found.begin(), found.end());
  return CompareGenerated(attempt, schema, *targets[0]);
}

// `others` are done in between.
absl::Status CompareContent(Attempt& attempt,
                            const SourceSchema& schema,
                            const std::vector<pg::Connection*>& targets,
                            std::vector<SessionTask> others,
                            v1::VerifyResult& verify) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  if (sealed == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-MISSING", "there is no sealed backup to compare with");
  }
  verify.set_backup_id(sealed->backup().backup_id());
  const std::vector<v1::TableDigest> expected = Expected(*sealed);
  const v1::Verification::Level level = attempt.plan().verification().level();
  if (level == v1::Verification::COUNTS) {
    // A rollback compares with these digests, and calls a target written to that was never equal.
    verify.mutable_tables()->Assign(expected.begin(), expected.end());
    return CompareCounts(targets, expected, std::move(others));
  }
  if (level == v1::Verification::EXACT) {
    PGC_ASSIGN_OR_RETURN(const auto backup, OpenBackup(attempt));
    PGC_RETURN_IF_ERROR(CompareEveryRow(attempt, *targets[0], *backup));
  }
  return CompareDigests(attempt, schema, expected, targets, std::move(others), verify);
}

absl::Status CompareSequences(Attempt& attempt, const SourceSchema& schema, v1::VerifyResult& verify) {
  const auto& expected = attempt.Result(Phase::kBackup)->backup().sequences();
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto found, ReadSequences(*target, schema));
  for (size_t i = 0; i < found.size(); ++i) {
    const v1::SequenceValue& want = expected.at(static_cast<int>(i));
    if (found[i].last_value() != want.last_value() || found[i].is_called() != want.is_called()) {
      return MakeError(Verdict::kPermanent, "PGC-VERIFY-SEQUENCE",
                       "sequence " + want.sequence() + " stands at " + std::to_string(found[i].last_value()) +
                           " instead of " + std::to_string(want.last_value()));
    }
  }
  verify.mutable_sequences()->Assign(found.begin(), found.end());
  return absl::OkStatus();
}

// The source as it is now, as what this worker remembers may be older than the source's last DDL; what is restored is
// compared with what the backup says.
absl::StatusOr<std::vector<std::string>> ExpectedObjects(Attempt& attempt, const SourceSchema& schema) {
  if (attempt.restores()) {
    return schema.objects;
  }
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const bool unchanged, IsUnchanged(*reader, schema));
  return unchanged ? schema.objects : ListObjects(*reader, attempt.plan(), schema.schemas);
}

absl::Status CompareDefinitions(Attempt& attempt,
                                const SourceSchema& schema,
                                pg::Connection& target,
                                v1::VerifyResult& verify) {
  PGC_ASSIGN_OR_RETURN(const auto expected, ExpectedObjects(attempt, schema));
  verify.set_objects_compared(static_cast<int>(expected.size()));
  PGC_ASSIGN_OR_RETURN(const std::string signature, CloneSignature(target));
  if (expected == schema.objects && attempt.schemas().IsVerified(schema, signature)) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto found, ListObjects(target, attempt.plan(), schema.schemas));
  const absl::Status same = CompareObjects(expected, found);
  if (!same.ok()) {
    attempt.schemas().Forget(attempt);
  } else if (expected == schema.objects) {
    attempt.schemas().KeepVerified(schema, signature);
  }
  return same;
}

// By the provisioner, because a server may have granted it settings that a plain owner may not make.
absl::Status SetDatabaseSettings(Attempt& attempt, const SourceSchema& schema) {
  if (schema.settings.empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  return InFencedTransaction(*provisioner, attempt, [&](pg::Connection& connection) -> absl::Status {
    for (const auto& [name, value] : schema.settings) {
      PGC_RETURN_IF_ERROR(SetOnDatabase(connection, attempt.project().database, name, value));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> IsFinished(pg::Connection& target) {
  PGC_ASSIGN_OR_RETURN(const pg::Result finished, target.Exec("SELECT finished FROM pgconvoy.load"));
  return finished.rows() == 1 && finished.Bool(0, 0);
}

// Reads what COPY has loaded while it makes the indexes that COPY has left out. The constraints come last: until then
// an attempt that dies leaves pgconvoy.late_index to the next one.
absl::Status CompareRows(Attempt& attempt,
                         const SourceSchema& schema,
                         pg::Connection& target,
                         v1::VerifyResult& verify) {
  PGC_ASSIGN_OR_RETURN(const auto aside, IndexesAside(target, attempt.reporter()));
  const std::vector<SessionTask> indexes = aside.value_or(std::vector<SessionTask>());
  PGC_ASSIGN_OR_RETURN(const auto targets, attempt.Targets(std::max(indexes.size(), SessionsFor(BytesOf(attempt)))));
  PGC_ASSIGN_OR_RETURN(const bool finished, IsFinished(target));
  if (finished || attempt.plan().verification().level() == v1::Verification::EXACT) {
    PGC_RETURN_IF_ERROR(RunOnSessions(targets, indexes));
    // When an earlier attempt died after the last DDL, FORCE is on and would hide rows from their owner. EXACT makes
    // tables that must not stay.
    PGC_RETURN_IF_ERROR(WithoutForce(attempt, schema, [&](pg::Connection& session) {
      return CompareContent(attempt, schema, {&session}, {}, verify);
    }));
  } else {
    PGC_RETURN_IF_ERROR(CompareContent(attempt, schema, targets, indexes, verify));
  }
  return aside.has_value() ? AddConstraintsAside(target) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunVerify(Attempt& attempt) {
  v1::PhaseResult result;
  v1::VerifyResult* const verify = result.mutable_verify();
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(VerifyTransform(attempt, *verify));
    return result;
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_RETURN_IF_ERROR(attempt.ResetTargets());
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_RETURN_IF_ERROR(CompareRows(attempt, *schema, *target, *verify));
  PGC_RETURN_IF_ERROR(CompareSequences(attempt, *schema, *verify));
  PGC_RETURN_IF_ERROR(attempt.reporter().Checkpoint());
  PGC_RETURN_IF_ERROR(Finish(attempt, *target, *schema));
  PGC_RETURN_IF_ERROR(attempt.ResetTargets());
  PGC_FAILPOINT("worker.verify.before_settings");
  PGC_RETURN_IF_ERROR(SetDatabaseSettings(attempt, *schema));
  PGC_RETURN_IF_ERROR(CompareDefinitions(attempt, *schema, *target, *verify));
  return result;
}

absl::StatusOr<v1::PhaseResult> VerifyRollback(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  const auto left = [](const std::string& what) {
    return MakeError(Verdict::kOperator, "PGC-ROLLBACK-LEFT", what + " is still there after the rollback", "retry");
  };
  if (attempt.has_target()) {
    PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
    PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt));
    int dropped = 0;
    for (const DatabaseInfo& database : databases) {
      if (database.name == attempt.project().database && database.own) {
        return left("database " + database.name);
      }
      if (database.name != attempt.project().database) {
        // Half-made, by an older attempt whose CREATE DATABASE has come through since: no fence can stop that.
        PGC_RETURN_IF_ERROR(DoomAndDrop(*provisioner, attempt, database, dropped++));
        undo->add_undone("dropped database " + database.name);
      }
    }
    undo->add_undone("the database is gone");
  }
  if (attempt.has_credentials()) {
    PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
    PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
    if (role.own) {
      return left("role " + attempt.project().user);
    }
    undo->add_undone("the role is gone");
  }
  if (attempt.has_fallback()) {
    PGC_RETURN_IF_ERROR(VerifyFallbackWorks(attempt, *undo));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(VerifyTransformUndone(attempt, *undo));
  }
  if (attempt.has_cutover()) {
    // The row itself may have changed since by other hands, and rightly.
    PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
    PGC_ASSIGN_OR_RETURN(const auto in_force, FindCutover(*registrar, attempt));
    if (in_force.has_value()) {
      return left("a cutover");
    }
    undo->add_undone("no cutover is in force");
  }
  return result;
}

}  // namespace pgconvoy::worker
