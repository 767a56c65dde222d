// The definition of what moves: read once from the source with pg_dump, laid once per target server as a template
// database, cloned for every project.
//
// What runs while rows are loaded (touch triggers), what would refuse them (foreign keys) and what would hide them
// (row-level security) is not in the template: it is `finish_sql`, run after VERIFY.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "worker/phases/attempt.h"
#include "worker/phases/foreign_keys.h"
#include "worker/phases/template.h"

namespace pgconvoy::worker {

// A table of the plan as the source has it.
struct TableInfo {
  // schema.table, as the plan writes it.
  std::string name;
  // Columns that are copied, in order: not generated, not excluded by the plan.
  std::vector<std::string> columns;
  // Of each of them the type under its domains, as format_type names it.
  std::vector<std::string> types;
  // Names, types and flags of all columns as one string; changes when the table's definition does.
  std::string fingerprint;
  // Columns that the server computes; empty where what they are computed from does not arrive as it is.
  std::vector<std::string> generated;
  // 'r' or 'p'.
  std::string relkind;
  bool row_security = false;
  // The entry of the plan that takes it, with this table's own name in place of a pattern.
  v1::Table entry;
};

// Describes one table; no pattern. PGC-SRC-TABLE when it does not exist or is no table, with the nearest name, when it
// has nothing to copy, and when other tables inherit from it: a read of it would give their rows as well.
// PGC-SRC-COLUMN when the plan names a column that it does not have, or leaves one out that must have a value.
absl::StatusOr<TableInfo> DescribeTable(pg::Connection& connection, const v1::Table& table);

// The schemas that the plan moves: those it lists, or all of the user's. Without a target, those of its tables.
absl::StatusOr<std::vector<std::string>> MovedSchemas(pg::Connection& connection, const v1::Plan& plan);

// The plan's tables with every pattern resolved to the tables that the source has now, in the plan's order. A pattern
// takes partitioned tables as a whole and not their partitions, nor what belongs to an extension. PGC-SRC-TABLE when a
// pattern takes nothing, and when two entries take the same table or a table and one of its partitions.
absl::StatusOr<std::vector<v1::Table>> ResolveTables(pg::Connection& connection,
                                                     const v1::Plan& plan,
                                                     const std::vector<std::string>& schemas);

struct SourceSchema {
  // 16 hex digits over everything below and the locale.
  std::string hash;
  // The source's catalogs when all of this was read from them; "" when they changed meanwhile.
  std::string stamp;
  std::string template_sql;
  // "" when nothing is left to add.
  std::string finish_sql;
  std::vector<TableInfo> tables;
  // The schemas that move, sorted or as the plan lists them.
  std::vector<std::string> schemas;
  std::vector<ForeignKey> foreign_keys;
  // Of the database (ALTER DATABASE … SET), where it moves as a whole: name, value.
  std::vector<std::pair<std::string, std::string>> settings;
  // All sequences of the schemas, quoted: defaults and tenants' code may use one that no column owns.
  std::vector<std::string> sequences;
  // The schemas' constraints, indexes, triggers, policies and columns, one line each, sorted; what VERIFY compares.
  std::vector<std::string> objects;
  // Tables, quoted, on which FORCE ROW LEVEL SECURITY is set by finish_sql.
  std::vector<std::string> forced_tables;
  std::string encoding;
  std::string collate;
  std::string ctype;
};

// One line for each object of these schemas that a correct target must have. Lines of foreign keys do not tell whether
// they are valid where the plan leaves that open.
absl::StatusOr<std::vector<std::string>> ListObjects(pg::Connection& connection,
                                                     const v1::Plan& plan,
                                                     const std::vector<std::string>& schemas);

// Whether the source's definitions are, for this session's transaction, those that `schema` was read from.
absl::StatusOr<bool> IsUnchanged(pg::Connection& reader, const SourceSchema& schema);

// ALTER DATABASE … SET of the current database.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> DatabaseSettings(pg::Connection& connection);

// What this worker knows about schemas and templates.
// Thread safety: any thread; one at a time reads a given source or lays a given template.
class SchemaCache {
 public:
  // The schema of the attempt's source, or of the backup that it restores; read on first use per source database and
  // plan.
  absl::StatusOr<std::shared_ptr<const SourceSchema>> Get(Attempt& attempt);
  // Makes the next Get read again: the source's definition has changed.
  void Forget(const Attempt& attempt);

  // What checks of the source found that do not depend on the project; null when nobody has looked since Forget.
  std::shared_ptr<const v1::ChecksResult> SourceChecks(const Attempt& attempt);
  void KeepSourceChecks(const Attempt& attempt, v1::ChecksResult found);

  // Whether a target with this CloneSignature was found to have all objects of this schema.
  bool IsVerified(const SourceSchema& schema, const std::string& signature);
  void KeepVerified(const SourceSchema& schema, const std::string& signature);

  // The template database for this schema on the attempt's target server; laid on first use (LayTemplate).
  absl::StatusOr<TemplateNames> EnsureTemplate(Attempt& attempt, const SourceSchema& schema);
  void ForgetTemplate(const TemplateNames& laid);

 private:
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<const SourceSchema>> schemas_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<const v1::ChecksResult>> source_checks_ ABSL_GUARDED_BY(mutex_);
  // Hash of a schema and signature of a target that has it.
  std::set<std::pair<std::string, std::string>> verified_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> laid_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pgconvoy::worker
