// Every change of state that the coordinator can decide, as a table. Each row has a stable id and a reason that
// reach the event log, so that an operator can ask why something happened. A test checks the tables: ids unique,
// every state reachable and able to end.
//
// Thread safety: all functions are pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/model/model.h"

namespace pgconvoy::core {

// What happened to a project. "Stop" is what cancel and rollback ask of a forward attempt.
enum class Trigger : uint8_t {
  kGranted,
  kSucceeded,
  kSucceededWithWarnings,
  kUndone,
  kUndoneForCancel,
  kFailedTransiently,
  kRetriesExhausted,
  kFailedTouched,
  kFailedUntouched,
  kFailedKept,
  kRollbackFailed,
  kOperatorNeeded,
  kStoreRegressed,
  kAbandoned,
  kReleased,
  kLeaseLost,
  kLossesExhausted,
  kGrantNeverArrived,
  kStoppedTouchedByCancel,
  kStoppedUntouchedByCancel,
  kStoppedTouchedByRollback,
  kStoppedUntouchedByRollback,
  kSucceededDespiteRollback,
  kCancelTouched,
  kCancelUntouched,
  kRollbackTouched,
  kRollbackUntouched,
  kRollbackAsked,
  kRetried,
};

struct Transition {
  std::string_view id;
  ProjectState from;
  Trigger trigger;
  ProjectState to;
  // What happened, in a few words.
  std::string_view when;
  // Why it leads there.
  std::string_view reason;
};

std::span<const Transition> ProjectTransitions();
// Null when the table has no such row.
const Transition* FindTransition(ProjectState from, Trigger trigger);

enum class MigrationTrigger : uint8_t {
  kPause,
  kResume,
  kCancel,
  kRollbackAll,
  kRollbackOne,
  kRetry,
  kEndedSucceeded,
  kEndedWithWarnings,
  kEndedFailed,
  kEndedCancelled,
  kEndedRolledBack,
};

struct MigrationTransition {
  std::string_view id;
  MigrationState from;
  MigrationTrigger trigger;
  MigrationState to;
  std::string_view when;
  std::string_view reason;
};

std::span<const MigrationTransition> MigrationTransitions();
const MigrationTransition* FindTransition(MigrationState from, MigrationTrigger trigger);

// Both tables as Mermaid state diagrams, and as one Markdown table each.
std::string TransitionsMermaid();
std::string TransitionsMarkdown();

}  // namespace pgconvoy::core
