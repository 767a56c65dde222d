#include <algorithm>
#include <cctype>
#include <iterator>

#include "cli/commands/commands.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/model/model.h"

namespace pgconvoy::cli {
namespace {

// A list in every format: JSON is the response message, names are one a line.
template <typename Response, typename Items, typename NameOf>
int Show(Session& session, const Response& response, const Items& items, NameOf name_of, const render::Table& table) {
  if (session.structured()) {
    OutStructured(session, ToJson(response));
  } else if (session.format() == Format::kName) {
    for (const auto& item : items) {
      Out(Printable(name_of(item)) + "\n");
    }
  } else if (items.empty()) {
    Say("nothing found");
  } else {
    Out(render::Draw(table, session.wide(), session.out_style()));
  }
  return kOk;
}

void SayIfMore(const std::string& next_page_token) {
  if (!next_page_token.empty()) {
    Say("there is more; --limit 0 shows everything");
  }
}

absl::StatusOr<std::vector<v1::ProjectState>> ParseStates(const std::string& text) {
  std::vector<v1::ProjectState> states;
  std::vector<std::string> known;
  for (int i = v1::ProjectState_MIN + 1; i <= v1::ProjectState_MAX; ++i) {
    known.push_back(v1::ProjectState_Name(i));
  }
  for (size_t from = 0; !text.empty() && from <= text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    std::string name = text.substr(from, comma - from);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) {
      const auto nearest = Nearest(name, known);
      return InputError("PGC-CLI-STATE", "unknown state \"" + Printable(name) + "\"",
                        nearest ? "did you mean " + *nearest + "?" : "known: " + Join(known, ", "));
    }
    states.push_back(static_cast<v1::ProjectState>(found - known.begin() + v1::ProjectState_MIN + 1));
    from = comma + 1;
  }
  return states;
}

absl::Status NoSingle(const std::vector<std::string>& unfinished) {
  if (unfinished.empty()) {
    return InputError("PGC-CLI-MIGRATION", "no migration is unfinished", "name one by its id, or \"latest\"");
  }
  return InputError("PGC-CLI-MIGRATION", "several migrations are unfinished: " + Join(unfinished, ", "),
                    "name one by its id, or \"latest\"");
}

absl::StatusOr<v1::Migration> PickMigration(Session& session, const std::string& name) {
  PGC_ASSIGN_OR_RETURN(
      const v1::ListMigrationsResponse list,
      CallAllPages(session.client(), v1::ListMigrationsRequest(), 0, &v1::ListMigrationsResponse::migrations_size));
  const v1::Migration* picked = nullptr;
  std::vector<std::string> unfinished;
  for (const v1::Migration& migration : list.migrations()) {
    if (name == "latest") {
      const auto number = [](const v1::Migration& m) { return ParseDecimal(m.id()).value_or(0); };
      picked = picked == nullptr || number(migration) > number(*picked) ? &migration : picked;
    } else if (!HasEnded(migration)) {
      picked = &migration;
      unfinished.push_back(migration.id());
    }
  }
  if (name == "latest" && picked == nullptr) {
    return InputError("PGC-CLI-MIGRATION", "there is no migration yet", "submit one: pgconvoy submit PLAN --all");
  }
  if (name.empty() && unfinished.size() != 1) {
    return NoSingle(unfinished);
  }
  return *picked;
}

}  // namespace

absl::StatusOr<v1::Migration> FindMigration(Session& session, const std::string& name) {
  if (name.empty() || name == "latest") {
    return PickMigration(session, name);
  }
  if (!ParseDecimal(name)) {
    return InputError("PGC-CLI-MIGRATION", "\"" + Printable(name) + "\" is not the id of a migration",
                      "ids are numbers; see `pgconvoy get migrations`");
  }
  v1::GetMigrationRequest request;
  request.set_id(name);
  return session.client().Call(request);
}

int GetMigrations(Session& session, const GetOptions& options) {
  const auto list = CallAllPages(session.client(), v1::ListMigrationsRequest(), options.limit,
                                 &v1::ListMigrationsResponse::migrations_size);
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  SayIfMore(list->next_page_token());
  return Show(
      session, *list, list->migrations(), [](const v1::Migration& m) { return m.id(); },
      TableOf(*list, session.out_style(), NowUnixMs()));
}

int GetBatches(Session& session, const GetOptions& options) {
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::ListBatchesRequest request;
  request.set_migration_id(migration->id());
  const auto list = CallAllPages(session.client(), request, options.limit, &v1::ListBatchesResponse::batches_size);
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  SayIfMore(list->next_page_token());
  return Show(
      session, *list, list->batches(), [](const v1::Batch& b) { return b.id(); },
      TableOf(*list, session.out_style()));
}

namespace {

absl::StatusOr<v1::ListProjectsResponse> FindProjects(Session& session, const GetOptions& options) {
  PGC_ASSIGN_OR_RETURN(const std::vector<v1::ProjectState> states, ParseStates(options.states));
  PGC_ASSIGN_OR_RETURN(const v1::Migration migration, FindMigration(session, options.migration));
  if (options.project.empty()) {
    v1::ListProjectsRequest request;
    request.set_migration_id(migration.id());
    request.mutable_states()->Add(states.begin(), states.end());
    return CallAllPages(session.client(), request, options.limit, &v1::ListProjectsResponse::projects_size);
  }
  v1::GetProjectRequest request;
  request.set_migration_id(migration.id());
  request.set_ref(options.project);
  PGC_ASSIGN_OR_RETURN(const v1::Project project, session.client().Call(request));
  v1::ListProjectsResponse list;
  if (states.empty() || std::find(states.begin(), states.end(), project.state()) != states.end()) {
    *list.add_projects() = project;
  }
  return list;
}

}  // namespace

int GetProjects(Session& session, const GetOptions& options) {
  const auto list = FindProjects(session, options);
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  SayIfMore(list->next_page_token());
  return Show(
      session, *list, list->projects(), [](const v1::Project& p) { return p.ref(); },
      TableOf(*list, session.out_style()));
}

int GetWorkers(Session& session) {
  const auto list = session.client().Call(v1::ListWorkersRequest());
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  return Show(
      session, *list, list->workers(), [](const v1::Worker& w) { return w.id(); },
      TableOf(*list, session.out_style(), NowUnixMs()));
}

int GetEvents(Session& session, const GetOptions& options) {
  v1::ListEventsRequest request;
  request.set_project_ref(options.project);
  // Events of the whole fleet are a list too, so an omitted migration means all of them.
  if (!options.migration.empty()) {
    const auto migration = FindMigration(session, options.migration);
    if (!migration.ok()) {
      return Fail(session, migration.status());
    }
    request.set_migration_id(migration->id());
  }
  const auto list = CallAllPages(session.client(), request, options.limit, &v1::ListEventsResponse::events_size);
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  SayIfMore(list->next_page_token());
  return Show(
      session, *list, list->events(), [](const v1::Event& e) { return std::to_string(e.seq()); }, TableOf(*list));
}

int DescribeMigration(Session& session, const std::string& name) {
  auto migration = FindMigration(session, name);
  // Lists leave the plan out.
  if (migration.ok() && migration->plan_json().empty()) {
    v1::GetMigrationRequest request;
    request.set_id(migration->id());
    migration = session.client().Call(request);
  }
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*migration));
  } else if (session.format() == Format::kName) {
    Out(migration->id() + "\n");
  } else {
    Out(render::DescribeMigration(ViewOf(*migration, NowUnixMs()), session.out_style()));
  }
  return kOk;
}

int DescribeProject(Session& session, const std::string& name, const std::string& ref) {
  const auto migration = FindMigration(session, name);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::GetProjectRequest request;
  request.set_migration_id(migration->id());
  request.set_ref(ref);
  const auto project = session.client().Call(request);
  if (!project.ok()) {
    return Fail(session, project.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*project));
  } else if (session.format() == Format::kName) {
    Out(Printable(project->ref()) + "\n");
  } else {
    Out(render::DescribeProject(ViewOf(*project), session.out_style()));
  }
  return kOk;
}

int BackupList(Session& session, const std::string& name, const std::string& project) {
  v1::ListBackupsRequest request;
  request.set_project_ref(project);
  if (!name.empty()) {
    const auto migration = FindMigration(session, name);
    if (!migration.ok()) {
      return Fail(session, migration.status());
    }
    request.set_migration_id(migration->id());
  }
  const auto list = CallAllPages(session.client(), request, 0, &v1::ListBackupsResponse::backups_size);
  if (!list.ok()) {
    return Fail(session, list.status());
  }
  return Show(
      session, *list, list->backups(), [](const v1::BackupRecord& b) { return b.backup().backup_id(); },
      TableOf(*list));
}

int BackupVerify(Session& session, const std::string& backup_id, bool content) {
  v1::VerifyBackupRequest request;
  request.set_backup_id(backup_id);
  request.set_content(content);
  Say("reading every chunk of " + Printable(backup_id) + " on a worker…");
  const auto verified = session.client().Call(request);
  if (!verified.ok()) {
    const int code = Fail(session, verified.status());
    // That a backup is not what its manifest says is a result, not a refusal.
    return code == kRefused ? kFailure : code;
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*verified));
  } else {
    for (const std::string& line : verified->lines()) {
      Out(Printable(line) + "\n");
    }
  }
  return kOk;
}

}  // namespace pgconvoy::cli
