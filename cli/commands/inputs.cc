#include "cli/commands/inputs.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/csv.h"
#include "common/plan/project_check.h"

namespace pgconvoy::cli {

absl::Status CheckProjects(const v1::Plan& plan, const std::vector<v1::ProjectSpec>& projects) {
  plan::ProjectCheck check(plan);
  for (const v1::ProjectSpec& project : projects) {
    PGC_RETURN_IF_ERROR(check.Add(project.ref(), {project.attributes().begin(), project.attributes().end()}));
  }
  return absl::OkStatus();
}

namespace {

std::vector<v1::ProjectSpec> SpecsOf(const std::vector<plan::ProjectEntry>& entries) {
  std::vector<v1::ProjectSpec> specs;
  specs.reserve(entries.size());
  for (const plan::ProjectEntry& entry : entries) {
    v1::ProjectSpec& spec = specs.emplace_back();
    spec.set_ref(entry.ref);
    spec.set_estimated_bytes(entry.estimated_bytes);
    spec.mutable_attributes()->insert(entry.attributes.begin(), entry.attributes.end());
  }
  return specs;
}

int Discover(Session& session, const v1::Plan& plan, std::vector<v1::ProjectSpec>& projects) {
  Say("reading the registry on a worker…");
  auto found = session.client().Discover(plan::CanonicalJson(plan), /*detailed=*/false);
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  if (found->projects().empty()) {
    return Fail(session, InputError("PGC-PLAN-NO-PROJECTS", "the registry names no project",
                                    "check registry.table and registry.where of the plan"));
  }
  projects = {found->projects().begin(), found->projects().end()};
  return kOk;
}

// The named ones of what the registry offers, with their attributes.
int PickFromRegistry(Session& session,
                     const std::vector<std::string>& refs,
                     const v1::Plan& plan,
                     std::vector<v1::ProjectSpec>& projects) {
  std::vector<v1::ProjectSpec> all;
  if (const int code = Discover(session, plan, all); code != kOk) {
    return code;
  }
  for (const std::string& ref : refs) {
    const auto found = std::find_if(all.begin(), all.end(), [&ref](const auto& spec) { return spec.ref() == ref; });
    if (found == all.end()) {
      return Fail(session, InputError("PGC-CLI-PROJECT", "the registry names no project \"" + Printable(ref) + "\"",
                                      "`pgconvoy discover` lists them; one that the plan's registry.where leaves out "
                                      "can be given in a CSV file"));
    }
    projects.push_back(*found);
  }
  return kOk;
}

int LoadCsv(const std::string& file, std::vector<v1::ProjectSpec>& projects) {
  const plan::ParsedProjects parsed = plan::LoadProjects(file);
  SayProblems(parsed.problems);
  if (!parsed.ok()) {
    return kBadInput;
  }
  projects = SpecsOf(parsed.projects);
  return kOk;
}

bool IsFile(const std::string& list) { return list.ends_with(".csv") || access(list.c_str(), F_OK) == 0; }

int LoadUnchecked(Session& session,
                  const std::string& list,
                  bool refs,
                  const v1::Plan& plan,
                  std::vector<v1::ProjectSpec>& projects) {
  if (list.empty()) {
    return Discover(session, plan, projects);
  }
  if (!refs || IsFile(list)) {
    return LoadCsv(list, projects);
  }
  return PickFromRegistry(session, SplitList(list), plan, projects);
}

}  // namespace

void SayProblems(const std::vector<plan::Problem>& problems) {
  for (const plan::Problem& problem : problems) {
    Say(Printable(plan::Format(problem)));
  }
}

int LoadPlanFile(const std::string& file, v1::Plan& plan) {
  const plan::ParsedPlan parsed = plan::LoadPlan(file);
  SayProblems(parsed.problems);
  if (!parsed.ok()) {
    return kBadInput;
  }
  plan = parsed.plan;
  return kOk;
}

int LoadProjectList(Session& session,
                    const std::string& list,
                    bool refs,
                    const v1::Plan& plan,
                    std::vector<v1::ProjectSpec>& projects) {
  if (const int code = LoadUnchecked(session, list, refs, plan, projects); code != kOk) {
    return code;
  }
  const absl::Status status = CheckProjects(plan, projects);
  return status.ok() ? kOk : Fail(session, status);
}

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t from = 0; !text.empty() && from <= text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    parts.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return parts;
}

int FailTask(const Session& session, const absl::Status& status, const std::string& next) {
  const int code = Fail(session, status, next);
  return code == kRefused || CodeOf(status).starts_with("PGC-PG-") ? kFailure : code;
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  const auto failed = [&path](int error) {
    return MakeError(Verdict::kPermanent, "PGC-CLI-FILE",
                     "cannot write " + Printable(path) + ": " + std::strerror(error), "choose another file");
  };
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) {
    const int error = errno;
    std::remove(part.c_str());
    return failed(error);
  }
  return std::rename(part.c_str(), path.c_str()) == 0 ? absl::OkStatus() : failed(errno);
}

}  // namespace pgconvoy::cli
