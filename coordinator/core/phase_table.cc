#include "coordinator/core/phase_table.h"

#include <algorithm>
#include <array>

namespace pgconvoy::core {
namespace {

using S = PlanSections;

bool Always(const S&) { return true; }
// Only logins change; what was moved stays as it is.
bool LoginsOnly(const S& s) { return s.rotates || s.revokes; }
bool Moves(const S& s) { return !s.backup_only && !LoginsOnly(s); }
bool Copies(const S& s) { return s.target && s.tables && Moves(s); }
bool Transforms(const S& s) { return s.transform && Moves(s); }
bool BacksUp(const S& s) { return (s.tables || s.transform) && !s.skip_backup && !LoginsOnly(s); }

constexpr auto kPhases = std::to_array<PhaseRow>({
    {"P-01", Phase::kFence, "raises the project's fence on every server and shuts out older attempts",
     "provisioner, registrar", "fence rows", "-", "nothing of an older attempt may act once this one begins", Always,
     1},
    {"P-02", Phase::kPreValidation, "runs the plan's checks and the built-in ones; writes nothing",
     "reader, provisioner, registrar", "check results", "nothing to undo", "a project that cannot move is left alone",
     Always, 0},
    {"P-03", Phase::kFreeze, "stops the project's writes the way the plan says", "registrar",
     "the freeze, with its undo", "thaw", "what is copied must not change while it is copied",
     [](const S& s) { return s.freeze && !LoginsOnly(s); }, 6},
    {"P-04", Phase::kCredentials, "seals a new password, creates the project's role, tests the login", "provisioner",
     "the sealed password, then the role", "the role loses its login, its sessions end, it is dropped",
     "the database to come needs its owner", [](const S& s) { return s.credentials && !s.backup_only; }, 5},
    {"P-05", Phase::kProvision,
     "clones the template under a temporary name, shuts others out, renames it, gives it to the project",
     "provisioner, the template's owner, the attempt's own login", "the database under its final name",
     "renamed under the fence, then dropped", "the rows need a place",
     [](const S& s) { return s.target && Moves(s); }, 4},
    {"P-06", Phase::kBackup, "reads the project's rows from one snapshot into chunk files, then the manifest",
     "reader", "the manifest, and its digest in the store", "unsealed parts are deleted, a sealed backup is kept",
     "every row of a target comes from a backup", BacksUp, 7},
    {"P-07", Phase::kCopy, "loads the backup's chunks into the target", "the attempt's own login",
     "a ledger row with each chunk's rows", "goes with the database", "the manifest is sealed now", Copies, 0},
    {"P-08", Phase::kTransform, "changes a database in place, in one transaction", "transformer",
     "the transaction, with its ledger row", "the rows of the change log, policies and definitions are put back",
     "what it changes is backed up now", Transforms, 3},
    {"P-09", Phase::kVerify,
     "compares counts, digests, sequences and objects; after a rollback, that nothing is left",
     "the attempt's own login", "the verification record", "nothing to undo",
     "nothing is cut over before it is proven", [](const S& s) { return Copies(s) || Transforms(s); }, 8},
    {"P-10", Phase::kCutover,
     "proves that nobody wrote to the source since the backup, then updates the registry under one condition",
     "reader, registrar, provisioner", "the registry row and the cutover record", "the old values are put back",
     "only a verified target is shown to users", [](const S& s) { return s.cutover && !s.backup_only && !s.revokes; },
     2},
    {"P-11", Phase::kPostValidation, "logs in as the project, proves that nobody else can connect, runs checks",
     "project role, provisioner, the attempt's own login", "check results", "rollback of the whole project",
     "the cutover is tested while it can be undone", Moves, 0},
    {"P-12", Phase::kCleanup, "thaws, drops the ledger and the attempt's login", "as the creator",
     "nothing left behind but fence rows and kept backups", "-", "last, so that every phase before it can resume",
     Always, 9},
});

// Of a row that a rollback can have.
bool InRollback(const PhaseRow& row, std::span<const Phase> forward) {
  // A rollback fences, proves and cleans up whatever the forward direction would have done.
  const bool always = row.phase == Phase::kFence || row.phase == Phase::kVerify || row.phase == Phase::kCleanup;
  return always || std::find(forward.begin(), forward.end(), row.phase) != forward.end();
}

std::vector<const PhaseRow*> RollbackRows() {
  std::vector<const PhaseRow*> rows;
  for (const PhaseRow& row : kPhases) {
    if (row.rollback_order > 0) {
      rows.push_back(&row);
    }
  }
  std::sort(rows.begin(), rows.end(),
            [](const PhaseRow* a, const PhaseRow* b) { return a->rollback_order < b->rollback_order; });
  return rows;
}

std::string Arrow(std::string_view from, std::string_view to, std::string_view label) {
  std::string line = "  ";
  line += from;
  line += " --> ";
  line += to;
  if (!label.empty()) {
    line += ": ";
    line += label;
  }
  return line + "\n";
}

}  // namespace

std::span<const PhaseRow> PhaseTable() { return kPhases; }

std::vector<Phase> ForwardPhases(const PlanSections& sections) {
  std::vector<Phase> phases;
  for (const PhaseRow& row : kPhases) {
    if (row.applies(sections)) {
      phases.push_back(row.phase);
    }
  }
  return phases;
}

std::vector<Phase> RollbackPhases(std::span<const Phase> forward) {
  std::vector<Phase> phases;
  for (const PhaseRow* row : RollbackRows()) {
    if (InRollback(*row, forward)) {
      phases.push_back(row->phase);
    }
  }
  return phases;
}

std::string PhaseTableMarkdown() {
  std::string text =
      "| id | phase | does | logs in as | durable when done | undone by | why here |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const PhaseRow& row : kPhases) {
    for (const std::string_view cell :
         {row.id, Name(row.phase), row.does, row.logs_in_as, row.durable_when_done, row.undone_by, row.reason}) {
      text += "| ";
      text += cell;
      text += " ";
    }
    text += "|\n";
  }
  return text;
}

std::string PhaseTableMermaid() {
  std::string text = "stateDiagram-v2\n  state FORWARD {\n";
  std::string_view before = "[*]";
  for (const PhaseRow& row : kPhases) {
    text += Arrow(before, Name(row.phase), row.id);
    before = Name(row.phase);
  }
  text += Arrow(before, "[*]", "") + "  }\n  state ROLLBACK {\n";
  std::string previous = "[*]";
  for (const PhaseRow* row : RollbackRows()) {
    const std::string undo = "UNDO_" + std::string(Name(row->phase));
    text += Arrow(previous, undo, row->id);
    previous = undo;
  }
  text += Arrow(previous, "[*]", "") + "  }\n  FORWARD --> ROLLBACK: error or operator\n";
  return text;
}

}  // namespace pgconvoy::core
