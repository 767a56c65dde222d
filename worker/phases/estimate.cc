#include "worker/phases/estimate.h"

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/schema.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

// PROVISION reads the definitions with pg_dump beside the reader's own session.
constexpr int kSourceConnections = 2;
// The provisioner, and the attempt's own login.
constexpr int kTargetConnections = 2;

constexpr char kSizes[] = R"sql(
SELECT pg_catalog.pg_table_size($1::pg_catalog.regclass), pg_catalog.pg_indexes_size($1::pg_catalog.regclass)
)sql";

// Rows, bytes as stored, bytes as text with a newline each.
std::string MeasureSql(const std::string& rows) {
  return "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.pg_column_size(t)), 0)::pg_catalog.int8, "
         "COALESCE(pg_catalog.sum(pg_catalog.octet_length(t::pg_catalog.text) + 1), 0)::pg_catalog.int8 FROM (" +
         rows + ") AS t";
}

absl::Status AddTable(Attempt& attempt, pg::Connection& reader, const TableInfo& info, v1::Estimate& sum) {
  PGC_ASSIGN_OR_RETURN(const std::string rows, SourceRowsSql(attempt, info));
  PGC_ASSIGN_OR_RETURN(const pg::Result measured, reader.Exec(MeasureSql(rows)));
  PGC_ASSIGN_OR_RETURN(const pg::Result sizes, reader.Exec(kSizes, {SplitTable(info.name).Quoted()}));
  const int64_t bytes = measured.Int(0, 1);
  const double indexes =
      sizes.Int(0, 0) == 0 ? 0.0 : static_cast<double>(sizes.Int(0, 1)) / static_cast<double>(sizes.Int(0, 0));
  sum.set_rows(sum.rows() + measured.Int(0, 0));
  sum.set_source_bytes(sum.source_bytes() + bytes);
  sum.set_backup_bytes(sum.backup_bytes() + measured.Int(0, 2));
  sum.set_target_bytes(sum.target_bytes() + bytes + static_cast<int64_t>(static_cast<double>(bytes) * indexes));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Estimate> EstimateProject(Attempt& attempt) {
  v1::Estimate estimate;
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  for (const TableInfo& info : schema->tables) {
    PGC_RETURN_IF_ERROR(AddTable(attempt, *reader, info, estimate));
  }
  if (!attempt.has_target()) {
    estimate.clear_target_bytes();
  }
  if (!attempt.plan().has_backup()) {
    estimate.clear_backup_bytes();
  }
  estimate.set_roles(attempt.plan().has_credentials() ? 1 : 0);
  estimate.set_databases(attempt.has_target() ? 1 : 0);
  estimate.set_connections(kSourceConnections + (attempt.has_target() ? kTargetConnections : 0) +
                           (attempt.has_registry() ? 1 : 0) + (attempt.has_transform() ? 1 : 0));
  return estimate;
}

}  // namespace pgconvoy::worker
