#include "cli/render/describe.h"

#include <array>
#include <utility>

#include "cli/render/marks.h"
#include "cli/render/table.h"
#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

std::string Field(std::string_view key, std::string_view value) {
  std::string line = std::string(key);
  line.resize(12, ' ');
  return line + Printable(value) + "\n";
}

std::string Title(std::string_view title, const Style& style) {
  return "\n" + Paint(title, Tone::kTitle, style) + "\n";
}

std::string ErrorLine(const ErrorView& error) {
  std::string text = error.code + ": " + error.message;
  return error.remedy.empty() ? text : text + "; " + error.remedy;
}

std::string Command(const ProjectView& project, std::string_view verb) {
  return "pgconvoy " + std::string(verb) + " " + project.migration_id + " --project " + project.ref;
}

std::string Advice(const ProjectView& project) {
  switch (project.state) {
    case ProjectState::kPending:
    case ProjectState::kWaiting:
      return project.wait_cause.empty() ? ""
                                        : project.wait_cause + ": " + std::string(WaitSentence(project.wait_cause));
    case ProjectState::kFailed:
    case ProjectState::kRolledBack: return "when the cause is gone: " + Command(project, "retry");
    case ProjectState::kNeedsOperator:
      return "it needs you: see the error, then " + Command(project, "retry") + " or " + Command(project, "rollback");
    default: return "";
  }
}

std::string Sentence(const ProjectView& project, const Style& style) {
  const Mark mark = MarkOf(project.state);
  std::string text = Printable(project.ref) + "  " + Paint(Text(mark, style), mark.tone, style);
  if (project.attempts > 0) {
    text += " in " + Printable(project.phase) +
            (project.direction == Direction::kRollback ? " of the rollback" : "") + " (attempt " +
            std::to_string(project.attempts) + ", fence " + std::to_string(project.fence) + ")";
  }
  text += "\n";
  const std::string advice = Advice(project);
  return advice.empty() ? text : text + Printable(advice) + "\n";
}

std::string History(const ProjectView& project, const Style& style) {
  Table table{{{"#", true}, {"FENCE", true}, {"DIRECTION"}, {"LAST PHASE"}, {"OUTCOME"}, {"TOOK", true}, {"WORKER"}},
              {}};
  std::string errors;
  for (const AttemptView& attempt : project.history) {
    const bool open = attempt.end_ms == 0;
    table.rows.push_back({{std::to_string(attempt.number)},
                          {std::to_string(attempt.fence)},
                          {std::string(Name(attempt.direction))},
                          {attempt.phase},
                          {open ? "running" : attempt.outcome},
                          {open ? "-" : Duration(attempt.end_ms - attempt.start_ms)},
                          {attempt.worker}});
    if (attempt.error) {
      errors += "  #" + std::to_string(attempt.number) + " " + Printable(ErrorLine(*attempt.error)) + "\n";
    }
  }
  return Title("Attempts", style) + Draw(table, true, style) + errors;
}

std::string Results(const ProjectView& project, const Style& style) {
  Table table{{{"PHASE"}, {"FENCE", true}, {"TOOK", true}, {"RESULT", false, false, true}}, {}};
  for (const ResultView& result : project.results) {
    const std::string undo = result.direction == Direction::kRollback ? " (undo)" : "";
    table.rows.push_back(
        {{result.phase + undo}, {std::to_string(result.fence)}, {Duration(result.duration_ms)}, {result.summary}});
  }
  return Title("Phases done", style) + Draw(table, true, style);
}

std::string Facts(const ProjectView& project) {
  std::string text = Field("migration", project.migration_id) + Field("batch", project.batch_id);
  if (!project.worker.empty()) {
    text += Field("worker", project.worker);
  }
  if (project.error) {
    text += Field("error", ErrorLine(*project.error)) + Field("verdict", project.error->verdict);
  }
  for (const std::string& warning : project.warnings) {
    text += Field("warning", warning);
  }
  text += Field("copied", Count(project.rows_copied) + " rows, " + Bytes(project.bytes_copied));
  if (project.estimated_bytes > 0) {
    text += Field("estimated", Bytes(project.estimated_bytes));
  }
  text += Field("updated", Time(project.update_ms));
  for (const auto& [key, value] : project.attributes) {
    text += Field("attribute", key + "=" + value);
  }
  return text;
}

std::string MigrationAdvice(const ProgressView& progress) {
  const std::string& id = progress.id;
  if (progress.need_operator > 0) {
    return Count(progress.need_operator) + " need you: pgconvoy get projects --migration " + id +
           " --state NEEDS_OPERATOR";
  }
  switch (progress.state) {
    case MigrationState::kPaused: return "paused; go on with: pgconvoy resume " + id;
    case MigrationState::kFailed:
      return "see why: pgconvoy get projects --migration " + id + " --state FAILED,ROLLED_BACK";
    case MigrationState::kRunning:
    case MigrationState::kRollingBack:
    case MigrationState::kCancelling: return "follow it: pgconvoy watch " + id;
    default: return "";
  }
}

}  // namespace

std::string_view WaitSentence(std::string_view cause) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSentences = {{
      {"PAUSED_BY_USER", "the migration is paused; `pgconvoy resume` lets it go on"},
      {"RETRY_BACKOFF", "the last attempt met a passing error; it is tried again by itself"},
      {"SOURCE_TOKENS", "every token of the source server is in use; it goes on when a project there ends"},
      {"TARGET_TOKENS", "every token of the target server is in use; it goes on when a project there ends"},
      {"NO_WORKER", "no worker has a free slot; start more workers, or wait until one is free"},
      {"BATCH_ORDER", "other projects of its batch come first"},
  }};
  for (const auto& [name, sentence] : kSentences) {
    if (name == cause) {
      return sentence;
    }
  }
  return "";
}

std::string DescribeProject(const ProjectView& project, const Style& style) {
  std::string text = Sentence(project, style) + "\n" + Facts(project);
  if (!project.history.empty()) {
    text += History(project, style);
  }
  if (!project.results.empty()) {
    text += Results(project, style);
  }
  return text;
}

std::string DescribeMigration(const MigrationView& migration, const Style& style) {
  std::string text = ProgressBlock(migration.progress, style);
  const std::string advice = MigrationAdvice(migration.progress);
  if (!advice.empty()) {
    text += "next   " + advice + "\n";
  }
  text += "\n" + Field("request id", migration.request_id) + Field("plan hash", migration.plan_hash) +
          Field("created", Time(migration.create_ms)) + Field("ended", Time(migration.end_ms)) +
          Field("phases", Join(migration.phases, " "));
  return text;
}

}  // namespace pgconvoy::render
