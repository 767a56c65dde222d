// Reports of workers: refused, already recorded, or recorded now.
#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "common/base/planted.h"
#include "coordinator/core/core_impl.h"
#include "coordinator/core/phase_table.h"

namespace pgconvoy::core {
namespace {

void Ack(Step& step, const WorkerReport& report, std::string_view refused = {}, std::string message = {}) {
  step.Send(SendAck{report.stream, report.migration, report.ref, report.fence, report.seq, std::string(refused),
                    std::move(message)});
}

// A later attempt, or the end of this one, may warn of the same.
void AddWarnings(Project& project, const std::vector<std::string>& warnings) {
  if (warnings.empty()) {
    return;
  }
  if (!project.warnings) {
    project.warnings = std::make_unique<std::vector<std::string>>();
  }
  for (const std::string& warning : warnings) {
    const bool known =
        std::find(project.warnings->begin(), project.warnings->end(), warning) != project.warnings->end();
    if (!known && project.warnings->size() < kMaxWarnings) {
      project.warnings->push_back(warning);
    }
  }
}

// Keeps the migration's sums in step.
void SetCopied(Project& project, int64_t rows, int64_t bytes) {
  MigrationRow& migration = project.home->row;
  migration.rows_copied += rows - project.rows_copied;
  migration.bytes_copied += bytes - project.bytes_copied;
  project.rows_copied = rows;
  project.bytes_copied = bytes;
}

std::string CheckNext(const Project& project, Phase phase) {
  const std::optional<Phase> next = NextPhase(project);
  if (next == phase) {
    return "";
  }
  return std::string(Name(phase)) + " is not next in this attempt; " +
         (next ? std::string(Name(*next)) + " is" : "no phase is left");
}

// Of a forward attempt that cannot open the encrypted backup of an earlier one (worker/phases/backup_access.h): the key
// died with that one.
constexpr std::string_view kBackupLocked = "PGC-BACKUP-LOCKED";

// BACKUP and what rests upon it: the next attempt takes another and loads that.
constexpr uint32_t kRestsOnBackup = Bit(Phase::kBackup) | Bit(Phase::kCopy) | Bit(Phase::kVerify);
// After these the source, or what users see, is no longer what it was when the backup was taken.
constexpr uint32_t kTooLateForBackup = Bit(Phase::kTransform) | Bit(Phase::kCutover);

bool NeedsOtherBackup(const Project& project, const ErrorInfo& error) {
  return project.direction == Direction::kForward && error.code == kBackupLocked &&
         (project.done() & kTooLateForBackup) == 0;
}

std::string_view PhaseRule(Phase phase) {
  // The table has every phase, in the order of their numbers.
  return PhaseTable()[static_cast<size_t>(phase) - 1].id;
}

}  // namespace

void Core::Impl::On(Step& step, const WorkerReport& report) {
  const Worker* worker = Heard(step, report.stream);
  Project* project = fleet_.Find(report.migration, report.ref);
  if (worker == nullptr || project == nullptr ||
      (project->fence != report.fence && !PGC_PLANTED(kSkipReportFenceCheck))) {
    Ack(step, report, "LEASE_LOST", "this attempt is not the project's present one");
    return;
  }
  if (report.seq <= project->last_seq && !PGC_PLANTED(kRecordReportTwice)) {
    Ack(step, report);
    return;
  }
  const bool held =
      project->state == ProjectState::kRunning && project->home->batches[project->batch].worker == worker;
  if (!held && !PGC_PLANTED(kSkipHolderCheck)) {
    Ack(step, report, "LEASE_LOST", "this worker's lease of the project has ended");
    return;
  }
  std::string illegal;
  // A worker ends an attempt of which a report was refused: its number was left out, and others may have followed.
  const bool gap_allowed = project->seq_gap_allowed || std::holds_alternative<AttemptFailed>(report.body);
  if (report.seq > project->last_seq + 1 && !gap_allowed) {
    illegal = "report " + std::to_string(report.seq) + " came after " + std::to_string(project->last_seq);
  } else {
    illegal = std::visit([&](const auto& body) { return Take(step, *project, report, body); }, report.body);
  }
  if (!illegal.empty()) {
    RecordIllegal(step, *project, report, illegal);
  }
  Ack(step, report, illegal.empty() ? "" : "ILLEGAL", illegal);
}

void Core::Impl::RecordIllegal(Step& step,
                               const Project& project,
                               const WorkerReport& report,
                               const std::string& why) {
  step.Record(report.migration, report.ref,
              {.kind = "REPORT_REFUSED",
               .actor = WorkerActor(WorkerIdOf(project)),
               .rule = PhaseRule(project.phase),
               .reason = why,
               .details = {{"fence", std::to_string(report.fence.value)}, {"seq", std::to_string(report.seq)}}});
}

namespace {

void Accept(Project& project, const WorkerReport& report) {
  project.last_seq = report.seq;
  project.seq_gap_allowed = false;
}

}  // namespace

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const PhaseStarted& body) {
  if (std::string why = CheckNext(project, body.phase); !why.empty()) {
    return why;
  }
  Accept(project, report);
  project.phase = body.phase;
  step.Write(project);
  return "";
}

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const IntentReported& body) {
  Accept(project, report);
  project.touched = project.touched || !PGC_PLANTED(kIntentDoesNotTouch);
  if (!PGC_PLANTED(kForgetIntent)) {
    step.out().writes.intents.push_back({project.id, report.migration, report.fence, report.seq, body.payload_json});
  }
  step.Write(project);
  return "";
}

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const Progress& body) {
  Accept(project, report);
  if (project.phase == Phase::kCopy) {
    SetCopied(project, body.rows, body.bytes);
  }
  if (step.now().mono >= project.progress_due) {
    project.progress_due = step.now().mono + settings_.progress_interval_ms;
    step.Write(project);
    step.Write(*project.home);
  }
  return "";
}

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const PhaseDone& body) {
  if (std::string why = CheckNext(project, body.phase); !why.empty()) {
    return why;
  }
  Accept(project, report);
  project.phase = body.phase;
  project.done() |= Bit(body.phase);
  if (project.direction == Direction::kForward && body.phase > Phase::kPreValidation) {
    project.touched = true;
  }
  if (body.phase == Phase::kCopy) {
    SetCopied(project, body.rows_copied, body.bytes_copied);
    step.Write(*project.home);
  }
  AddWarnings(project, body.warnings);
  if (!PGC_PLANTED(kForgetResult)) {
    step.out().writes.results.push_back({project.id, report.migration, report.fence, body.phase, project.direction,
                                         step.now().wall, body.payload_json});
  }
  step.RecordPhaseDone(project, WorkerActor(WorkerIdOf(project)), PhaseRule(body.phase), body.phase);
  step.Write(project);
  return "";
}

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const AttemptFailed& body) {
  Accept(project, report);
  project.phase = body.phase;
  if (NeedsOtherBackup(project, body.error)) {
    project.done() &= ~kRestsOnBackup;
  }
  AttemptEndedBadly(step, project, body.error, WorkerActor(WorkerIdOf(project)));
  return "";
}

std::string Core::Impl::Take(Step& step, Project& project, const WorkerReport& report, const AttemptDone& body) {
  if (const std::optional<Phase> next = NextPhase(project)) {
    return std::string(Name(*next)) + " is not done";
  }
  Accept(project, report);
  AddWarnings(project, body.warnings);
  AttemptSucceeded(step, project, WorkerActor(WorkerIdOf(project)));
  return "";
}

}  // namespace pgconvoy::core
