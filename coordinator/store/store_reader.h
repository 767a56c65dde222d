// Reads of committed state for the service: a small pool of read-only connections of its own, so that no viewer ever
// waits for, or holds up, the leader's session.
//
// Thread safety: any thread; a call blocks while all connections are in use.
// Errors: those of session.h; PGC-API-NOT-FOUND (NotFound); PGC-API-PAGE-TOKEN (InvalidArgument).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/core/prune.h"
#include "coordinator/store/chain_check.h"
#include "coordinator/store/store.h"

namespace pgconvoy::store {

struct PageRequest {
  int size = 50;
  // From the page before, "" for the first.
  std::string token;
};

template <typename Row>
struct Page {
  std::vector<Row> rows;
  // "" on the last page.
  std::string next_token;
};

struct ProjectView {
  core::ProjectRow row;
  WallMs update_time = 0;
};

struct ProjectDetail {
  ProjectView project;
  // Oldest first.
  std::vector<core::AttemptRow> attempts;
  // All results of all attempts, oldest first, as proto PhaseResult JSON. Among them are the CREDENTIALS and CUTOVER
  // results of later migrations that changed this one's credentials, as long as they stand.
  std::vector<std::string> results_json;
  // As proto Intent JSON.
  std::vector<std::string> intents_json;
  // That of the project's latest attempt, or of a later change of its credentials that has ended: what its fence rows
  // carry while nothing is under way.
  Fence last_fence;
};

struct EventView {
  int64_t seq = 0;
  core::EventRow row;
};

struct BackupView {
  MigrationId migration;
  std::string ref;
  Fence fence;
  // proto PhaseResult with a BackupResult.
  std::string payload_json;
  ProjectId project;
  WallMs end_time = 0;
};

// What prune has to know of the store, without payloads.
struct PruneView {
  // By ref and fence; retention_days is not set.
  std::vector<core::PruneCandidate> backups;
  core::PruneRefs refs;
};

// The highest fence that any migration has given to a ref, and whether one of them is unfinished.
struct RefView {
  Fence fence;
  bool open = false;
};

struct LiveRefs {
  std::vector<std::string> refs;
  // What was not live when `refs` was read gets this fence or a higher one.
  Fence next_fence;
};

// SHA-256, hex, over the refs in the order of their bytes, a line each.
std::string RefsDigest(std::vector<std::string_view> refs);

class StoreReader {
 public:
  // Connects when the first read needs it.
  StoreReader(std::string conninfo, int max_connections);
  ~StoreReader();
  StoreReader(const StoreReader&) = delete;
  StoreReader& operator=(const StoreReader&) = delete;

  absl::StatusOr<core::MigrationRow> GetMigration(MigrationId id);
  // Newest first, without plans.
  absl::StatusOr<Page<core::MigrationRow>> ListMigrations(const PageRequest& page);
  // By id.
  absl::StatusOr<Page<core::BatchRow>> ListBatches(MigrationId migration, const PageRequest& page);
  // By ref; no state given means all.
  absl::StatusOr<Page<ProjectView>> ListProjects(MigrationId migration,
                                                 const std::vector<ProjectState>& states,
                                                 const PageRequest& page);
  // The same with everything that GetProject gives, but for intents. A page ends early once it holds
  // kHistoryPageBytes, so that it fits into a message.
  static constexpr size_t kHistoryPageBytes = 1 << 20;
  absl::StatusOr<Page<ProjectDetail>> ListProjectDetails(MigrationId migration,
                                                         const std::vector<ProjectState>& states,
                                                         const PageRequest& page);
  absl::StatusOr<ProjectDetail> GetProject(MigrationId migration, const std::string& ref);
  absl::StatusOr<std::vector<core::WorkerRow>> ListWorkers();
  // Oldest first. No migration: all; "" for ref: all.
  absl::StatusOr<Page<EventView>> ListEvents(std::optional<MigrationId> migration,
                                             const std::string& ref,
                                             const PageRequest& page);
  // By migration, ref and fence. No migration: all; "" for ref: all.
  absl::StatusOr<Page<BackupView>> ListBackups(std::optional<MigrationId> migration,
                                               const std::string& ref,
                                               const PageRequest& page);
  // The backup that the attempt with this fence sealed.
  absl::StatusOr<BackupView> FindBackup(const std::string& ref, Fence fence);
  // Every backup of a project, or of all ("").
  absl::StatusOr<PruneView> ListForPrune(const std::string& ref);
  absl::StatusOr<RefView> GetRef(const std::string& ref);
  // RefsDigest of all of a migration's projects.
  absl::StatusOr<std::string> GetRefsDigest(MigrationId migration);
  // Ids of all backups; at most `limit` and one more.
  absl::StatusOr<std::vector<std::string>> ListBackupIds(int limit);
  // Refs whose unfinished objects on servers are still wanted: projects that have not ended or need an operator. At
  // most `limit` and one more.
  absl::StatusOr<LiveRefs> ListLiveRefs(int limit);
  // Breaks the reads that wait for the store, and fails every later one. For an end that cannot wait for the store.
  void Interrupt();
  // Recomputes the hash chain over the whole event log. `known_head`: a digest that one of its links must have; "":
  // none.
  absl::StatusOr<ChainReport> VerifyChain(const std::string& known_head = "");

 private:
  class Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace pgconvoy::store
