#include "tests/sim/oracles.h"

#include <algorithm>
#include <string>

namespace pgconvoy::sim {
namespace {

using Name = Database::Name;

class EndJudge {
 public:
  EndJudge(Simulation& sim, Project& project, const core::ProjectRow& row)
      : sim_(sim), project_(project), row_(row), other_(OtherRow()) {}

  void Run() {
    Outcome();
    const bool open = IsOpen(&row_) || IsOpen(other_);
    if (HasMoved(&row_)) {
      Moved();
    } else if (!open && !HasMoved(other_)) {
      Untouched();
    }
    if (!open) {
      NothingLeft();
    }
    if (project_.registry.isolated) {
      Shown();
    }
  }

 private:
  void Fail(const char* oracle, const std::string& what) {
    sim_.judge.Fail(oracle, "project " + row_.ref + ", " + std::string(Name_()) + ": " + what);
  }
  std::string_view Name_() const { return pgconvoy::Name(row_.state); }

  // Of the same project in another migration; null when there is none.
  const core::ProjectRow* OtherRow() const {
    const auto& rows = sim_.store.projects();
    const auto found = std::find_if(rows.begin(), rows.end(), [this](const core::ProjectRow& row) {
      return row.ref == row_.ref && row.id != row_.id;
    });
    return found == rows.end() ? nullptr : &*found;
  }

  static bool HasMoved(const core::ProjectRow* row) {
    return row != nullptr &&
           (row->state == ProjectState::kSucceeded || row->state == ProjectState::kSucceededWithWarnings);
  }

  // Something may be left of it until an operator decides, or because the plan wants everything left as it is.
  bool IsOpen(const core::ProjectRow* row) const {
    return row != nullptr && (row->state == ProjectState::kNeedsOperator ||
                              (row->state == ProjectState::kFailed && !sim_.config.spec.rollback_on_failure));
  }

  // Every end has a cause: a defect of the project, an operator, or faults that went on for too long.
  void Outcome() {
    const std::string code = row_.error ? row_.error->code : "";
    const bool troubled = project_.defect != Defect::kNone || project_.steered;
    if (row_.state == ProjectState::kNeedsOperator) {
      const bool worn_out = code == "PGC-RETRIES-EXHAUSTED" || code == "PGC-WORKER-LOSSES";
      const bool taken = code == "PGC-CRED-EXISTS" || code == "PGC-DB-EXISTS";
      const bool stuck = taken || code == "PGC-ROLLBACK-WRITES";
      if (!worn_out && !(troubled && stuck) && !(taken && other_ != nullptr)) {
        Fail("O10", "needs an operator without a cause: " + code);
      }
    } else if (row_.state != ProjectState::kSucceeded && !troubled) {
      Fail("O10", "did not succeed, and nothing is wrong with it: " + code);
    } else if (row_.state == ProjectState::kSucceeded && Prevents(project_.defect)) {
      Fail("O4", "succeeded in spite of its defect");
    }
  }

  // Whether this defect is in the way of this plan.
  bool Prevents(Defect defect) const {
    switch (defect) {
      case Defect::kFailsCheck:
      case Defect::kAlwaysBusy: return true;
      case Defect::kFailsInUse: return sim_.config.has_credentials || sim_.config.has_transform;
      case Defect::kForeignRole: return sim_.config.has_credentials;
      case Defect::kForeignDatabase: return sim_.config.has_target;
      case Defect::kSourceKeepsChanging: return sim_.config.has_target && sim_.config.has_cutover;
      case Defect::kNone: break;
    }
    return false;
  }

  void Moved() {
    if (sim_.config.has_cutover && !project_.registry.isolated) {
      Fail("O4", "the registry still sends it to the shared database");
    }
    if (sim_.config.has_credentials &&
        (!project_.role.can_login || !sim_.store.HasSealed(row_.ref, project_.role.password))) {
      Fail("O9", "its password cannot be opened, or its role cannot log in");
    }
    if (sim_.config.has_target) {
      InTarget();
    }
    if (sim_.config.has_transform) {
      Changed(1);
    }
    if (sim_.config.has_fallback && project_.fallback_gets_in) {
      Fail("O4", "its former login still gets in");
    }
  }

  void Changed(int wanted) {
    for (const int times : project_.changed) {
      if (times < wanted) {
        Fail("O1", "rows that were to be changed where they are were not, or were put back twice");
      } else if (times > wanted) {
        Fail("O2", "rows are changed where they are more than once, or were not put back");
      }
    }
  }

  void InTarget() {
    const Database* const database = project_.Find(Name::kFinal);
    if (database == nullptr || !database->complete || !database->allows_connections || database->open_to_public) {
      Fail("O4", "has no database that it could use");
      return;
    }
    Rows(*database);
  }

  void Rows(const Database& database) {
    // Without a cutover the tenant goes on in the source once it is thawed.
    const Backup* const backup = project_.FindBackup(database.backup);
    const int64_t wanted = sim_.config.has_cutover || backup == nullptr ? project_.version : backup->version;
    for (const Database::Chunk& chunk : database.chunks) {
      if (chunk.copies == 0 || (chunk.copies == 1 && chunk.version < wanted)) {
        Fail("O1", "rows are missing from its database");
      } else if (chunk.copies > 1) {
        Fail("O2", "rows are in its database more than once");
      } else if (chunk.tenant != project_.index) {
        Fail("O3", "another project's rows are in its database");
      }
    }
  }

  // Whoever the registry sends there finds everything.
  void Shown() {
    const Database* const database = project_.Find(Name::kFinal);
    const bool moves = sim_.config.has_target;
    const bool usable = !moves || (database != nullptr && database->complete && !database->invalid);
    if (!usable || project_.InForce(0) == nullptr) {
      Fail("O4", "the registry sends it to a database that is not there");
      return;
    }
    if (moves) {
      Rows(*database);
    }
    if (sim_.config.has_credentials && project_.registry.password != project_.role.password) {
      Fail("O4", "the registry knows another password than the role");
    }
  }

  void Untouched() {
    if (project_.registry.isolated || project_.InForce(0) != nullptr) {
      Fail("O4", "the registry still sends it to the new database");
    }
    const bool left = std::any_of(project_.databases.begin(), project_.databases.end(), [](const Database& database) {
      return !database.foreign && database.name != Name::kKept;
    });
    if (left || (project_.role.exists && !project_.role.foreign)) {
      Fail("O6", "a database or role is left of it");
    }
    Changed(0);
    if (!project_.fallback_gets_in) {
      Fail("O7", "its former login is still kept out");
    }
    if (std::any_of(project_.backups.begin(), project_.backups.end(),
                    [](const Backup& one) { return !one.sealed && !one.late; })) {
      Fail("O6", "an unsealed backup is left of it");
    }
  }

  void NothingLeft() {
    const bool named = std::any_of(
        project_.databases.begin(), project_.databases.end(),
        [](const Database& database) { return database.name == Name::kTemporary || database.name == Name::kDoomed; });
    if (named || !project_.logins.empty()) {
      Fail("O6", "a login or a half-made database is left of it");
    }
    if (project_.frozen || project_.freeze_row) {
      Fail("O7", "its source is still frozen");
    }
    const Database* const database = project_.Find(Name::kFinal);
    if (database != nullptr && database->marked && database->ledger) {
      Fail("O6", "the ledger is left in its database");
    }
  }

  Simulation& sim_;
  Project& project_;
  const core::ProjectRow& row_;
  const core::ProjectRow* const other_;
};

}  // namespace

void JudgeBeforeReconcile(Simulation& sim) {
  for (const core::ProjectRow& row : sim.store.projects()) {
    const bool done = row.state == ProjectState::kSucceeded || row.state == ProjectState::kRolledBack;
    if (done && sim.projects[IndexOfRef(row.ref)].FindLogin(row.fence.value) != nullptr) {
      sim.judge.Fail("O6", "project " + row.ref + ": the last attempt has left its login");
    }
  }
}

void JudgeEnd(Simulation& sim) {
  for (const core::ProjectRow& row : sim.store.projects()) {
    EndJudge(sim, sim.projects[IndexOfRef(row.ref)], row).Run();
  }
}

}  // namespace pgconvoy::sim
