#include <string>

#include "cli/commands/commands.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"

namespace pgconvoy::cli {
namespace {

// public.users {"id": 7} updated: role editor -> manager, updated_at
std::string Line(const v1::RowChange& change) {
  constexpr const char* kVerbs[] = {"changed", "inserted", "updated", "deleted"};
  std::string line = Printable(change.table()) + " " + Printable(change.key()) + " " + kVerbs[change.kind()];
  for (int i = 0; i < change.columns_size(); ++i) {
    const v1::ColumnChange& column = change.columns(i);
    line += (i == 0 ? ": " : ", ") + Printable(column.column());
    if (!column.before().empty() || !column.after().empty()) {
      line += " " + Printable(column.before()) + " -> " + Printable(column.after());
    }
  }
  return line;
}

}  // namespace

int Orphans(Session& session, const std::string& plan_file, bool clean) {
  v1::Plan plan;
  if (const int code = LoadPlanFile(plan_file, plan); code != kOk) {
    return code;
  }
  v1::CleanOrphansRequest request;
  request.set_plan_json(plan::CanonicalJson(plan));
  request.set_clean(clean);
  request.set_actor(Actor());
  Say("looking at the plan's servers on a worker…");
  const auto found = session.client().Call(request);
  if (!found.ok()) {
    return Fail(session, found.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*found));
    return kOk;
  }
  for (const std::string& line : found->lines()) {
    Out(Printable(line) + "\n");
  }
  if (found->lines().empty()) {
    Say("nothing was left behind");
  } else if (!clean) {
    Say("next: pgconvoy orphans clean " + Printable(plan_file));
  }
  return kOk;
}

int AuditVerify(Session& session, const std::string& known_head) {
  v1::VerifyEventsRequest request;
  request.set_known_head(known_head);
  const auto verified = session.client().Call(request);
  if (!verified.ok()) {
    return Fail(session, verified.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*verified));
  } else {
    Out(std::to_string(verified->events()) + " events in " + std::to_string(verified->links()) +
        " links hold, head " + (verified->head().empty() ? "none" : Printable(verified->head())) + "\n");
  }
  if (!verified->problem().empty()) {
    Say("error PGC-EVENTS-ALTERED: " + Printable(verified->problem()));
    return kFailure;
  }
  return kOk;
}

int Changes(Session& session, const std::string& name, const std::string& project) {
  const auto migration = FindMigration(session, name);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::ListChangesRequest request;
  request.set_migration_id(migration->id());
  request.set_project_ref(project);
  const auto found = session.client().Changes(request);
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*found));
    return kOk;
  }
  for (const v1::RowChange& change : found->changes()) {
    Out(Line(change) + "\n");
  }
  Say(std::to_string(found->changes_size()) + " row(s) changed; values are shown of the plan's `columns` only");
  return kOk;
}

int Repair(Session& session, const std::string& name, const std::string& project, bool mend) {
  const auto migration = FindMigration(session, name);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::RepairProjectRequest request;
  request.set_migration_id(migration->id());
  request.set_project_ref(project);
  request.set_mend(mend);
  request.set_actor(Actor());
  const auto repaired = session.client().Call(request);
  if (!repaired.ok()) {
    return Fail(session, repaired.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*repaired));
  } else {
    for (const std::string& difference : repaired->differences()) {
      Out("differs  " + Printable(difference) + "\n");
    }
    for (const std::string& mended : repaired->mended()) {
      Out("mended   " + Printable(mended) + "\n");
    }
    if (repaired->differences().empty()) {
      Say("registry, role and database are as the migration left them");
    }
  }
  return repaired->differences_size() == repaired->mended_size() ? kOk : kFailure;
}

}  // namespace pgconvoy::cli
