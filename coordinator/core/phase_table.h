// The life of a project as a table: which phases exist, when each applies, in which order an attempt of each
// direction runs them, and how each is undone. docs/architecture.md holds what `pgconvoy-coordinator
// --print-phase-table` prints.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/model.h"

namespace pgconvoy::core {

// Which sections a plan has; decides which phases apply.
struct PlanSections {
  bool target = false;
  bool freeze = false;
  bool credentials = false;
  bool tables = false;
  bool transform = false;
  bool cutover = false;
  // Nothing is moved or changed.
  bool backup_only = false;
  bool skip_backup = false;
  // Only the logins that an older migration made are changed, or taken away.
  bool rotates = false;
  bool revokes = false;
};

struct PhaseRow {
  // Stable, for example "P-03"; reaches the event log.
  std::string_view id;
  Phase phase;
  std::string_view does;
  std::string_view logs_in_as;
  std::string_view durable_when_done;
  std::string_view undone_by;
  // Why it stands where it stands.
  std::string_view reason;
  bool (*applies)(const PlanSections&);
  // Position in a rollback, 1 first; 0: a rollback does not run it.
  int rollback_order;
};

// In forward order.
std::span<const PhaseRow> PhaseTable();

// The phases of an attempt, in the order it runs them. FENCE is always first, CLEANUP always last.
std::vector<Phase> ForwardPhases(const PlanSections& sections);
// Of the forward phases of a migration, those that a rollback runs: FENCE, CUTOVER, TRANSFORM, PROVISION,
// CREDENTIALS, FREEZE (thaw), BACKUP, VERIFY (that nothing is left), CLEANUP.
std::vector<Phase> RollbackPhases(std::span<const Phase> forward);

// The table as Markdown and as a Mermaid state diagram.
std::string PhaseTableMarkdown();
std::string PhaseTableMermaid();

}  // namespace pgconvoy::core
