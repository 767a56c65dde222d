// Plans and lists of projects as the commands take them. Whatever is wrong with them is said before anything is sent.
#pragma once

#include <string>
#include <vector>

#include "cli/commands/session.h"
#include "common/plan/plan.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::cli {

void SayProblems(const std::vector<plan::Problem>& problems);

// kOk with `plan` filled, else the exit code.
int LoadPlanFile(const std::string& file, v1::Plan& plan);

// kOk with `projects` filled, else the exit code. `list` is a CSV file; "" stands for all that the registry names.
// With `refs` it may also be refs separated by commas.
int LoadProjectList(Session& session,
                    const std::string& list,
                    bool refs,
                    const v1::Plan& plan,
                    std::vector<v1::ProjectSpec>& projects);

// What the coordinator would refuse, said before anything is sent.
absl::Status CheckProjects(const v1::Plan& plan, const std::vector<v1::ProjectSpec>& projects);

// "a,b" -> {"a", "b"}.
std::vector<std::string> SplitList(const std::string& text);

// Prints a task's error. That a server of the plan cannot be reached or refuses us is a failure of the task that a
// worker ran, and says nothing about the coordinator.
int FailTask(const Session& session, const absl::Status& status, const std::string& next = {});

// Writes the file whole or not at all. PGC-CLI-FILE.
absl::Status WriteFile(const std::string& path, const std::string& content);

}  // namespace pgconvoy::cli
