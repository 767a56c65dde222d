#include "coordinator/core/transitions.h"

#include <algorithm>
#include <array>

namespace pgconvoy::core {
namespace {

using PS = ProjectState;
using T = Trigger;

constexpr auto kProjectTransitions = std::to_array<Transition>({
    {"T-01", PS::kPending, T::kGranted, PS::kRunning, "granted",
     "a worker had a free slot and every server of the project a free token"},
    {"T-02", PS::kWaiting, T::kGranted, PS::kRunning, "granted again",
     "a worker had a free slot and every server of the project a free token"},
    {"T-03", PS::kRunning, T::kSucceeded, PS::kSucceeded, "all phases done", "every forward phase is durable"},
    {"T-04", PS::kRunning, T::kSucceededWithWarnings, PS::kSucceededWithWarnings, "all phases done, with warnings",
     "every forward phase is durable, and at least one of them warned"},
    {"T-05", PS::kRunning, T::kUndone, PS::kRolledBack, "rollback done", "every rollback phase is durable"},
    {"T-06", PS::kRunning, T::kUndoneForCancel, PS::kCancelled, "rollback done after a cancel",
     "the cancel that was asked for is complete once its rollback is durable"},
    {"T-07", PS::kRunning, T::kFailedTransiently, PS::kWaiting, "transient error",
     "the error may pass: the project is tried again after a pause"},
    {"T-08", PS::kRunning, T::kRetriesExhausted, PS::kNeedsOperator, "transient error, no attempts left",
     "the error did not pass within the attempts that the plan allows"},
    {"T-09", PS::kRunning, T::kFailedTouched, PS::kWaiting, "permanent error, something to undo",
     "trying again cannot help: what was made is rolled back"},
    {"T-10", PS::kRunning, T::kFailedUntouched, PS::kFailed, "permanent error, nothing to undo",
     "trying again cannot help, and nothing was made"},
    {"T-11", PS::kRunning, T::kFailedKept, PS::kFailed, "permanent error, plan keeps",
     "trying again cannot help, and the plan wants everything left as it is"},
    {"T-12", PS::kRunning, T::kRollbackFailed, PS::kNeedsOperator, "permanent error of a rollback",
     "neither direction can go on without a person"},
    {"T-13", PS::kRunning, T::kOperatorNeeded, PS::kNeedsOperator, "worker asks for a person",
     "going on in either direction could lose data"},
    {"T-14", PS::kRunning, T::kStoreRegressed, PS::kNeedsOperator, "a server knows a higher fence",
     "the store is older than what its servers have seen"},
    {"T-15", PS::kRunning, T::kAbandoned, PS::kWaiting, "abandoned",
     "the worker gave the project up at a safe point; another attempt goes on"},
    {"T-16", PS::kRunning, T::kReleased, PS::kWaiting, "released", "the worker gave the project back"},
    {"T-17", PS::kRunning, T::kLeaseLost, PS::kWaiting, "lease lost",
     "its worker was silent for too long or was replaced"},
    {"T-18", PS::kRunning, T::kLossesExhausted, PS::kNeedsOperator, "lease lost too often",
     "a project that ends every worker that touches it must not do so for ever"},
    {"T-19", PS::kRunning, T::kGrantNeverArrived, PS::kWaiting, "not held by its worker",
     "the worker reconnected without it: the grant never arrived"},
    {"T-20", PS::kRunning, T::kStoppedTouchedByCancel, PS::kWaiting, "stopped for a cancel, something to undo",
     "the attempt ended after a cancel: what it made is rolled back"},
    {"T-21", PS::kRunning, T::kStoppedUntouchedByCancel, PS::kCancelled, "stopped for a cancel, nothing to undo",
     "the attempt ended after a cancel and had made nothing"},
    {"T-22", PS::kRunning, T::kStoppedTouchedByRollback, PS::kWaiting, "stopped for a rollback, something to undo",
     "the attempt ended after a rollback was asked for: what it made is rolled back"},
    {"T-23", PS::kRunning, T::kStoppedUntouchedByRollback, PS::kRolledBack, "stopped for a rollback, nothing to undo",
     "the attempt ended after a rollback was asked for and had made nothing"},
    {"T-24", PS::kRunning, T::kSucceededDespiteRollback, PS::kWaiting, "succeeded while a rollback was asked for",
     "the project was done before it could be stopped: it is rolled back"},
    {"T-25", PS::kPending, T::kCancelUntouched, PS::kCancelled, "cancelled", "no attempt had begun"},
    {"T-26", PS::kWaiting, T::kCancelUntouched, PS::kCancelled, "cancelled, nothing to undo",
     "no attempt had made anything"},
    {"T-27", PS::kWaiting, T::kCancelTouched, PS::kWaiting, "cancelled, something to undo",
     "what earlier attempts made is rolled back first"},
    {"T-28", PS::kPending, T::kRollbackUntouched, PS::kRolledBack, "rollback asked for", "no attempt had begun"},
    {"T-29", PS::kWaiting, T::kRollbackUntouched, PS::kRolledBack, "rollback asked for, nothing to undo",
     "no attempt had made anything"},
    {"T-30", PS::kWaiting, T::kRollbackTouched, PS::kWaiting, "rollback asked for, something to undo",
     "what earlier attempts made is rolled back"},
    {"T-31", PS::kSucceeded, T::kRollbackAsked, PS::kWaiting, "rollback asked for", "an operator wants it undone"},
    {"T-32", PS::kSucceededWithWarnings, T::kRollbackAsked, PS::kWaiting, "rollback asked for",
     "an operator wants it undone"},
    {"T-33", PS::kFailed, T::kRollbackAsked, PS::kWaiting, "rollback asked for", "an operator wants it undone"},
    {"T-34", PS::kNeedsOperator, T::kRollbackAsked, PS::kWaiting, "rollback asked for",
     "an operator wants it undone"},
    {"T-35", PS::kFailed, T::kRetried, PS::kWaiting, "retried", "an operator gave it a fresh budget of attempts"},
    {"T-36", PS::kNeedsOperator, T::kRetried, PS::kWaiting, "retried",
     "an operator gave it a fresh budget of attempts in the direction it was going"},
    {"T-37", PS::kRolledBack, T::kRetried, PS::kWaiting, "retried", "an operator wants it to begin anew"},
});

using MS = MigrationState;
using M = MigrationTrigger;

constexpr std::string_view kSucceededReason = "every project succeeded";
constexpr std::string_view kWarnedReason = "every project succeeded, at least one with warnings";
constexpr std::string_view kFailedReason = "at least one project failed, was rolled back or needs an operator";
constexpr std::string_view kCancelledReason = "every project has ended, at least one of them cancelled";
constexpr std::string_view kReopenedReason = "projects of it have work to do again";

constexpr auto kMigrationTransitions = std::to_array<MigrationTransition>({
    {"M-01", MS::kRunning, M::kPause, MS::kPaused, "pause", "an operator paused it: no new forward grants"},
    {"M-02", MS::kPaused, M::kResume, MS::kRunning, "resume", "an operator resumed it"},
    {"M-03", MS::kRunning, M::kCancel, MS::kCancelling, "cancel", "an operator cancelled it"},
    {"M-04", MS::kPaused, M::kCancel, MS::kCancelling, "cancel", "an operator cancelled it"},
    {"M-05", MS::kRunning, M::kRollbackAll, MS::kRollingBack, "roll back all", "an operator wants all of it undone"},
    {"M-06", MS::kPaused, M::kRollbackAll, MS::kRollingBack, "roll back all", "an operator wants all of it undone"},
    {"M-07", MS::kRunning, M::kEndedSucceeded, MS::kSucceeded, "all ended", kSucceededReason},
    {"M-08", MS::kRunning, M::kEndedWithWarnings, MS::kSucceededWithWarnings, "all ended", kWarnedReason},
    {"M-09", MS::kRunning, M::kEndedFailed, MS::kFailed, "all ended", kFailedReason},
    {"M-10", MS::kRunning, M::kEndedCancelled, MS::kCancelled, "all ended", kCancelledReason},
    {"M-11", MS::kPaused, M::kEndedSucceeded, MS::kSucceeded, "all ended", kSucceededReason},
    {"M-12", MS::kPaused, M::kEndedWithWarnings, MS::kSucceededWithWarnings, "all ended", kWarnedReason},
    {"M-13", MS::kPaused, M::kEndedFailed, MS::kFailed, "all ended", kFailedReason},
    {"M-14", MS::kPaused, M::kEndedCancelled, MS::kCancelled, "all ended", kCancelledReason},
    {"M-15", MS::kCancelling, M::kEndedCancelled, MS::kCancelled, "all ended",
     "the cancel is complete: every project has ended"},
    {"M-16", MS::kRollingBack, M::kEndedRolledBack, MS::kRolledBack, "all ended",
     "the rollback is complete: every project has ended"},
    {"M-17", MS::kRollingBack, M::kEndedFailed, MS::kFailed, "all ended",
     "at least one project could not be rolled back"},
    {"M-18", MS::kFailed, M::kRetry, MS::kRunning, "retry", kReopenedReason},
    {"M-19", MS::kCancelled, M::kRetry, MS::kRunning, "retry", kReopenedReason},
    {"M-20", MS::kRolledBack, M::kRetry, MS::kRunning, "retry", kReopenedReason},
    {"M-21", MS::kSucceeded, M::kRollbackOne, MS::kRunning, "roll back one", kReopenedReason},
    {"M-22", MS::kSucceededWithWarnings, M::kRollbackOne, MS::kRunning, "roll back one", kReopenedReason},
    {"M-23", MS::kFailed, M::kRollbackOne, MS::kRunning, "roll back one", kReopenedReason},
    {"M-24", MS::kCancelled, M::kRollbackOne, MS::kRunning, "roll back one", kReopenedReason},
    {"M-25", MS::kSucceeded, M::kRollbackAll, MS::kRollingBack, "roll back all", kReopenedReason},
    {"M-26", MS::kSucceededWithWarnings, M::kRollbackAll, MS::kRollingBack, "roll back all", kReopenedReason},
    {"M-27", MS::kFailed, M::kRollbackAll, MS::kRollingBack, "roll back all", kReopenedReason},
    {"M-28", MS::kCancelled, M::kRollbackAll, MS::kRollingBack, "roll back all", kReopenedReason},
});

template <typename Table, typename State, typename What>
auto FindIn(const Table& table, State from, What trigger) -> decltype(table.data()) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const auto& row) { return row.from == from && row.trigger == trigger; });
  return found == table.end() ? nullptr : &*found;
}

template <typename Row>
void AppendDiagram(std::span<const Row> rows, std::string_view initial, std::string& text) {
  text += "stateDiagram-v2\n  [*] --> ";
  text += initial;
  text += "\n";
  for (const Row& row : rows) {
    for (const std::string_view part :
         {std::string_view("  "), Name(row.from), std::string_view(" --> "), Name(row.to), std::string_view(": "),
          row.id, std::string_view(" "), row.when, std::string_view("\n")}) {
      text += part;
    }
  }
}

template <typename Row>
void AppendTable(std::span<const Row> rows, std::string& text) {
  text += "| id | from | when | to | reason |\n| --- | --- | --- | --- | --- |\n";
  for (const Row& row : rows) {
    for (const std::string_view cell : {row.id, Name(row.from), row.when, Name(row.to), row.reason}) {
      text += "| ";
      text += cell;
      text += " ";
    }
    text += "|\n";
  }
}

}  // namespace

std::span<const Transition> ProjectTransitions() { return kProjectTransitions; }
std::span<const MigrationTransition> MigrationTransitions() { return kMigrationTransitions; }

const Transition* FindTransition(ProjectState from, Trigger trigger) {
  return FindIn(kProjectTransitions, from, trigger);
}

const MigrationTransition* FindTransition(MigrationState from, MigrationTrigger trigger) {
  return FindIn(kMigrationTransitions, from, trigger);
}

std::string TransitionsMermaid() {
  std::string text;
  AppendDiagram(ProjectTransitions(), Name(ProjectState::kPending), text);
  text += "\n";
  AppendDiagram(MigrationTransitions(), Name(MigrationState::kRunning), text);
  return text;
}

std::string TransitionsMarkdown() {
  std::string text;
  AppendTable(ProjectTransitions(), text);
  text += "\n";
  AppendTable(MigrationTransitions(), text);
  return text;
}

}  // namespace pgconvoy::core
