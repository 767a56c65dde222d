#include "worker/phases/table_restore.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/columns.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

class TableRestore {
 public:
  TableRestore(size_t number,
               pg::Connection& connection,
               Attempt& attempt,
               const v1::Table& spec,
               const InPlaceTable& table,
               const backup::TableEntry& entry)
      : connection_(connection),
        attempt_(attempt),
        spec_(spec),
        table_(table),
        entry_(entry),
        name_(Ident("pgc_restore_" + std::to_string(number))),
        want_("pg_temp." + name_) {}

  absl::Status Load(const backup::BackupReader& reader) {
    PGC_RETURN_IF_ERROR(CheckColumns());
    PGC_RETURN_IF_ERROR(connection_.ExecScript("CREATE TEMP TABLE " + name_ + " ON COMMIT DROP AS SELECT " +
                                               IdentList(entry_.columns) + " FROM " + table_.quoted +
                                               " WITH NO DATA"));
    for (const backup::ChunkEntry& chunk : entry_.chunks) {
      PGC_ASSIGN_OR_RETURN(const std::string rows, reader.ReadChunk(chunk));
      bool sent = false;
      PGC_RETURN_IF_ERROR(connection_
                              .CopyIn("COPY " + want_ + " (" + IdentList(entry_.columns) + ") FROM STDIN",
                                      [&]() -> absl::StatusOr<std::string_view> {
                                        return std::exchange(sent, true) ? std::string_view()
                                                                         : std::string_view(rows);
                                      })
                              .status());
      PGC_RETURN_IF_ERROR(attempt_.reporter().Checkpoint());
    }
    return connection_.ExecScript("ANALYZE " + want_);
  }

  absl::Status Delete() {
    PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(spec_, attempt_.values()));
    return connection_.ExecScript("DELETE FROM " + table_.quoted + " AS n" +
                                  (condition.empty() ? " WHERE" : condition + " AND") + " NOT EXISTS (SELECT FROM " +
                                  want_ + " w WHERE " + SameKey(table_, "n", "w") + ")");
  }

  absl::Status UpdateAndInsert() {
    std::string assignments;
    std::string differs;
    for (const std::string& column : Kept(table_.settable)) {
      const std::string name = Ident(column);
      assignments += (assignments.empty() ? "" : ", ") + name + " = w." + name;
      differs += (differs.empty() ? "" : " OR ") + ("n." + name) + "::pg_catalog.text IS DISTINCT FROM w." + name +
                 "::pg_catalog.text";
    }
    if (!assignments.empty()) {
      PGC_RETURN_IF_ERROR(connection_.ExecScript("UPDATE " + table_.quoted + " AS n SET " + assignments + " FROM " +
                                                 want_ + " w WHERE " + SameKey(table_, "n", "w") + " AND (" +
                                                 differs + ")"));
    }
    const std::string columns = IdentList(Kept(table_.insertable));
    return connection_.ExecScript(
        "INSERT INTO " + table_.quoted + " (" + columns + ") OVERRIDING SYSTEM VALUE SELECT " + columns + " FROM " +
        want_ + " w WHERE NOT EXISTS (SELECT FROM " + table_.quoted + " n WHERE " + SameKey(table_, "n", "w") + ")");
  }

  absl::Status Check() {
    PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(spec_, attempt_.values()));
    PGC_ASSIGN_OR_RETURN(const RowDigest digest, ReadDigest(attempt_, connection_,
                                                            "COPY (SELECT " + IdentList(entry_.columns) + " FROM " +
                                                                table_.quoted + condition + ") TO STDOUT"));
    if (digest.rows() == entry_.rows && digest.Hex() == entry_.digest) {
      return absl::OkStatus();
    }
    return MakeError(Verdict::kPermanent, "PGC-RESTORE-DIFFERS",
                     table_.name + " would have " + std::to_string(digest.rows()) + " rows, the backup has " +
                         std::to_string(entry_.rows) + ", or their content differs; nothing was restored",
                     "look for a table that refers to it with ON DELETE and is not in the plan");
  }

 private:
  absl::Status CheckColumns() const {
    for (const std::string& column : entry_.columns) {
      if (std::find(table_.insertable.begin(), table_.insertable.end(), column) == table_.insertable.end()) {
        return MakeError(Verdict::kPermanent, "PGC-RESTORE-TABLE",
                         "the backup has column \"" + column + "\" of " + table_.name + ", the table has not",
                         "restore into a new database instead: pgconvoy backup restore --database");
      }
    }
    return absl::OkStatus();
  }

  // Those that the backup has.
  std::vector<std::string> Kept(const std::vector<std::string>& columns) const {
    std::vector<std::string> kept;
    for (const std::string& column : columns) {
      if (std::find(entry_.columns.begin(), entry_.columns.end(), column) != entry_.columns.end()) {
        kept.push_back(column);
      }
    }
    return kept;
  }

  pg::Connection& connection_;
  Attempt& attempt_;
  const v1::Table& spec_;
  const InPlaceTable& table_;
  const backup::TableEntry& entry_;
  const std::string name_;
  const std::string want_;
};

absl::StatusOr<const backup::TableEntry*> FindEntry(const backup::Manifest& manifest, const std::string& table) {
  for (const backup::TableEntry& entry : manifest.tables) {
    if (entry.table == table) {
      return &entry;
    }
  }
  return MakeError(Verdict::kPermanent, "PGC-RESTORE-TABLE", "the backup does not hold " + table,
                   "choose a backup of this plan");
}

}  // namespace

absl::Status RestoreRows(pg::Connection& connection,
                         Attempt& attempt,
                         const std::vector<InPlaceTable>& tables,
                         const backup::BackupReader& reader) {
  std::vector<TableRestore> restores;
  std::vector<std::string> names;
  for (size_t i = 0; i < tables.size(); ++i) {
    PGC_ASSIGN_OR_RETURN(const backup::TableEntry* const entry, FindEntry(reader.manifest(), tables[i].name));
    restores.emplace_back(i, connection, attempt, attempt.plan().tables(static_cast<int>(i)), tables[i], *entry);
    names.push_back(tables[i].quoted);
    PGC_RETURN_IF_ERROR(restores.back().Load(reader));
  }
  PGC_ASSIGN_OR_RETURN(const DeferredKeys keys, ForeignKeysOf(connection, names));
  PGC_RETURN_IF_ERROR(connection.ExecScript(keys.defer));
  for (size_t i = restores.size(); i-- > 0;) {
    PGC_RETURN_IF_ERROR(restores[i].Delete());
  }
  for (TableRestore& restore : restores) {
    PGC_RETURN_IF_ERROR(restore.UpdateAndInsert());
  }
  PGC_RETURN_IF_ERROR(connection.ExecScript("SET CONSTRAINTS ALL IMMEDIATE;" + keys.as_before));
  for (TableRestore& restore : restores) {
    PGC_RETURN_IF_ERROR(restore.Check());
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
