// Rows of the store as the core's row types. One column list and one reader per table, which belong together.
//
// Thread safety: pure. Errors: what libpqxx throws; a state that is not one of ours throws std::runtime_error.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/result>
#include <pqxx/row>
#include <string>
#include <vector>

#include "coordinator/core/core.h"

namespace pgconvoy::store {

// Takes the columns of a row one after the other.
class RowReader {
 public:
  explicit RowReader(const pqxx::row& row) : row_(row) {}
  // "" for NULL.
  std::string Text();
  // 0 for NULL.
  int64_t Int64();
  int Int();
  bool Bool();

 private:
  const pqxx::row& row_;
  pqxx::row::size_type column_ = 0;
};

// The rows of a result, each read by `read`.
template <typename Row>
std::vector<Row> ReadRows(const pqxx::result& result, Row (*read)(RowReader&)) {
  std::vector<Row> rows;
  rows.reserve(result.size());
  for (const pqxx::row& row : result) {
    RowReader reader(row);
    rows.push_back(read(reader));
  }
  return rows;
}

// "SELECT <columns> FROM pgconvoy.<rest>"
std::string Select(const char* columns, const std::string& rest);

// What to select; times come as milliseconds since 1970.
extern const char kMigrationColumns[];
extern const char kBatchColumns[];
extern const char kProjectColumns[];
extern const char kAttemptColumns[];
extern const char kWorkerColumns[];
extern const char kEventColumns[];

core::MigrationRow ReadMigration(RowReader& reader);
core::BatchRow ReadBatch(RowReader& reader);
core::ProjectRow ReadProject(RowReader& reader);
core::AttemptRow ReadAttempt(RowReader& reader);
core::WorkerRow ReadWorker(RowReader& reader);
// The sequence number is the first column.
core::EventRow ReadEvent(RowReader& reader, int64_t& seq);

// JSON of the columns `error` and `warnings`; "" for none.
std::string ErrorToJson(const std::optional<core::ErrorInfo>& error);
std::string WarningsToJson(const std::vector<std::string>& warnings);

}  // namespace pgconvoy::store
