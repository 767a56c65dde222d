#include "coordinator/store/write_rows.h"

#include <algorithm>
#include <pqxx/pqxx>
#include <set>
#include <tuple>

#include "coordinator/store/array_text.h"
#include "coordinator/store/event_chain.h"
#include "coordinator/store/row_codec.h"
#include "coordinator/store/write_sql.h"

namespace pgconvoy::store {
namespace {

// Rows per statement: bounds the memory of a parameter list when a migration of a million projects is submitted.
constexpr size_t kRowsPerStatement = 10'000;

template <typename Row>
using Rows = std::vector<const Row*>;

// Only the last row of each key: a statement that names a row twice would fail, or pick one of the two.
template <typename Row, typename KeyOf>
Rows<Row> LastOfEachKey(const std::vector<Row>& rows, KeyOf key_of) {
  std::set<decltype(key_of(rows[0]))> seen;
  Rows<Row> last;
  last.reserve(rows.size());
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (seen.insert(key_of(*row)).second) {
      last.push_back(&*row);
    }
  }
  std::reverse(last.begin(), last.end());
  return last;
}

template <typename Row>
Rows<Row> All(const std::vector<Row>& rows) {
  Rows<Row> all;
  all.reserve(rows.size());
  for (const Row& row : rows) {
    all.push_back(&row);
  }
  return all;
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
std::string Column(const Rows<Row>& rows, AddField add) {
  ArrayText array;
  for (const Row* const row : rows) {
    add(array, *row);
  }
  return array.Finish();
}

// A field as an array of its own: C(field) adds it as it is, N(field) adds NULL for "" and 0.
#define PGC_C(expr) Column(rows, [](ArrayText& array, const auto& row) { array.Add(expr); })
#define PGC_N(expr) Column(rows, [](ArrayText& array, const auto& row) { array.AddOrNull(expr); })

int64_t Number(int value) { return value; }
int64_t Number(uint32_t value) { return value; }

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
    array.Add(Number(limit.max_projects));
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
  tx.exec_prepared(kInsertMigrations.name, PGC_C(row.id.value), PGC_C(std::string_view(row.spec.name)),
                   PGC_C(std::string_view(row.spec.request_id)), PGC_C(std::string_view(row.spec.plan_json)),
                   PGC_C(std::string_view(row.spec.plan_hash)), PGC_C(std::string_view(PhaseNames(row.spec.phases))),
                   PGC_C(std::string_view(LimitServers(row.spec.limits))),
                   PGC_C(std::string_view(LimitProjects(row.spec.limits))), PGC_C(Number(row.spec.batch_size)),
                   PGC_C(row.spec.batch_bytes), PGC_C(Number(row.spec.max_attempts)),
                   PGC_C(row.spec.initial_backoff_ms), PGC_C(row.spec.max_backoff_ms),
                   PGC_C(row.spec.rollback_on_failure), PGC_C(Name(row.state)), PGC_C(row.create_time),
                   PGC_N(row.end_time), PGC_C(std::string_view(Counts(row.counts))), PGC_C(row.rows_copied),
                   PGC_C(row.bytes_copied), PGC_C(row.estimated_bytes));
}

void UpdateMigrations(pqxx::transaction_base& tx, const Rows<core::MigrationRow>& rows) {
  Expect(tx.exec_prepared(kUpdateMigrations.name, PGC_C(row.id.value), PGC_C(Name(row.state)), PGC_N(row.end_time),
                          PGC_C(std::string_view(Counts(row.counts))), PGC_C(row.rows_copied),
                          PGC_C(row.bytes_copied), PGC_C(row.estimated_bytes)),
         rows.size(), "migration");
}

void UpsertBatches(pqxx::transaction_base& tx, const Rows<core::BatchRow>& rows) {
  tx.exec_prepared(kUpsertBatches.name, PGC_C(row.id.value), PGC_C(row.migration.value), PGC_C(Name(row.state)),
                   PGC_C(std::string_view(row.source_server)), PGC_C(std::string_view(row.target_server)),
                   PGC_C(row.projects), PGC_C(row.projects_ended), PGC_C(row.estimated_bytes),
                   PGC_N(std::string_view(row.worker_id)));
}

// The columns that insert and update share, then those of the insert alone.
template <typename... More>
pqxx::result ExecProjects(pqxx::transaction_base& tx,
                          const char* statement,
                          const Rows<core::ProjectRow>& rows,
                          const More&... more) {
  return tx.exec_prepared(
      statement, PGC_C(row.id.value), PGC_C(row.batch.value), PGC_C(Name(row.state)), PGC_C(Name(row.direction)),
      PGC_C(Name(row.phase)), PGC_C(row.fence.value), PGC_C(Number(row.attempts)), PGC_C(Number(row.failures)),
      PGC_C(Number(row.losses)), PGC_C(Number(row.done_forward)), PGC_C(Number(row.done_rollback)),
      PGC_C(row.touched), PGC_C(row.cancelling), PGC_C(row.discard_writes), PGC_C(row.last_seq),
      PGC_N(std::string_view(row.worker_id)), PGC_N(row.not_before), PGC_N(std::string_view(ErrorToJson(row.error))),
      PGC_N(std::string_view(WarningsToJson(row.warnings))), PGC_C(row.rows_copied), PGC_C(row.bytes_copied),
      PGC_C(row.estimated_bytes), more...);
}

void InsertProjects(pqxx::transaction_base& tx, const Rows<core::ProjectRow>& rows) {
  ExecProjects(tx, kInsertProjects.name, rows, PGC_C(row.migration.value), PGC_C(std::string_view(row.ref)),
               PGC_N(std::string_view(row.attributes_json)));
}

void UpdateProjects(pqxx::transaction_base& tx, const Rows<core::ProjectRow>& rows) {
  Expect(ExecProjects(tx, kUpdateProjects.name, rows), rows.size(), "project");
}

void UpsertAttempts(pqxx::transaction_base& tx, const Rows<core::AttemptRow>& rows) {
  tx.exec_prepared(kUpsertAttempts.name, PGC_C(row.project.value), PGC_C(row.fence.value), PGC_C(row.migration.value),
                   PGC_C(Number(row.number)), PGC_C(Name(row.direction)), PGC_C(std::string_view(row.worker_id)),
                   PGC_C(row.start_time), PGC_N(row.end_time), PGC_C(Name(row.phase)),
                   PGC_C(std::string_view(row.outcome)), PGC_N(std::string_view(ErrorToJson(row.error))));
}

void InsertIntents(pqxx::transaction_base& tx, const Rows<core::IntentRow>& rows) {
  tx.exec_prepared(kInsertIntents.name, PGC_C(row.project.value), PGC_C(row.fence.value), PGC_C(row.seq),
                   PGC_C(row.migration.value), PGC_C(std::string_view(row.payload_json)));
}

void UpsertResults(pqxx::transaction_base& tx, const Rows<core::PhaseResultRow>& rows) {
  tx.exec_prepared(kUpsertResults.name, PGC_C(row.project.value), PGC_C(Name(row.direction)), PGC_C(Name(row.phase)),
                   PGC_C(row.fence.value), PGC_C(row.migration.value), PGC_C(row.end_time),
                   PGC_C(std::string_view(row.payload_json)));
}

void UpsertWorkers(pqxx::transaction_base& tx, const Rows<core::WorkerRow>& rows) {
  tx.exec_prepared(kUpsertWorkers.name, PGC_C(std::string_view(row.id)), PGC_C(std::string_view(row.incarnation)),
                   PGC_C(std::string_view(row.version)), PGC_C(std::string_view(row.host)), PGC_C(Number(row.slots)),
                   PGC_C(std::string_view(row.state)), PGC_C(row.last_seen));
}

void InsertEvents(pqxx::transaction_base& tx, const Rows<core::EventRow>& rows, int64_t first_seq) {
  ArrayText seqs;
  for (size_t i = 0; i < rows.size(); ++i) {
    seqs.Add(first_seq + static_cast<int64_t>(i));
  }
  tx.exec_prepared(kInsertEvents.name, seqs.Finish(), PGC_C(row.time), PGC_N(row.migration.value),
                   PGC_C(std::string_view(row.project_ref)), PGC_C(std::string_view(row.kind)),
                   PGC_C(std::string_view(row.actor)), PGC_C(std::string_view(row.rule)),
                   PGC_C(std::string_view(row.reason)), PGC_N(std::string_view(row.detail_json)));
}

#undef PGC_C
#undef PGC_N

}  // namespace

void WriteRows(pqxx::transaction_base& tx, const core::Writes& writes) {
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
  InChunks(LastOfEachKey(writes.attempts, by_attempt), [&tx](const auto& rows) { UpsertAttempts(tx, rows); });
  InChunks(LastOfEachKey(writes.intents, by_intent), [&tx](const auto& rows) { InsertIntents(tx, rows); });
  InChunks(LastOfEachKey(writes.results, by_result), [&tx](const auto& rows) { UpsertResults(tx, rows); });
  InChunks(LastOfEachKey(writes.workers, by_id), [&tx](const auto& rows) { UpsertWorkers(tx, rows); });
}

std::string WriteEvents(pqxx::transaction_base& tx, const std::vector<core::EventRow>& events, int64_t first_seq) {
  std::string canonical;
  int64_t seq = first_seq;
  for (const core::EventRow& event : events) {
    canonical += CanonicalEvent(seq++, event);
  }
  seq = first_seq;
  InChunks(All(events), [&tx, &seq](const auto& rows) {
    InsertEvents(tx, rows, seq);
    seq += static_cast<int64_t>(rows.size());
  });
  return canonical;
}

}  // namespace pgconvoy::store
