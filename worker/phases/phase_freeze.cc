#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"

namespace pgconvoy::worker {
namespace {

constexpr char kFrozen[] = R"sql(
INSERT INTO pgconvoy.freeze (store_id, project, fence) VALUES ($1, $2, $3::bigint)
ON CONFLICT (store_id, project) DO NOTHING RETURNING 1
)sql";
constexpr char kThawed[] = "DELETE FROM pgconvoy.freeze WHERE store_id = $1 AND project = $2 RETURNING 1";

template <typename Statements>
absl::Status RunTemplates(pg::Connection& connection, const Attempt& attempt, const Statements& statements) {
  for (const std::string& statement : statements) {
    PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(statement, attempt.values()));
    if (const auto done = connection.Exec(sql); !done.ok()) {
      return Annotate(done.status(), "the plan's freeze statement");
    }
  }
  return absl::OkStatus();
}

}  // namespace

// The row in pgconvoy.freeze and the plan's statements commit together, so each is done once and undone once.
absl::StatusOr<v1::PhaseResult> RunFreeze(Attempt& attempt) {
  v1::PhaseResult result;
  v1::FreezeResult* const freeze = result.mutable_freeze();
  if (attempt.plan().freeze().apply().empty()) {
    return result;
  }
  v1::Intent intent;
  intent.set_kind(v1::Intent::FREEZE);
  intent.set_server(attempt.plan().registry().server());
  PGC_RETURN_IF_ERROR(attempt.ReportIntent(intent));
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  const absl::Status done = InFencedTransaction(*registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const pg::Result inserted,
                         connection.Exec(kFrozen, {attempt.grant().store_id, attempt.grant().ref,
                                                   std::to_string(attempt.grant().fence)}));
    if (inserted.rows() == 1) {
      PGC_RETURN_IF_ERROR(RunTemplates(connection, attempt, attempt.plan().freeze().apply()));
      freeze->set_applied(true);
    }
    PGC_FAILPOINT("worker.freeze.before_commit");
    return absl::OkStatus();
  });
  PGC_RETURN_IF_ERROR(done);
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoFreeze(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  if (attempt.plan().freeze().apply().empty()) {
    return result;
  }
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  const absl::Status done = InFencedTransaction(*registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const pg::Result deleted,
                         connection.Exec(kThawed, {attempt.grant().store_id, attempt.grant().ref}));
    if (deleted.rows() == 1) {
      PGC_RETURN_IF_ERROR(RunTemplates(connection, attempt, attempt.plan().freeze().undo()));
      undo->add_undone("thawed");
      PGC_FAILPOINT("worker.freeze.before_undone");
    }
    return absl::OkStatus();
  });
  PGC_RETURN_IF_ERROR(done);
  return result;
}

}  // namespace pgconvoy::worker
