#include "coordinator/store/store.h"

#include <chrono>
#include <pqxx/pqxx>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "coordinator/store/array_text.h"
#include "coordinator/store/event_chain.h"
#include "coordinator/store/row_codec.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/session.h"
#include "coordinator/store/write_rows.h"
#include "coordinator/store/write_sql.h"

namespace pgconvoy::store {
namespace {

// How long a new leader waits for the sessions that it has ended to be gone.
constexpr int kTakeoverTries = 200;
constexpr std::chrono::milliseconds kTakeoverPause(50);
// Rows per fetch while a term is loaded: bounds the memory of one result.
constexpr int kRowsPerFetch = 50'000;

constexpr char kSettings[] =
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), "
    "pg_is_in_recovery()";

constexpr char kEndOtherLeaders[] =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";

// Two coordinators that start at once must not both create the schema.
constexpr char kLockSchema[] = "SELECT pg_advisory_xact_lock(hashtext('pgconvoy'))";

constexpr char kLeaderExists[] = "SELECT to_regclass('pgconvoy.leader') IS NOT NULL";
constexpr char kReadEpoch[] = "SELECT epoch FROM pgconvoy.leader";

constexpr char kRaiseEpoch[] =
    "UPDATE pgconvoy.leader SET epoch = epoch + 1, holder = $1, lead_time = now() "
    "RETURNING epoch, store_id, next_fence, next_migration, next_batch, next_project, last_event_seq, chain_head";

constexpr char kUnendedMigrations[] = "state IN ('RUNNING', 'PAUSED', 'CANCELLING', 'ROLLING_BACK')";

constexpr char kLatestResults[] =
    "SELECT project_id, payload FROM ("
    "  SELECT DISTINCT ON (project_id, direction, phase) project_id, fence, end_time, place, payload"
    "  FROM pgconvoy.phase_result WHERE project_id = ANY($1::bigint[])"
    "  ORDER BY project_id, direction, phase, fence DESC) AS latest "
    "ORDER BY project_id, fence, end_time, place";

constexpr char kIntents[] =
    "SELECT project_id, payload FROM pgconvoy.intent WHERE project_id = ANY($1::bigint[]) "
    "ORDER BY project_id, fence, seq";

// A change that was rolled back, or has not come to its end, does not count.
constexpr char kFormerCredentials[] =
    "SELECT own.id, r.payload FROM pgconvoy.project AS own "
    "JOIN pgconvoy.migration AS m ON m.id = own.migration_id AND m.credentials_of IS NOT NULL "
    "JOIN pgconvoy.migration AS s ON (s.id = m.credentials_of OR s.credentials_of = m.credentials_of) AND s.id <> "
    "m.id "
    "JOIN pgconvoy.project AS p ON p.migration_id = s.id AND p.ref = own.ref "
    "AND p.state IN ('SUCCEEDED', 'SUCCEEDED_WITH_WARNINGS') "
    "JOIN pgconvoy.phase_result AS r ON r.project_id = p.id AND r.direction = 'FORWARD' "
    "AND r.phase IN ('CREDENTIALS', 'CUTOVER') "
    "WHERE own.id = ANY($1::bigint[]) ORDER BY own.id, r.fence, r.end_time, r.place";

constexpr char kPlan[] = "SELECT plan_json FROM pgconvoy.migration WHERE id = $1";

absl::Status LostLead() {
  return MakeError(Verdict::kFenced, "PGC-STORE-EPOCH", "another coordinator has taken the lead of this store",
                   "run one coordinator per store; this one stops");
}

absl::Status Unsafe(const char* setting) {
  return MakeError(Verdict::kOperator, "PGC-STORE-UNSAFE",
                   std::string("the store runs with ") + setting + "=off and could forget what it has acknowledged",
                   std::string("set ") + setting + " = on on the store's server");
}

absl::Status CheckServer(Connection& connection) {
  if (connection.server_version() < kMinServerVersion) {
    return MakeError(Verdict::kOperator, "PGC-STORE-VERSION",
                     "the store runs PostgreSQL " + std::to_string(connection.server_version() / 10000),
                     "use PostgreSQL 14 or newer for the store");
  }
  pqxx::read_transaction tx(connection);
  const pqxx::row row = tx.exec1(kSettings);
  constexpr const char* kNames[] = {"fsync", "full_page_writes", "synchronous_commit"};
  for (int i = 0; i < 3; ++i) {
    if (std::string(row[i].c_str()) == "off") {
      return Unsafe(kNames[i]);
    }
  }
  if (row[3].as<bool>()) {
    return MakeError(Verdict::kTransient, "PGC-STORE-STANDBY", "the store's server is a standby and takes no writes",
                     "let --store name the primary, for example with target_session_attrs=read-write");
  }
  return absl::OkStatus();
}

// Reads `query` through a cursor, so that a fleet of a million rows is never in memory as one result.
template <typename Row>
void ReadAll(pqxx::transaction_base& tx, const std::string& query, Row (*read)(RowReader&), std::vector<Row>& rows) {
  tx.exec0("DECLARE load NO SCROLL CURSOR FOR " + query);
  const std::string fetch = "FETCH " + std::to_string(kRowsPerFetch) + " FROM load";
  for (pqxx::result chunk = tx.exec(fetch); !chunk.empty(); chunk = tx.exec(fetch)) {
    for (const pqxx::row& row : chunk) {
      RowReader reader(row);
      rows.push_back(read(reader));
    }
  }
  tx.exec0("CLOSE load");
}

void LoadRows(pqxx::transaction_base& tx, core::Snapshot& snapshot) {
  const std::string unended =
      std::string("WHERE migration_id IN (SELECT id FROM pgconvoy.migration WHERE ") + kUnendedMigrations + ")";
  ReadAll(tx, Select(kMigrationColumns, "migration ORDER BY id"), ReadMigration, snapshot.migrations);
  ReadAll(tx, Select(kBatchColumns, "batch " + unended + " ORDER BY id"), ReadBatch, snapshot.batches);
  ReadAll(tx, Select(kProjectColumns, "project " + unended + " ORDER BY id"), ReadProject, snapshot.projects);
  ReadAll(tx, Select(kWorkerColumns, "worker ORDER BY id"), ReadWorker, snapshot.workers);
}

std::string IdArray(const std::vector<ProjectId>& ids) {
  ArrayText array;
  for (const ProjectId id : ids) {
    array.Add(id.value);
  }
  return array.Finish();
}

}  // namespace

class Store::Session {
 public:
  explicit Session(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)), backend_pid_(connection_->backendpid()) {
    for (const Statement& statement : kStatements) {
      connection_->prepare(statement.name, statement.sql);
    }
  }

  Connection& connection() { return *connection_; }

  // First statement of every write. libpqxx connects anew without a word when the session was ended, and a session
  // that is not the one which took the lead may have been ended by the next leader.
  absl::Status CheckEpoch(pqxx::transaction_base& tx, int64_t epoch) {
    const pqxx::result rows = tx.exec_prepared(kCheckEpoch.name);
    if (rows.size() != 1 || rows[0][0].as<int64_t>() != epoch) {
      return LostLead();
    }
    if (rows[0][1].as<int>() != backend_pid_) {
      return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "the leader's session was ended");
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Connection> connection_;
  int backend_pid_;
};

Store::Store(std::string conninfo, std::string holder)
    : conninfo_(std::move(conninfo)), holder_(std::move(holder)), socket_(std::make_unique<SocketGuard>()) {}

Store::~Store() = default;

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& conninfo, const std::string& holder) {
  std::unique_ptr<Store> store(new Store(conninfo, holder));
  PGC_RETURN_IF_ERROR(store->Reconnect());
  return store;
}

absl::Status Store::Reconnect() {
  socket_->Reset(-1);
  session_.reset();
  PGC_ASSIGN_OR_RETURN(auto connection, Connect(conninfo_, Access::kReadWrite));
  PGC_RETURN_IF_ERROR(Guarded([&connection] { return CheckServer(*connection); }));
  socket_->Reset(connection->sock());
  session_ = std::make_unique<Session>(std::move(connection));
  return absl::OkStatus();
}

namespace {

// Before anything is disturbed: is this a store that we may lead?
absl::Status CheckBeforeTakeover(Connection& connection, std::optional<int64_t> previous_epoch) {
  pqxx::read_transaction tx(connection);
  PGC_RETURN_IF_ERROR(CheckSchema(tx, SchemaFiles()));
  if (!previous_epoch.has_value()) {
    return absl::OkStatus();
  }
  const bool exists = tx.exec1(kLeaderExists)[0].as<bool>();
  if (!exists || tx.exec1(kReadEpoch)[0].as<int64_t>() != *previous_epoch) {
    return LostLead();
  }
  return absl::OkStatus();
}

absl::Status EndOtherLeaders(Connection& connection) {
  for (int i = 0; i < kTakeoverTries; ++i) {
    pqxx::nontransaction tx(connection);
    if (tx.exec_params1(kEndOtherLeaders, kLeaderApplication)[0].as<int>() == 0) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(kTakeoverPause);
  }
  return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "the sessions of the leader before did not end");
}

}  // namespace

absl::StatusOr<Term> Store::Lead(std::optional<int64_t> previous_epoch) {
  if (session_ == nullptr || previous_epoch.has_value()) {
    PGC_RETURN_IF_ERROR(Reconnect());
  }
  return Guarded([&]() -> absl::StatusOr<Term> {
    Connection& connection = session_->connection();
    PGC_RETURN_IF_ERROR(CheckBeforeTakeover(connection, previous_epoch));
    PGC_RETURN_IF_ERROR(EndOtherLeaders(connection));
    Term term;
    {
      pqxx::work tx(connection);
      tx.exec1(kLockSchema);
      PGC_RETURN_IF_ERROR(CheckSchema(tx, SchemaFiles()));
      PGC_RETURN_IF_ERROR(MigrateSchema(tx, SchemaFiles()));
      const pqxx::row row = tx.exec_params1(kRaiseEpoch, holder_);
      RowReader reader(row);
      term.epoch = reader.Int64();
      term.store_id = reader.Text();
      term.snapshot.counters = {reader.Int64(), reader.Int64(), reader.Int64(), reader.Int64()};
      last_event_seq_ = reader.Int64();
      chain_head_ = reader.Text();
      if (previous_epoch.has_value() && term.epoch != *previous_epoch + 1) {
        return LostLead();
      }
      PGC_FAILPOINT("store.lead.before_commit");
      tx.commit();
      PGC_FAILPOINT("store.lead.raised");
    }
    epoch_ = term.epoch;
    pqxx::work tx(connection);
    PGC_RETURN_IF_ERROR(session_->CheckEpoch(tx, epoch_));
    LoadRows(tx, term.snapshot);
    return term;
  });
}

namespace {

struct Link {
  int64_t first_seq;
  int64_t last_seq;
  int64_t epoch;
  const std::string& previous;
  const std::string& digest;
  const std::string& row_sums;
};

void FinishGroup(pqxx::transaction_base& tx, const core::Writes& writes, const Link& link) {
  const core::Counters counters = writes.counters.value_or(core::Counters{});
  const auto number = [](int64_t value, bool given) { return given ? std::to_string(value) : std::string(); };
  const auto text = [](const std::string& value, bool given) { return given ? value.c_str() : nullptr; };
  const bool events = !writes.events.empty();
  const bool counted = writes.counters.has_value();
  const std::string numbers[] = {number(link.first_seq, events),
                                 number(link.last_seq, events),
                                 number(link.epoch, events),
                                 number(counters.next_fence, counted),
                                 number(counters.next_migration, counted),
                                 number(counters.next_batch, counted),
                                 number(counters.next_project, counted)};
  tx.exec_prepared(kFinishGroup.name, text(numbers[0], events), text(numbers[1], events), text(numbers[2], events),
                   text(link.previous, events), text(link.digest, events), text(numbers[3], counted),
                   text(numbers[4], counted), text(numbers[5], counted), text(numbers[6], counted),
                   text(link.row_sums, events));
}

}  // namespace

absl::Status Store::Commit(const core::Writes& writes) {
  if (session_ == nullptr) {
    return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "not connected to the store");
  }
  const int64_t first_seq = last_event_seq_ + 1;
  const int64_t last_seq = last_event_seq_ + static_cast<int64_t>(writes.events.size());
  std::string head = chain_head_;
  const absl::Status status = Guarded([&]() -> absl::Status {
    pqxx::work tx(session_->connection());
    PGC_RETURN_IF_ERROR(session_->CheckEpoch(tx, epoch_));
    try {
      WriteRows(session_->connection(), tx, writes);
    } catch (const RowMissing& missing) {
      return MakeError(Verdict::kPermanent, "PGC-STORE-DATA", missing.what());
    }
    WrittenEvents events;
    if (!writes.events.empty()) {
      events = WriteEvents(session_->connection(), tx, writes.events, first_seq);
      head = LinkDigest(chain_head_, epoch_, events.canonical);
    }
    if (!writes.events.empty() || writes.counters.has_value()) {
      FinishGroup(tx, writes, {first_seq, last_seq, epoch_, chain_head_, head, events.row_sums});
    }
    PGC_FAILPOINT("store.commit.rows_written");
    tx.commit();
    return absl::OkStatus();
  });
  if (status.ok()) {
    last_event_seq_ = last_seq;
    chain_head_ = head;
  }
  return status;
}

absl::StatusOr<std::map<ProjectId, History>> Store::LoadHistory(const std::vector<ProjectId>& projects) {
  return Guarded([&]() -> absl::StatusOr<std::map<ProjectId, History>> {
    std::map<ProjectId, History> histories;
    const std::string ids = IdArray(projects);
    pqxx::work tx(session_->connection());
    PGC_RETURN_IF_ERROR(session_->CheckEpoch(tx, epoch_));
    for (const pqxx::row& row : tx.exec_params(kLatestResults, ids)) {
      histories[{row[0].as<int64_t>()}].results_json.emplace_back(row[1].c_str());
    }
    for (const pqxx::row& row : tx.exec_params(kIntents, ids)) {
      histories[{row[0].as<int64_t>()}].intents_json.emplace_back(row[1].c_str());
    }
    for (const pqxx::row& row : tx.exec_params(kFormerCredentials, ids)) {
      histories[{row[0].as<int64_t>()}].former_json.emplace_back(row[1].c_str());
    }
    return histories;
  });
}

absl::StatusOr<std::optional<core::Reopen>> Store::LoadMigration(MigrationId migration) {
  return Guarded([&]() -> absl::StatusOr<std::optional<core::Reopen>> {
    const std::string id = std::to_string(migration.value);
    pqxx::work tx(session_->connection());
    PGC_RETURN_IF_ERROR(session_->CheckEpoch(tx, epoch_));
    std::vector<core::MigrationRow> found;
    ReadAll(tx, Select(kMigrationColumns, "migration WHERE id = " + id), ReadMigration, found);
    if (found.empty()) {
      return std::nullopt;
    }
    core::Reopen reopen;
    reopen.migration = std::move(found[0]);
    ReadAll(tx, Select(kBatchColumns, "batch WHERE migration_id = " + id + " ORDER BY id"), ReadBatch,
            reopen.batches);
    ReadAll(tx, Select(kProjectColumns, "project WHERE migration_id = " + id + " ORDER BY id"), ReadProject,
            reopen.projects);
    return reopen;
  });
}

absl::StatusOr<std::string> Store::LoadPlan(MigrationId migration) {
  return Guarded([&]() -> absl::StatusOr<std::string> {
    pqxx::work tx(session_->connection());
    PGC_RETURN_IF_ERROR(session_->CheckEpoch(tx, epoch_));
    return tx.exec_params1(kPlan, migration.value)[0].as<std::string>();
  });
}

void Store::Interrupt() { socket_->Shutdown(); }

}  // namespace pgconvoy::store
