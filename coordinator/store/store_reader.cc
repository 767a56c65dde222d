#include "coordinator/store/store_reader.h"

#include <algorithm>
#include <map>
#include <pqxx/pqxx>
#include <set>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "coordinator/store/array_text.h"
#include "coordinator/store/chain_check.h"
#include "coordinator/store/row_codec.h"
#include "coordinator/store/session.h"

namespace pgconvoy::store {
namespace {

constexpr char kUpdateTime[] = ", (extract(epoch FROM update_time) * 1000)::bigint";

absl::Status NotFound(const std::string& what) {
  return WithStatusCode(absl::StatusCode::kNotFound,
                        MakeError(Verdict::kPermanent, "PGC-API-NOT-FOUND", what + " does not exist"));
}

std::string Text(MigrationId id) { return "migration " + std::to_string(id.value); }

// A page token is the key of the last row of the page before, wrapped so that nobody is tempted to make one.
std::string MakeToken(const std::vector<std::string>& key) { return Base64Encode(Join(key, "\n")); }

absl::StatusOr<std::vector<std::string>> ParseToken(const std::string& token, size_t parts) {
  const absl::Status bad = InputError("PGC-API-PAGE-TOKEN", "page_token is not one that this method has returned",
                                      "pass next_page_token of the page before, or nothing for the first page");
  const auto text = Base64Decode(token);
  if (!text.ok() || !IsUtf8(*text)) {
    return bad;
  }
  std::vector<std::string> key;
  for (size_t begin = 0; begin <= text->size();) {
    const size_t end = std::min(text->find('\n', begin), text->size());
    key.push_back(text->substr(begin, end - begin));
    begin = end + 1;
  }
  if (key.size() != parts) {
    return bad;
  }
  return key;
}

absl::StatusOr<int64_t> NumberIn(const std::string& text) {
  const auto number = ParseDecimal(text);
  if (!number.has_value()) {
    return InputError("PGC-API-PAGE-TOKEN", "page_token is not one that this method has returned");
  }
  return *number;
}

// The number that a token with one number holds, `first` without a token.
absl::StatusOr<int64_t> NumberToken(const std::string& token, int64_t first) {
  if (token.empty()) {
    return first;
  }
  PGC_ASSIGN_OR_RETURN(const auto key, ParseToken(token, 1));
  return NumberIn(key[0]);
}

// Queries ask for one row more than the page has; its presence says that there is a next page.
template <typename Row, typename KeyOf>
Page<Row> MakePage(std::vector<Row> rows, int size, KeyOf key_of) {
  Page<Row> page;
  if (rows.size() > static_cast<size_t>(size)) {
    rows.resize(static_cast<size_t>(size));
    page.next_token = MakeToken(key_of(rows.back()));
  }
  page.rows = std::move(rows);
  return page;
}

ProjectView ReadView(RowReader& reader) {
  ProjectView view;
  view.row = ReadProject(reader);
  view.update_time = reader.Int64();
  return view;
}

EventView ReadEventView(RowReader& reader) {
  EventView view;
  view.row = ReadEvent(reader, view.seq);
  return view;
}

BackupView ReadBackup(RowReader& reader) {
  BackupView view;
  view.migration.value = reader.Int64();
  view.ref = reader.Text();
  view.fence.value = reader.Int64();
  view.payload_json = reader.Text();
  view.project.value = reader.Int64();
  view.end_time = reader.Int64();
  return view;
}

core::PruneCandidate ReadCandidate(RowReader& reader) {
  core::PruneCandidate candidate;
  candidate.migration.value = reader.Int64();
  candidate.project.value = reader.Int64();
  candidate.ref = reader.Text();
  candidate.fence.value = reader.Int64();
  candidate.sealed_at = reader.Int64();
  candidate.pruned = reader.Bool();
  candidate.removed = reader.Bool();
  return candidate;
}

std::vector<std::string> ReadTexts(const pqxx::result& result) {
  std::vector<std::string> texts;
  for (const pqxx::row& row : result) {
    texts.emplace_back(row[0].c_str());
  }
  return texts;
}

std::string StateArray(const std::vector<ProjectState>& states) {
  ArrayText array;
  for (const ProjectState state : states) {
    array.Add(Name(state));
  }
  return array.Finish();
}

constexpr char kBackups[] =
    "SELECT p.migration_id, p.ref, r.fence, r.payload, p.id, (extract(epoch FROM r.end_time) * 1000)::bigint "
    "FROM pgconvoy.project AS p "
    "JOIN pgconvoy.backup_result AS r ON r.project_id = p.id ";

// What a restore has adopted is listed where it was made.
constexpr char kForPrune[] =
    "SELECT p.migration_id, p.id, p.ref, r.fence, (extract(epoch FROM r.end_time) * 1000)::bigint, "
    "r.payload->'backup'->'prune_time' IS NOT NULL, coalesce((r.payload->'backup'->>'removed')::boolean, false) "
    "FROM pgconvoy.project AS p "
    "JOIN pgconvoy.backup_result AS r ON r.project_id = p.id "
    "WHERE r.payload->'backup'->>'backup_id' = p.ref || '/' || r.fence AND ($1 = '' OR p.ref = $1) "
    "ORDER BY p.ref, r.fence";
constexpr char kOpenRefs[] =
    "SELECT DISTINCT ref FROM pgconvoy.project "
    "WHERE state IN ('PENDING', 'WAITING', 'RUNNING', 'NEEDS_OPERATOR') AND ($1 = '' OR ref = $1)";
// A change of credentials moves nothing, so it says nothing about backups.
constexpr char kFailedRefs[] =
    "SELECT DISTINCT p.ref FROM pgconvoy.project AS p JOIN pgconvoy.migration AS m ON m.id = p.migration_id "
    "WHERE p.state = 'FAILED' AND m.credentials_of IS NULL AND ($1 = '' OR p.ref = $1)";
constexpr char kMigratedRefs[] =
    "SELECT DISTINCT p.ref FROM pgconvoy.project AS p JOIN pgconvoy.migration AS m ON m.id = p.migration_id "
    "WHERE p.state IN ('SUCCEEDED', 'SUCCEEDED_WITH_WARNINGS') AND m.phases && '{COPY,TRANSFORM,CUTOVER}' "
    "AND m.credentials_of IS NULL "
    "AND ($1 = '' OR p.ref = $1)";

// As RefsDigest does.
constexpr char kRefsDigest[] =
    "SELECT encode(sha256(convert_to("
    "coalesce(string_agg(ref || chr(10), '' ORDER BY ref COLLATE \"C\"), ''), 'UTF8')), 'hex') "
    "FROM pgconvoy.project WHERE migration_id = $1";

constexpr char kRef[] =
    "SELECT coalesce(max(fence), 0), "
    "coalesce(bool_or(state IN ('PENDING', 'WAITING', 'RUNNING', 'NEEDS_OPERATOR')), false) "
    "FROM pgconvoy.project WHERE ref = $1";
constexpr char kBackupIds[] = "SELECT payload->'backup'->>'backup_id' FROM pgconvoy.backup_result LIMIT $1";

constexpr char kNextFence[] = "SELECT next_fence FROM pgconvoy.leader";
// Only in migrations that count such projects, one after the other: all others are most of a store that has grown old.
// The positions in `counts` are those of PENDING, WAITING, RUNNING and NEEDS_OPERATOR.
constexpr char kLiveRefs[] =
    "SELECT DISTINCT p.ref FROM "
    "(SELECT id FROM pgconvoy.migration WHERE counts[$2] + counts[$3] + counts[$4] + counts[$5] > 0 OFFSET 0) AS m "
    "CROSS JOIN LATERAL (SELECT ref FROM pgconvoy.project WHERE migration_id = m.id "
    "AND state IN ('PENDING', 'WAITING', 'RUNNING', 'NEEDS_OPERATOR') OFFSET 0) AS p LIMIT $1";
// PostgreSQL counts from 1.
constexpr int CountAt(ProjectState state) { return static_cast<int>(state) + 1; }

// With what changed a project's credentials later and stands.
constexpr char kResultsOf[] =
    "SELECT project_id, payload FROM ("
    "  SELECT project_id, fence, end_time, place, payload FROM pgconvoy.phase_result"
    "  WHERE project_id = ANY($1::bigint[])"
    "  UNION ALL"
    "  SELECT own.id, r.fence, r.end_time, r.place, r.payload FROM pgconvoy.project AS own"
    "  JOIN pgconvoy.migration AS m ON m.credentials_of = own.migration_id"
    "  JOIN pgconvoy.project AS p ON p.migration_id = m.id AND p.ref = own.ref"
    "    AND p.state IN ('SUCCEEDED', 'SUCCEEDED_WITH_WARNINGS')"
    "  JOIN pgconvoy.phase_result AS r ON r.project_id = p.id AND r.direction = 'FORWARD'"
    "    AND r.phase IN ('CREDENTIALS', 'CUTOVER')"
    "  WHERE own.id = ANY($1::bigint[])) AS all_results "
    "ORDER BY project_id, fence, end_time, place";

// The newest fence of what changed a project's credentials later and has ended, however it did.
constexpr char kFencesOfChanges[] =
    "SELECT own.id, max(p.fence) FROM pgconvoy.project AS own "
    "JOIN pgconvoy.migration AS m ON m.credentials_of = own.migration_id "
    "JOIN pgconvoy.project AS p ON p.migration_id = m.id AND p.ref = own.ref "
    "AND p.state NOT IN ('PENDING', 'WAITING', 'RUNNING') "
    "WHERE own.id = ANY($1::bigint[]) GROUP BY own.id";

// A page is a walk along the index on (migration_id, ref). Where statistics are old the planner takes a migration for
// small, fetches all that lies behind the page and sorts it.
constexpr char kWalkTheIndex[] = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";

struct ProjectsQuery {
  std::string sql;
  std::string after;
};

// $1 migration, $2 ref, $3 limit, $4 states.
absl::StatusOr<ProjectsQuery> QueryProjects(const std::vector<ProjectState>& states, const PageRequest& page) {
  ProjectsQuery query;
  if (!page.token.empty()) {
    PGC_ASSIGN_OR_RETURN(const auto key, ParseToken(page.token, 1));
    query.after = key[0];
  }
  const std::string columns = std::string(kProjectColumns) + kUpdateTime;
  const std::string filter = states.empty() ? "$4 = '{}'" : "state = ANY($4::text[])";
  query.sql = Select(columns.c_str(), "project WHERE migration_id = $1 AND ref > $2 AND ") + filter +
              " ORDER BY ref LIMIT $3";
  return query;
}

std::vector<std::string> RefKey(const ProjectView& view) { return {view.row.ref}; }

// Attempts and results of these projects, in their order.
std::vector<ProjectDetail> ReadDetails(pqxx::transaction_base& tx, const std::vector<ProjectView>& views) {
  std::vector<ProjectDetail> details(views.size());
  std::map<int64_t, ProjectDetail*> by_id;
  std::vector<int64_t> ids;
  for (size_t i = 0; i < views.size(); ++i) {
    details[i].project = views[i];
    details[i].last_fence = views[i].row.fence;
    ids.push_back(views[i].row.id.value);
    by_id[ids.back()] = &details[i];
  }
  const std::string array = ToArrayText(ids);
  const std::string attempts =
      Select(kAttemptColumns, "attempt WHERE project_id = ANY($1::bigint[]) ORDER BY project_id, fence");
  for (core::AttemptRow& attempt : ReadRows(tx.exec_params(attempts, array), ReadAttempt)) {
    by_id.at(attempt.project.value)->attempts.push_back(std::move(attempt));
  }
  for (const pqxx::row& row : tx.exec_params(kResultsOf, array)) {
    by_id.at(row[0].as<int64_t>())->results_json.emplace_back(row[1].c_str());
  }
  for (const pqxx::row& row : tx.exec_params(kFencesOfChanges, array)) {
    Fence& fence = by_id.at(row[0].as<int64_t>())->last_fence;
    fence = std::max(fence, Fence{row[1].as<int64_t>()});
  }
  return details;
}

// Drops the details behind the one that makes the page too large.
void CutPage(Page<ProjectDetail>& page) {
  size_t bytes = 0;
  for (size_t i = 0; i + 1 < page.rows.size(); ++i) {
    for (const std::string& json : page.rows[i].results_json) {
      bytes += json.size();
    }
    if (bytes >= StoreReader::kHistoryPageBytes) {
      page.rows.resize(i + 1);
      page.next_token = MakeToken(RefKey(page.rows.back().project));
    }
  }
}

}  // namespace

// Connections are made on demand, kept, and thrown away after a failure.
class StoreReader::Pool {
 public:
  Pool(std::string conninfo, int max_connections) : conninfo_(std::move(conninfo)), free_slots_(max_connections) {}

  // Runs `body` in a read-only transaction that sees one state throughout; once more, on a fresh connection, when the
  // connection failed under it.
  template <typename Body>
  auto Read(Body body) -> decltype(body(std::declval<pqxx::transaction_base&>())) {
    Slot slot(*this);
    auto result = Try(slot, body);
    if (!result.ok() && VerdictOf(result.status()) == Verdict::kTransient) {
      Clear();
      result = Try(slot, body);
    }
    return result;
  }

  void Interrupt() {
    const MutexLock lock(mutex_);
    interrupted_ = true;
    for (SocketGuard* const socket : in_use_) {
      socket->Shutdown();
    }
  }

 private:
  using Snapshot = pqxx::transaction<pqxx::repeatable_read, pqxx::read_only>;

  struct Slot {
    explicit Slot(Pool& owner) : pool(owner) {
      MutexLock lock(pool.mutex_);
      pool.freed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool.mutex_) { return pool.free_slots_ > 0; });
      --pool.free_slots_;
      pool.in_use_.insert(&socket);
    }
    ~Slot() {
      const MutexLock lock(pool.mutex_);
      pool.in_use_.erase(&socket);
      ++pool.free_slots_;
      pool.freed_.NotifyOne();
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    Pool& pool;
    SocketGuard socket;
  };

  template <typename Body>
  auto Try(Slot& slot, Body& body) -> decltype(body(std::declval<pqxx::transaction_base&>())) {
    PGC_RETURN_IF_ERROR(CheckNotInterrupted());
    PGC_ASSIGN_OR_RETURN(auto connection, Take());
    slot.socket.Reset(connection->sock());
    // Again, now that the socket is known: an interruption has come before this check, or finds the socket.
    PGC_RETURN_IF_ERROR(CheckNotInterrupted());
    auto result = Guarded([&] {
      Snapshot tx(*connection);
      return body(tx);
    });
    if (result.ok() || VerdictOf(result.status()) != Verdict::kTransient) {
      Give(std::move(connection));
    }
    return result;
  }

  absl::StatusOr<std::unique_ptr<Connection>> Take() {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        return connection;
      }
    }
    return Connect(conninfo_, Access::kReadOnly);
  }

  absl::Status CheckNotInterrupted() {
    const MutexLock lock(mutex_);
    return interrupted_
               ? MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "the coordinator stops", "try again")
               : absl::OkStatus();
  }

  void Give(std::unique_ptr<Connection> connection) {
    const MutexLock lock(mutex_);
    idle_.push_back(std::move(connection));
  }

  // When one connection has died the others have most likely died with it.
  void Clear() {
    const MutexLock lock(mutex_);
    idle_.clear();
  }

  const std::string conninfo_;
  Mutex mutex_;
  Condition freed_;
  int free_slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
  std::set<SocketGuard*> in_use_ ABSL_GUARDED_BY(mutex_);
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
};

StoreReader::StoreReader(std::string conninfo, int max_connections)
    : pool_(std::make_unique<Pool>(std::move(conninfo), max_connections)) {}

StoreReader::~StoreReader() = default;

absl::StatusOr<core::MigrationRow> StoreReader::GetMigration(MigrationId id) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<core::MigrationRow> {
    auto rows =
        ReadRows(tx.exec_params(Select(kMigrationColumns, "migration WHERE id = $1"), id.value), ReadMigration);
    if (rows.empty()) {
      return NotFound(Text(id));
    }
    return std::move(rows[0]);
  });
}

absl::StatusOr<Page<core::MigrationRow>> StoreReader::ListMigrations(const PageRequest& page) {
  PGC_ASSIGN_OR_RETURN(const int64_t before, NumberToken(page.token, INT64_MAX));
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<core::MigrationRow>> {
    auto rows =
        ReadRows(tx.exec_params(Select(kMigrationColumns, "migration WHERE id < $1 ORDER BY id DESC LIMIT $2"),
                                before, page.size + 1),
                 ReadMigration);
    for (core::MigrationRow& row : rows) {
      row.spec.plan_json.clear();
    }
    return MakePage(std::move(rows), page.size,
                    [](const auto& row) { return std::vector{std::to_string(row.id.value)}; });
  });
}

absl::StatusOr<Page<core::BatchRow>> StoreReader::ListBatches(MigrationId migration, const PageRequest& page) {
  PGC_ASSIGN_OR_RETURN(const int64_t after, NumberToken(page.token, 0));
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<core::BatchRow>> {
    return MakePage(ReadRows(tx.exec_params(Select(kBatchColumns,
                                                   "batch WHERE migration_id = $1 AND id > $2 ORDER BY id LIMIT $3"),
                                            migration.value, after, page.size + 1),
                             ReadBatch),
                    page.size, [](const auto& row) { return std::vector{std::to_string(row.id.value)}; });
  });
}

absl::StatusOr<Page<ProjectView>> StoreReader::ListProjects(MigrationId migration,
                                                            const std::vector<ProjectState>& states,
                                                            const PageRequest& page) {
  PGC_ASSIGN_OR_RETURN(const ProjectsQuery query, QueryProjects(states, page));
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<ProjectView>> {
    tx.exec0(kWalkTheIndex);
    return MakePage(
        ReadRows(tx.exec_params(query.sql, migration.value, query.after, page.size + 1, StateArray(states)),
                 ReadView),
        page.size, RefKey);
  });
}

absl::StatusOr<Page<ProjectDetail>> StoreReader::ListProjectDetails(MigrationId migration,
                                                                    const std::vector<ProjectState>& states,
                                                                    const PageRequest& page) {
  PGC_ASSIGN_OR_RETURN(const ProjectsQuery query, QueryProjects(states, page));
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<ProjectDetail>> {
    tx.exec0(kWalkTheIndex);
    const Page<ProjectView> views =
        MakePage(ReadRows(tx.exec_params(query.sql, migration.value, query.after, page.size + 1, StateArray(states)),
                          ReadView),
                 page.size, RefKey);
    Page<ProjectDetail> details{ReadDetails(tx, views.rows), views.next_token};
    CutPage(details);
    return details;
  });
}

absl::StatusOr<ProjectDetail> StoreReader::GetProject(MigrationId migration, const std::string& ref) {
  const std::string columns = std::string(kProjectColumns) + kUpdateTime;
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<ProjectDetail> {
    auto found = ReadRows(
        tx.exec_params(Select(columns.c_str(), "project WHERE migration_id = $1 AND ref = $2"), migration.value, ref),
        ReadView);
    if (found.empty()) {
      return NotFound("project " + Printable(ref) + " of " + Text(migration));
    }
    ProjectDetail detail = std::move(ReadDetails(tx, found)[0]);
    const int64_t id = detail.project.row.id.value;
    detail.intents_json =
        ReadTexts(tx.exec_params(Select("payload", "intent WHERE project_id = $1 ORDER BY fence, seq"), id));
    return detail;
  });
}

absl::StatusOr<std::vector<core::WorkerRow>> StoreReader::ListWorkers() {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<std::vector<core::WorkerRow>> {
    return ReadRows(tx.exec(Select(kWorkerColumns, "worker ORDER BY id")), ReadWorker);
  });
}

absl::StatusOr<Page<EventView>> StoreReader::ListEvents(std::optional<MigrationId> migration,
                                                        const std::string& ref,
                                                        const PageRequest& page) {
  PGC_ASSIGN_OR_RETURN(const int64_t after, NumberToken(page.token, 0));
  std::string filter = "event WHERE seq > $1";
  filter += migration.has_value() ? " AND migration_id = $3" : " AND $3 = 0";
  filter += ref.empty() ? " AND $4 = ''" : " AND project_ref = $4";
  const std::string sql = Select(kEventColumns, filter.c_str()) + " ORDER BY seq LIMIT $2";
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<EventView>> {
    return MakePage(ReadRows(tx.exec_params(sql, after, page.size + 1, migration.value_or(MigrationId{}).value, ref),
                             ReadEventView),
                    page.size, [](const auto& view) { return std::vector{std::to_string(view.seq)}; });
  });
}

absl::StatusOr<Page<BackupView>> StoreReader::ListBackups(std::optional<MigrationId> migration,
                                                          const std::string& ref,
                                                          const PageRequest& page) {
  int64_t after_migration = 0;
  std::string after_ref;
  int64_t after_fence = 0;
  if (!page.token.empty()) {
    PGC_ASSIGN_OR_RETURN(const auto key, ParseToken(page.token, 3));
    PGC_ASSIGN_OR_RETURN(after_migration, NumberIn(key[0]));
    after_ref = key[1];
    PGC_ASSIGN_OR_RETURN(after_fence, NumberIn(key[2]));
  }
  std::string sql = std::string(kBackups) + "WHERE (p.migration_id, p.ref, r.fence) > ($1, $2, $3)";
  sql += migration.has_value() ? " AND p.migration_id = $5" : " AND $5 = 0";
  sql += ref.empty() ? " AND $6 = ''" : " AND p.ref = $6";
  sql += " ORDER BY p.migration_id, p.ref, r.fence LIMIT $4";
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<Page<BackupView>> {
    return MakePage(
        ReadRows(tx.exec_params(sql, after_migration, after_ref, after_fence, page.size + 1,
                                migration.value_or(MigrationId{}).value, ref),
                 ReadBackup),
        page.size, [](const BackupView& view) {
          return std::vector{std::to_string(view.migration.value), view.ref, std::to_string(view.fence.value)};
        });
  });
}

absl::StatusOr<BackupView> StoreReader::FindBackup(const std::string& ref, Fence fence) {
  const std::string sql = std::string(kBackups) + "WHERE r.fence = $1 AND p.ref = $2";
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<BackupView> {
    auto found = ReadRows(tx.exec_params(sql, fence.value, ref), ReadBackup);
    if (found.empty()) {
      return NotFound("backup " + Printable(ref) + "/" + std::to_string(fence.value));
    }
    return std::move(found[0]);
  });
}

absl::StatusOr<PruneView> StoreReader::ListForPrune(const std::string& ref) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<PruneView> {
    const auto refs = [&](const char* query) {
      const std::vector<std::string> texts = ReadTexts(tx.exec_params(query, ref));
      return std::set<std::string>(texts.begin(), texts.end());
    };
    PruneView view;
    view.backups = ReadRows(tx.exec_params(kForPrune, ref), ReadCandidate);
    view.refs = {refs(kOpenRefs), refs(kFailedRefs), refs(kMigratedRefs)};
    return view;
  });
}

absl::StatusOr<RefView> StoreReader::GetRef(const std::string& ref) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<RefView> {
    const pqxx::row row = tx.exec_params1(kRef, ref);
    return RefView{Fence{row[0].as<int64_t>()}, row[1].as<bool>()};
  });
}

std::string RefsDigest(std::vector<std::string_view> refs) {
  std::sort(refs.begin(), refs.end());
  Sha256 digest;
  for (const std::string_view ref : refs) {
    digest.Update(ref);
    digest.Update("\n");
  }
  return digest.FinishHex();
}

absl::StatusOr<std::string> StoreReader::GetRefsDigest(MigrationId migration) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<std::string> {
    return std::string(tx.exec_params1(kRefsDigest, migration.value)[0].c_str());
  });
}

absl::StatusOr<std::vector<std::string>> StoreReader::ListBackupIds(int limit) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<std::vector<std::string>> {
    return ReadTexts(tx.exec_params(kBackupIds, limit + 1));
  });
}

absl::StatusOr<LiveRefs> StoreReader::ListLiveRefs(int limit) {
  return pool_->Read([&](pqxx::transaction_base& tx) -> absl::StatusOr<LiveRefs> {
    LiveRefs live;
    // First: what is granted between the two has a fence that counts as one given out later.
    live.next_fence.value = tx.exec1(kNextFence)[0].as<int64_t>();
    live.refs = ReadTexts(tx.exec_params(kLiveRefs, limit + 1, CountAt(ProjectState::kPending),
                                         CountAt(ProjectState::kWaiting), CountAt(ProjectState::kRunning),
                                         CountAt(ProjectState::kNeedsOperator)));
    return live;
  });
}

void StoreReader::Interrupt() { pool_->Interrupt(); }

absl::StatusOr<ChainReport> StoreReader::VerifyChain(const std::string& known_head) {
  return pool_->Read([&known_head](pqxx::transaction_base& tx) -> absl::StatusOr<ChainReport> {
    ChainReport report = CheckChain(tx);
    const bool known = known_head.empty() ||
                       !tx.exec_params("SELECT FROM pgconvoy.event_link WHERE digest = $1", known_head).empty();
    if (report.problem.empty() && !known) {
      report.problem =
          "no link has the digest " + Printable(known_head) + ": the log was written anew, or is another";
    }
    return report;
  });
}

}  // namespace pgconvoy::store
