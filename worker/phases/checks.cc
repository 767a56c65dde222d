#include "worker/phases/checks.h"

#include "common/base/error.h"

namespace pgconvoy::worker {

v1::CheckResult& CheckList::Add(const std::string& name, bool passed, const std::string& message, bool warning_only) {
  v1::CheckResult* const check = result_.add_checks();
  check->set_name(name);
  check->set_passed(passed);
  check->set_warning(!passed && warning_only);
  if (!passed) {
    check->set_message(message);
    if (warning_only) {
      attempt_.warnings.push_back(name + ": " + message);
    }
  }
  return *check;
}

absl::Status CheckList::RunPlanChecks(v1::Check::Stage stage) {
  for (const v1::Check& check : attempt_.plan().checks()) {
    if (check.stage() != stage) {
      continue;
    }
    const auto passed = RunSql(check);
    if (!passed.ok() && VerdictOf(passed.status()) != Verdict::kPermanent) {
      return passed.status();
    }
    const std::string message = passed.ok() ? "the check's statement did not return true" : Describe(passed.status());
    Add(check.name(), passed.ok() && *passed, message, check.severity() == v1::Check::WARNING);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CheckList::RunSql(const v1::Check& check) {
  PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(check.sql(), attempt_.values()));
  const auto run = [&sql](pg::Connection& connection) -> absl::StatusOr<bool> {
    PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(connection, "READ ONLY"));
    PGC_ASSIGN_OR_RETURN(const pg::Result row, connection.Exec(sql));
    return row.rows() == 1 && row.columns() == 1 && row.Bool(0, 0);
  };
  if (check.place() == v1::Check::TARGET) {
    PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt_.Target());
    return run(*target);
  }
  PGC_ASSIGN_OR_RETURN(PooledSession session,
                       check.place() == v1::Check::REGISTRY ? attempt_.Registrar() : attempt_.Reader());
  return run(*session);
}

absl::Status CheckList::Verdict() const {
  std::string failed;
  for (const v1::CheckResult& check : result_.checks()) {
    if (!check.passed() && !check.warning()) {
      failed += (failed.empty() ? "" : "; ") + check.name() + ": " + check.message();
    }
  }
  if (failed.empty()) {
    return absl::OkStatus();
  }
  return MakeError(pgconvoy::Verdict::kPermanent, "PGC-CHECK-FAILED", failed,
                   "put that right, then retry the project");
}

}  // namespace pgconvoy::worker
