#include "coordinator/store/write_rows.h"

#include <algorithm>
#include <iterator>
#include <pqxx/pqxx>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "coordinator/store/array_text.h"
#include "coordinator/store/binary_array.h"
#include "coordinator/store/event_chain.h"
#include "coordinator/store/row_codec.h"
#include "coordinator/store/write_sql.h"

namespace pgconvoy::store {
namespace {

// Rows per statement: bounds the memory of a parameter list when a migration of a million projects is submitted.
constexpr size_t kRowsPerStatement = 10'000;

template <typename Row>
using Rows = std::vector<const Row*>;

template <typename Row>
Rows<Row> All(const std::vector<Row>& rows) {
  Rows<Row> all;
  all.reserve(rows.size());
  for (const Row& row : rows) {
    all.push_back(&row);
  }
  return all;
}

template <typename Row, typename KeyOf>
bool HasTwins(const std::vector<Row>& rows, KeyOf key_of) {
  std::vector<decltype(key_of(rows[0]))> keys;
  keys.reserve(rows.size());
  for (const Row& row : rows) {
    keys.push_back(key_of(row));
  }
  std::sort(keys.begin(), keys.end());
  return std::adjacent_find(keys.begin(), keys.end()) != keys.end();
}

// Only the last row of each key: a statement that names a row twice would fail, or pick one of the two. The core names
// a row twice now and then only.
template <typename Row, typename KeyOf>
Rows<Row> LastOfEachKey(const std::vector<Row>& rows, KeyOf key_of) {
  if (!HasTwins(rows, key_of)) {
    return All(rows);
  }
  std::set<decltype(key_of(rows[0]))> seen;
  Rows<Row> last;
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (seen.insert(key_of(*row)).second) {
      last.push_back(&*row);
    }
  }
  std::reverse(last.begin(), last.end());
  return last;
}

template <typename Row, typename Is>
Rows<Row> Only(const Rows<Row>& rows, Is is) {
  Rows<Row> chosen;
  chosen.reserve(rows.size());
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(chosen), [&is](const Row* row) { return is(*row); });
  return chosen;
}

template <typename Row, typename Write>
void InChunks(const Rows<Row>& rows, Write write) {
  for (size_t begin = 0; begin < rows.size(); begin += kRowsPerStatement) {
    const size_t end = std::min(begin + kRowsPerStatement, rows.size());
    write(Rows<Row>(rows.begin() + static_cast<std::ptrdiff_t>(begin),
                    rows.begin() + static_cast<std::ptrdiff_t>(end)));
  }
}

// One array over all rows of what `add` puts in for each.
template <typename Row, typename AddField>
pqxx::binarystring Column(Element element, const Rows<Row>& rows, AddField add) {
  BinaryArray array(element);
  for (const Row* const row : rows) {
    add(array, *row);
  }
  return pqxx::binarystring(std::move(array).Finish());
}

// A field as an array of its own; _N adds NULL for "" and 0.
#define PGC_COLUMN(element, add, expr) \
  Column(element, rows, [](BinaryArray& array, const auto& row) { array.add(expr); })
#define PGC_INT8(expr) PGC_COLUMN(Element::kInt8, AddInt8, expr)
#define PGC_INT4(expr) PGC_COLUMN(Element::kInt4, AddInt4, expr)
#define PGC_BOOL(expr) PGC_COLUMN(Element::kBool, AddBool, expr)
#define PGC_TEXT(expr) PGC_COLUMN(Element::kText, AddText, expr)
#define PGC_TEXT_N(expr) PGC_COLUMN(Element::kText, AddTextOrNull, expr)
#define PGC_JSON_N(expr) PGC_COLUMN(Element::kJson, AddTextOrNull, expr)
#define PGC_TIME(expr) PGC_COLUMN(Element::kTimestamptz, AddTime, expr)
#define PGC_TIME_N(expr) PGC_COLUMN(Element::kTimestamptz, AddTimeOrNull, expr)

std::string PhaseNames(const std::vector<Phase>& phases) {
  ArrayText array;
  for (const Phase phase : phases) {
    array.Add(Name(phase));
  }
  return array.Finish();
}

std::string LimitServers(const std::vector<core::ServerLimit>& limits) {
  ArrayText array;
  for (const core::ServerLimit& limit : limits) {
    array.Add(std::string_view(limit.server));
  }
  return array.Finish();
}

std::string LimitProjects(const std::vector<core::ServerLimit>& limits) {
  ArrayText array;
  for (const core::ServerLimit& limit : limits) {
    array.Add(int64_t{limit.max_projects});
  }
  return array.Finish();
}

std::string Counts(const core::StateCounts& counts) {
  return ToArrayText(std::vector<int64_t>(counts.begin(), counts.end()));
}

void Expect(const pqxx::result& result, size_t rows, const char* table) {
  if (result.affected_rows() != rows) {
    throw RowMissing(std::string("a row of ") + table + " is missing");
  }
}

void InsertMigrations(pqxx::transaction_base& tx, const Rows<core::MigrationRow>& rows) {
  tx.exec_prepared(
      kInsertMigrations.name, PGC_INT8(row.id.value), PGC_TEXT(row.spec.name), PGC_TEXT(row.spec.request_id),
      PGC_TEXT(row.spec.plan_json), PGC_TEXT(row.spec.plan_hash), PGC_TEXT(PhaseNames(row.spec.phases)),
      PGC_TEXT(LimitServers(row.spec.limits)), PGC_TEXT(LimitProjects(row.spec.limits)),
      PGC_INT4(row.spec.batch_size), PGC_INT8(row.spec.batch_bytes), PGC_INT4(row.spec.max_attempts),
      PGC_INT8(row.spec.initial_backoff_ms), PGC_INT8(row.spec.max_backoff_ms),
      PGC_BOOL(row.spec.rollback_on_failure), PGC_TEXT(Name(row.state)), PGC_TIME(row.create_time),
      PGC_TIME_N(row.end_time), PGC_TEXT(Counts(row.counts)), PGC_INT8(row.rows_copied), PGC_INT8(row.bytes_copied),
      PGC_INT8(row.estimated_bytes), PGC_INT8(row.spec.credentials_of.value));
}

void UpdateMigrations(pqxx::transaction_base& tx, const Rows<core::MigrationRow>& rows) {
  Expect(tx.exec_prepared(kUpdateMigrations.name, PGC_INT8(row.id.value), PGC_TEXT(Name(row.state)),
                          PGC_TIME_N(row.end_time), PGC_TEXT(Counts(row.counts)), PGC_INT8(row.rows_copied),
                          PGC_INT8(row.bytes_copied), PGC_INT8(row.estimated_bytes)),
         rows.size(), "migration");
}

void UpsertBatches(pqxx::transaction_base& tx, const Rows<core::BatchRow>& rows) {
  tx.exec_prepared(kUpsertBatches.name, PGC_INT8(row.id.value), PGC_INT8(row.migration.value),
                   PGC_TEXT(Name(row.state)), PGC_TEXT(row.source_server), PGC_TEXT(row.target_server),
                   PGC_INT8(row.projects), PGC_INT8(row.projects_ended), PGC_INT8(row.estimated_bytes),
                   PGC_TEXT_N(row.worker_id));
}

// The columns that insert and update share, then those of the insert alone.
template <typename... More>
pqxx::result ExecProjects(pqxx::transaction_base& tx,
                          const char* statement,
                          const Rows<core::ProjectRow>& rows,
                          const More&... more) {
  return tx.exec_prepared(statement, PGC_INT8(row.id.value), PGC_INT8(row.batch.value), PGC_TEXT(Name(row.state)),
                          PGC_TEXT(Name(row.direction)), PGC_TEXT(Name(row.phase)), PGC_INT8(row.fence.value),
                          PGC_INT4(row.attempts), PGC_INT4(row.failures), PGC_INT4(row.losses),
                          PGC_INT8(row.done_forward), PGC_INT8(row.done_rollback), PGC_BOOL(row.touched),
                          PGC_BOOL(row.cancelling), PGC_BOOL(row.discard_writes), PGC_INT8(row.last_seq),
                          PGC_TEXT_N(row.worker_id), PGC_TIME_N(row.not_before), PGC_JSON_N(ErrorToJson(row.error)),
                          PGC_JSON_N(WarningsToJson(row.warnings)), PGC_INT8(row.rows_copied),
                          PGC_INT8(row.bytes_copied), PGC_INT8(row.estimated_bytes), more...);
}

void InsertProjects(pqxx::transaction_base& tx, const Rows<core::ProjectRow>& rows) {
  ExecProjects(tx, kInsertProjects.name, rows, PGC_INT8(row.migration.value), PGC_TEXT(row.ref),
               PGC_JSON_N(row.attributes_json));
}

bool IsPlain(const core::ProjectRow& row) {
  return row.direction == Direction::kForward && row.failures == 0 && row.losses == 0 && row.done_rollback == 0 &&
         !row.cancelling && !row.discard_writes && row.not_before == 0 && !row.error.has_value() &&
         row.warnings.empty();
}

void UpdatePlainProjects(pqxx::transaction_base& tx, const Rows<core::ProjectRow>& rows) {
  Expect(tx.exec_prepared(kUpdatePlainProjects.name, PGC_INT8(row.id.value), PGC_TEXT(Name(row.state)),
                          PGC_TEXT(Name(row.phase)), PGC_INT8(row.fence.value), PGC_INT4(row.attempts),
                          PGC_INT8(row.done_forward), PGC_BOOL(row.touched), PGC_INT8(row.last_seq),
                          PGC_TEXT_N(row.worker_id), PGC_INT8(row.rows_copied), PGC_INT8(row.bytes_copied)),
         rows.size(), "project");
}

void UpdateProjects(pqxx::transaction_base& tx, const Rows<core::ProjectRow>& rows) {
  if (const auto plain = Only(rows, IsPlain); !plain.empty()) {
    UpdatePlainProjects(tx, plain);
  }
  const auto others = Only(rows, [](const core::ProjectRow& row) { return !IsPlain(row); });
  if (!others.empty()) {
    Expect(ExecProjects(tx, kUpdateProjects.name, others), others.size(), "project");
  }
}

void CopyAttempts(Connection& connection, pqxx::transaction_base& tx, const Rows<core::AttemptRow>& rows) {
  BinaryCopy copy(9);
  for (const core::AttemptRow* const row : rows) {
    copy.BeginRow();
    copy.AddInt8(row->project.value);
    copy.AddInt8(row->fence.value);
    copy.AddInt8(row->migration.value);
    copy.AddInt4(row->number);
    copy.AddText(Name(row->direction));
    copy.AddText(row->worker_id);
    copy.AddTime(row->start_time);
    copy.AddText(Name(row->phase));
    copy.AddText("");
  }
  connection.CopyIn(tx, kCopyAttempts, std::move(copy).Finish());
}

void UpsertAttempts(pqxx::transaction_base& tx, const Rows<core::AttemptRow>& rows) {
  tx.exec_prepared(kUpsertAttempts.name, PGC_INT8(row.project.value), PGC_INT8(row.fence.value),
                   PGC_INT8(row.migration.value), PGC_INT4(row.number), PGC_TEXT(Name(row.direction)),
                   PGC_TEXT(row.worker_id), PGC_TIME(row.start_time), PGC_TIME_N(row.end_time),
                   PGC_TEXT(Name(row.phase)), PGC_TEXT(row.outcome), PGC_JSON_N(ErrorToJson(row.error)));
}

void EndAttempts(pqxx::transaction_base& tx, const Rows<core::AttemptRow>& rows) {
  const pqxx::result updated = tx.exec_prepared(
      kEndAttempts.name, PGC_INT8(row.project.value), PGC_INT8(row.fence.value), PGC_TIME_N(row.end_time),
      PGC_TEXT(Name(row.phase)), PGC_TEXT(row.outcome), PGC_JSON_N(ErrorToJson(row.error)));
  if (updated.affected_rows() != rows.size()) {
    UpsertAttempts(tx, rows);
  }
}

void WriteAttempts(Connection& connection, pqxx::transaction_base& tx, const Rows<core::AttemptRow>& rows) {
  const auto begins = [](const core::AttemptRow& row) { return row.outcome.empty(); };
  if (const auto begun = Only(rows, begins); !begun.empty()) {
    CopyAttempts(connection, tx, begun);
  }
  if (const auto ended = Only(rows, [&](const auto& row) { return !begins(row); }); !ended.empty()) {
    EndAttempts(tx, ended);
  }
}

void InsertIntents(pqxx::transaction_base& tx, const Rows<core::IntentRow>& rows) {
  tx.exec_prepared(kInsertIntents.name, PGC_INT8(row.project.value), PGC_INT8(row.fence.value), PGC_INT8(row.seq),
                   PGC_INT8(row.migration.value), PGC_JSON_N(row.payload_json));
}

int64_t BitOf(Phase phase) { return int64_t{1} << static_cast<unsigned>(phase); }

// Results of one attempt: a row of pgconvoy.phase_report.
struct PhaseReport {
  const core::PhaseResultRow* last = nullptr;
  int64_t phases = 0;
  // A JSON array that still lacks its end.
  std::string payload;
};

// Those of an attempt together, in their order.
std::vector<PhaseReport> Together(const Rows<core::PhaseResultRow>& rows) {
  std::vector<PhaseReport> reports;
  std::unordered_map<int64_t, size_t> of_fence;
  for (const core::PhaseResultRow* const row : rows) {
    const auto [it, is_new] = of_fence.try_emplace(row->fence.value, reports.size());
    if (is_new) {
      reports.emplace_back();
    }
    PhaseReport& report = reports[it->second];
    report.last = row;
    report.phases |= BitOf(row->phase);
    report.payload += is_new ? "[" : ",";
    report.payload += row->payload_json;
  }
  return reports;
}

void CopyResults(Connection& connection, pqxx::transaction_base& tx, const Rows<core::PhaseResultRow>& rows) {
  BinaryCopy copy(6);
  for (PhaseReport& report : Together(rows)) {
    report.payload += ']';
    copy.BeginRow();
    copy.AddInt8(report.last->project.value);
    copy.AddInt8(report.last->fence.value);
    copy.AddInt8(report.phases);
    copy.AddTime(report.last->end_time);
    copy.AddText(Name(report.last->direction));
    copy.AddText(report.payload);
  }
  connection.CopyIn(tx, kCopyResults, std::move(copy).Finish());
}

void MarkResults(pqxx::transaction_base& tx, const Rows<core::PhaseResultRow>& rows) {
  Expect(tx.exec_prepared(kMarkResults.name, PGC_INT8(row.project.value), PGC_INT8(row.fence.value),
                          PGC_TEXT(Name(row.direction)), PGC_TEXT(Name(row.phase)), PGC_INT8(BitOf(row.phase)),
                          PGC_JSON_N(row.payload_json)),
         rows.size(), "phase_report");
}

void UpsertWorkers(pqxx::transaction_base& tx, const Rows<core::WorkerRow>& rows) {
  tx.exec_prepared(kUpsertWorkers.name, PGC_TEXT(row.id), PGC_TEXT(row.incarnation), PGC_TEXT(row.version),
                   PGC_TEXT(row.host), PGC_INT4(row.slots), PGC_TEXT(row.state), PGC_TIME(row.last_seen));
}

void CopyEvents(Connection& connection,
                pqxx::transaction_base& tx,
                const Rows<core::EventRow>& rows,
                int64_t first_seq) {
  BinaryCopy copy(9);
  int64_t seq = first_seq;
  for (const core::EventRow* const row : rows) {
    copy.BeginRow();
    copy.AddInt8(seq++);
    copy.AddTime(row->time);
    copy.AddInt8OrNull(row->migration.value);
    copy.AddText(row->project_ref);
    copy.AddText(row->kind);
    copy.AddText(row->actor);
    copy.AddText(row->rule);
    copy.AddText(row->reason);
    copy.AddTextOrNull(row->detail_json);
  }
  connection.CopyIn(tx, kCopyEvents, std::move(copy).Finish());
}

#undef PGC_COLUMN
#undef PGC_INT8
#undef PGC_INT4
#undef PGC_BOOL
#undef PGC_TEXT
#undef PGC_TEXT_N
#undef PGC_JSON_N
#undef PGC_TIME
#undef PGC_TIME_N

}  // namespace

void WriteRows(Connection& connection, pqxx::transaction_base& tx, const core::Writes& writes) {
  const auto by_id = [](const auto& row) { return row.id; };
  const auto by_attempt = [](const auto& row) { return std::pair(row.project, row.fence); };
  const auto by_intent = [](const auto& row) { return std::tuple(row.project, row.fence, row.seq); };
  const auto by_result = [](const auto& row) { return std::tuple(row.project, row.direction, row.phase, row.fence); };
  InChunks(All(writes.new_migrations), [&tx](const auto& rows) { InsertMigrations(tx, rows); });
  InChunks(All(writes.new_batches), [&tx](const auto& rows) { UpsertBatches(tx, rows); });
  InChunks(All(writes.new_projects), [&tx](const auto& rows) { InsertProjects(tx, rows); });
  InChunks(LastOfEachKey(writes.migrations, by_id), [&tx](const auto& rows) { UpdateMigrations(tx, rows); });
  InChunks(LastOfEachKey(writes.batches, by_id), [&tx](const auto& rows) { UpsertBatches(tx, rows); });
  InChunks(LastOfEachKey(writes.projects, by_id), [&tx](const auto& rows) { UpdateProjects(tx, rows); });
  InChunks(LastOfEachKey(writes.attempts, by_attempt),
           [&](const auto& rows) { WriteAttempts(connection, tx, rows); });
  InChunks(LastOfEachKey(writes.intents, by_intent), [&tx](const auto& rows) { InsertIntents(tx, rows); });
  InChunks(LastOfEachKey(writes.results, by_result), [&](const auto& rows) { CopyResults(connection, tx, rows); });
  InChunks(LastOfEachKey(writes.result_marks, by_result), [&tx](const auto& rows) { MarkResults(tx, rows); });
  InChunks(LastOfEachKey(writes.workers, by_id), [&tx](const auto& rows) { UpsertWorkers(tx, rows); });
}

WrittenEvents WriteEvents(Connection& connection,
                          pqxx::transaction_base& tx,
                          const std::vector<core::EventRow>& events,
                          int64_t first_seq) {
  WrittenEvents written;
  int64_t seq = first_seq;
  for (const core::EventRow& event : events) {
    const size_t start = written.canonical.size();
    AppendCanonicalEvent(seq++, event, written.canonical);
    written.row_sums += RowSum(std::string_view(written.canonical).substr(start));
  }
  seq = first_seq;
  InChunks(All(events), [&](const auto& rows) {
    CopyEvents(connection, tx, rows, seq);
    seq += static_cast<int64_t>(rows.size());
  });
  return written;
}

}  // namespace pgconvoy::store
