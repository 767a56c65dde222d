// Submissions: all or nothing, once per request id, cut into batches.
#include <algorithm>
#include <map>
#include <utility>

#include "common/base/error.h"
#include "common/base/planted.h"
#include "common/base/text.h"
#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

absl::Status CheckSpec(const MigrationSpec& spec) {
  if (spec.phases.empty() || spec.phases.front() != Phase::kFence) {
    return InputError("PGC-SUBMIT-SPEC", "the list of phases does not begin with FENCE");
  }
  const bool limited = std::all_of(spec.limits.begin(), spec.limits.end(),
                                   [](const ServerLimit& limit) { return limit.max_projects >= 1; });
  if (spec.batch_size < 1 || spec.batch_bytes < 1 || spec.max_attempts < 1 || !limited) {
    return InputError("PGC-SUBMIT-SPEC", "batch size, batch bytes, attempts and server limits must be at least 1");
  }
  return absl::OkStatus();
}

absl::Status CheckRefs(const std::vector<const std::string*>& refs) {
  for (const std::string* ref : refs) {
    if (!IsValidRef(*ref)) {
      return InputError("PGC-SUBMIT-REF", "\"" + Printable(*ref) + "\" is not a project ref",
                        "a ref is 1 to 40 of a-z, 0-9, _ and -, and begins with a letter or digit");
    }
  }
  std::vector<const std::string*> sorted = refs;
  const auto less = [](const std::string* a, const std::string* b) { return *a < *b; };
  std::sort(sorted.begin(), sorted.end(), less);
  const auto twin = std::adjacent_find(sorted.begin(), sorted.end(),
                                       [](const std::string* a, const std::string* b) { return *a == *b; });
  if (twin != sorted.end()) {
    return InputError("PGC-SUBMIT-DUPLICATE", "project " + **twin + " is named twice", "name each project once");
  }
  return absl::OkStatus();
}

std::vector<const std::string*> RefsOf(const std::vector<ProjectInput>& projects) {
  std::vector<const std::string*> refs;
  refs.reserve(projects.size());
  for (const ProjectInput& project : projects) {
    refs.push_back(&project.ref);
  }
  return refs;
}

using Inputs = std::vector<const ProjectInput*>;

// One list per pair of servers, pairs in the order of their first project, larger projects first in each.
std::vector<Inputs> ByServerPair(const std::vector<ProjectInput>& projects) {
  std::vector<Inputs> lists;
  std::map<std::pair<std::string_view, std::string_view>, size_t> list_of;
  for (const ProjectInput& project : projects) {
    const auto [found, added] = list_of.try_emplace({project.source_server, project.target_server}, lists.size());
    if (added) {
      lists.emplace_back();
    }
    lists[found->second].push_back(&project);
  }
  for (Inputs& list : lists) {
    std::stable_sort(list.begin(), list.end(), [](const ProjectInput* a, const ProjectInput* b) {
      return a->estimated_bytes > b->estimated_bytes;
    });
  }
  return lists;
}

bool Fits(const BatchRow& batch, const ProjectInput& project, const MigrationSpec& spec) {
  return batch.projects == 0 ||
         (batch.projects < spec.batch_size && batch.estimated_bytes + project.estimated_bytes <= spec.batch_bytes);
}

ProjectRow ToRow(const ProjectInput& input, ProjectId id, const BatchRow& batch) {
  ProjectRow row;
  row.id = id;
  row.migration = batch.migration;
  row.batch = batch.id;
  row.ref = input.ref;
  row.attributes_json = input.attributes_json;
  row.estimated_bytes = input.estimated_bytes;
  return row;
}

}  // namespace

absl::Status Core::Impl::CheckBusy(const std::vector<const std::string*>& refs) const {
  std::string named;
  size_t busy = 0;
  for (const std::string* ref : refs) {
    const Project* project = fleet_.FindAnywhere(*ref);
    if (project != nullptr && ++busy <= kMaxBusyNamed) {
      named +=
          (named.empty() ? "" : ", ") + *ref + " (migration " + std::to_string(project->home->row.id.value) + ")";
    }
  }
  if (busy == 0 || PGC_PLANTED(kBusyIgnored)) {
    return absl::OkStatus();
  }
  if (busy > kMaxBusyNamed) {
    named += " and " + std::to_string(busy - kMaxBusyNamed) + " more";
  }
  return InputError("PGC-PROJECT-BUSY", "projects that are in an unfinished migration: " + named,
                    "wait until that migration has ended, or leave these projects out");
}

absl::Status Core::Impl::CheckSubmission(const SubmitMigration& submit) const {
  if (submit.projects.empty()) {
    return InputError("PGC-SUBMIT-EMPTY", "the migration has no projects", "name at least one project");
  }
  PGC_RETURN_IF_ERROR(CheckSpec(submit.spec));
  const std::vector<const std::string*> refs = RefsOf(submit.projects);
  PGC_RETURN_IF_ERROR(CheckRefs(refs));
  return CheckBusy(refs);
}

void Core::Impl::On(Step& step, const SubmitMigration& submit) {
  Reply reply;
  reply.request = submit.request;
  if (const auto known = by_request_.find(submit.spec.request_id); known != by_request_.end()) {
    reply.migration = known->second;
    reply.existed = true;
  } else if (reply.status = CheckSubmission(submit); reply.status.ok()) {
    reply.migration = Create(step, submit);
  }
  step.Answer(std::move(reply));
}

MigrationId Core::Impl::Create(Step& step, const SubmitMigration& submit) {
  Writes& writes = step.out().writes;
  MigrationRow row;
  row.id = MigrationId{counters_.next_migration++};
  row.spec = submit.spec;
  row.create_time = step.now().wall;
  row.counts[At(ProjectState::kPending)] = static_cast<int64_t>(submit.projects.size());
  const size_t first_batch = writes.new_batches.size();
  const size_t first_project = writes.new_projects.size();
  writes.new_projects.reserve(first_project + submit.projects.size());
  for (const Inputs& list : ByServerPair(submit.projects)) {
    BatchRow* batch = nullptr;
    for (const ProjectInput* input : list) {
      if (batch == nullptr || !Fits(*batch, *input, row.spec)) {
        batch = &writes.new_batches.emplace_back();
        batch->id = BatchId{counters_.next_batch++};
        batch->migration = row.id;
        batch->source_server = input->source_server;
        batch->target_server = input->target_server;
      }
      ++batch->projects;
      batch->estimated_bytes += input->estimated_bytes;
      row.estimated_bytes += input->estimated_bytes;
      writes.new_projects.push_back(ToRow(*input, ProjectId{counters_.next_project++}, *batch));
    }
  }
  Migration& migration = fleet_.AddMigration(row, writes.new_batches.size() - first_batch, submit.projects.size());
  for (size_t i = first_batch; i < writes.new_batches.size(); ++i) {
    fleet_.AddBatch(migration, writes.new_batches[i]);
  }
  for (size_t i = first_project; i < writes.new_projects.size(); ++i) {
    fleet_.AddProject(migration, writes.new_projects[i], 0);
  }
  by_request_[row.spec.request_id] = row.id;
  writes.counters = counters_;
  step.Record(row.id, {},
              {.kind = "MIGRATION_SUBMITTED",
               .actor = "operator:" + submit.actor,
               .reason = submit.reason,
               .details = {{"name", row.spec.name},
                           {"projects", std::to_string(submit.projects.size())},
                           {"plan_hash", row.spec.plan_hash}}});
  if (row.spec.credentials_of != MigrationId{}) {
    step.Record(row.spec.credentials_of, {},
                {.kind = "CREDENTIALS_CHANGE_SUBMITTED",
                 .actor = "operator:" + submit.actor,
                 .reason = submit.reason,
                 .details = {{"name", row.spec.name}, {"by_migration", std::to_string(row.id.value)}}});
  }
  const MigrationId id = row.id;
  writes.new_migrations.push_back(std::move(row));
  return id;
}

}  // namespace pgconvoy::core
