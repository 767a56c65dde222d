#include <atomic>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/backup/backup.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/late_indexes.h"
#include "worker/phases/parallel.h"
#include "worker/phases/phases.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

// From so many rows on, an index costs more to keep up while they come in than to drop and make again.
constexpr int64_t kRowsToIndexLater = 10'000;

using ChunkKey = std::pair<std::string, int>;

constexpr char kCurrentLoad[] = "SELECT backup_id FROM pgconvoy.load FOR UPDATE";
constexpr char kStartLoad[] = R"sql(
INSERT INTO pgconvoy.load (backup_id) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET backup_id = excluded.backup_id, finished = false
)sql";
constexpr char kLoaded[] = "SELECT relation, chunk FROM pgconvoy.ledger WHERE backup_id = $1";
constexpr char kRecord[] = R"sql(
INSERT INTO pgconvoy.ledger (backup_id, relation, chunk, rows, fence)
VALUES ($1, $2, $3::int, $4::bigint, $5::bigint)
)sql";

class Loader {
 public:
  Loader(Attempt& attempt, pg::Connection& target, const backup::BackupReader& reader, v1::CopyResult& result)
      : attempt_(attempt),
        target_(target),
        reader_(reader),
        result_(result),
        backup_id_(backup::BackupId(attempt.grant().ref, reader.manifest().fence)) {
    result_.set_backup_id(backup_id_);
  }

  absl::Status Load() {
    PGC_RETURN_IF_ERROR(BeginBackup());
    PGC_FAILPOINT("worker.copy.begun");
    PGC_RETURN_IF_ERROR(ReadLedger());
    PGC_RETURN_IF_ERROR(SetIndexesAside(target_, LargeTables()));
    PGC_FAILPOINT("worker.copy.indexes_aside");
    PGC_RETURN_IF_ERROR(LoadChunks());
    PGC_FAILPOINT("worker.copy.before_sequences");
    return SetSequences();
  }

 private:
  struct Chunk {
    const backup::TableEntry* table = nullptr;
    int index = 0;
    const backup::ChunkEntry& entry() const { return table->chunks[static_cast<size_t>(index)]; }
  };
  // What one transaction loads: one commit for a small project, bounded redo for a large one.
  using Task = std::vector<Chunk>;

  // A ledger under another backup's id does not count: the target is emptied in the transaction that writes the new id.
  absl::Status BeginBackup() {
    PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target_));
    PGC_ASSIGN_OR_RETURN(const pg::Result current, target_.Exec(kCurrentLoad));
    if (current.rows() == 1 && current.Text(0, 0) == backup_id_) {
      return transaction->Commit();
    }
    // A clone in which no load was ever begun has no rows.
    if (current.rows() != 0) {
      PGC_RETURN_IF_ERROR(EmptyTables());
      PGC_FAILPOINT("worker.copy.emptied");
    }
    PGC_RETURN_IF_ERROR(target_.Exec(kStartLoad, {backup_id_}).status());
    return transaction->Commit();
  }

  absl::Status EmptyTables() {
    std::string tables;
    for (const backup::TableEntry& table : reader_.manifest().tables) {
      tables += SplitTable(table.table).Quoted() + ", ";
    }
    return target_.ExecScript("TRUNCATE " + tables + "pgconvoy.ledger");
  }

  absl::Status ReadLedger() {
    PGC_ASSIGN_OR_RETURN(const pg::Result rows, target_.Exec(kLoaded, {backup_id_}));
    for (int row = 0; row < rows.rows(); ++row) {
      loaded_.emplace(rows.Text(row, 0), static_cast<int>(rows.Int(row, 1)));
    }
    return absl::OkStatus();
  }

  // Those that are still empty and whose rows cost less to index all at once than one by one.
  std::vector<std::string> LargeTables() const {
    std::vector<std::string> tables;
    for (const backup::TableEntry& table : reader_.manifest().tables) {
      const auto first = loaded_.lower_bound({table.table, 0});
      const bool begun = first != loaded_.end() && first->first == table.table;
      if (!begun && table.rows >= kRowsToIndexLater) {
        tables.push_back(SplitTable(table.table).Quoted());
      }
    }
    return tables;
  }

  std::vector<Task> TasksLeft() {
    std::vector<Task> tasks;
    int64_t open_bytes = kBytesPerTask;
    for (const backup::TableEntry& table : reader_.manifest().tables) {
      for (size_t i = 0; i < table.chunks.size(); ++i) {
        const Chunk chunk{&table, static_cast<int>(i)};
        result_.set_rows(result_.rows() + chunk.entry().rows);
        result_.set_bytes(result_.bytes() + chunk.entry().raw_bytes);
        if (loaded_.contains({table.table, chunk.index})) {
          result_.set_chunks_skipped(result_.chunks_skipped() + 1);
          continue;
        }
        if (open_bytes >= kBytesPerTask) {
          tasks.emplace_back();
          open_bytes = 0;
        }
        tasks.back().push_back(chunk);
        open_bytes += chunk.entry().raw_bytes;
        result_.set_chunks_loaded(result_.chunks_loaded() + 1);
      }
    }
    return tasks;
  }

  absl::Status LoadChunks() {
    const std::vector<Task> tasks = TasksLeft();
    PGC_ASSIGN_OR_RETURN(const auto sessions, attempt_.Targets(tasks.size()));
    std::atomic<int64_t> rows = 0;
    std::atomic<int64_t> bytes = 0;
    std::vector<SessionTask> loading;
    for (const Task& task : tasks) {
      loading.push_back([this, &task, &rows, &bytes](pg::Connection& session) -> absl::Status {
        PGC_RETURN_IF_ERROR(LoadTask(session, task));
        for (const Chunk& chunk : task) {
          rows += chunk.entry().rows;
          bytes += chunk.entry().raw_bytes;
        }
        attempt_.reporter().Progress(rows, bytes);
        return absl::OkStatus();
      });
    }
    return RunOnSessions(sessions, loading);
  }

  // Rows and ledger rows commit together: nothing is lost or doubled, whenever this process dies.
  absl::Status LoadTask(pg::Connection& session, const Task& task) const {
    PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(session));
    for (const Chunk& chunk : task) {
      PGC_RETURN_IF_ERROR(LoadChunk(session, *chunk.table, chunk.entry(), chunk.index));
      PGC_RETURN_IF_ERROR(attempt_.reporter().Checkpoint());
    }
    PGC_FAILPOINT("worker.copy.before_commit");
    // In doubt or not: the next attempt asks the ledger.
    PGC_RETURN_IF_ERROR(transaction->Commit());
    PGC_FAILPOINT("worker.copy.after_commit");
    return absl::OkStatus();
  }

  absl::Status LoadChunk(pg::Connection& session,
                         const backup::TableEntry& table,
                         const backup::ChunkEntry& chunk,
                         int index) const {
    PGC_ASSIGN_OR_RETURN(const std::string rows, reader_.ReadChunk(chunk));
    bool sent = false;
    const auto taken =
        session.CopyIn("COPY " + SplitTable(table.table).Quoted() + " (" + IdentList(table.columns) + ") FROM STDIN",
                       [&]() -> absl::StatusOr<std::string_view> {
                         return std::exchange(sent, true) ? std::string_view() : std::string_view(rows);
                       });
    if (!taken.ok()) {
      return Annotate(taken.status(), "loading " + table.table);
    }
    if (*taken != chunk.rows) {
      return MakeError(Verdict::kPermanent, "PGC-COPY-ROWS",
                       table.table + ": the server took " + std::to_string(*taken) + " rows of a chunk of " +
                           std::to_string(chunk.rows));
    }
    PGC_FAILPOINT("worker.copy.chunk_sent");
    return session
        .Exec(kRecord, {backup_id_, table.table, std::to_string(index), std::to_string(chunk.rows),
                        std::to_string(attempt_.grant().fence)})
        .status();
  }

  // setval is not transactional, so it comes after the last chunk and is repeated as often as needed.
  absl::Status SetSequences() {
    for (const backup::SequenceEntry& sequence : reader_.manifest().sequences) {
      PGC_RETURN_IF_ERROR(
          target_
              .Exec("SELECT pg_catalog.setval($1::regclass, $2::bigint, $3::boolean)",
                    {sequence.sequence, std::to_string(sequence.last_value), sequence.is_called ? "t" : "f"})
              .status());
    }
    return absl::OkStatus();
  }

  Attempt& attempt_;
  pg::Connection& target_;
  const backup::BackupReader& reader_;
  v1::CopyResult& result_;
  const std::string backup_id_;
  std::set<ChunkKey> loaded_;
};

}  // namespace

absl::StatusOr<v1::PhaseResult> RunCopy(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_ASSIGN_OR_RETURN(const auto reader, OpenBackup(attempt));
  // All of it before the first row goes in or out, also where this attempt has just written it: the last file may be
  // the damaged one.
  PGC_RETURN_IF_ERROR(reader->CheckStored([&attempt] { return attempt.reporter().Checkpoint(); }));
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_RETURN_IF_ERROR(Loader(attempt, *target, *reader, *result.mutable_copy()).Load());
  return result;
}

}  // namespace pgconvoy::worker
