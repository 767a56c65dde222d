// The status store: what the coordinator must not forget, in PostgreSQL, written by the one that leads.
//
// Leadership is a row with an epoch. Lead() ends the sessions of the leader before, raises the epoch and loads what
// the core starts from; every Commit() locks that row and checks the epoch in its own transaction, so that of two
// coordinators never more than one can write.
//
// Thread safety: one thread (the runtime's), but Interrupt() may be called from any.
// Errors: those of session.h, and
//   PGC-STORE-EPOCH   FENCED    another coordinator has taken the lead: the term is over
//   PGC-STORE-UNSAFE  OPERATOR  the server could lose what it has acknowledged
//   PGC-STORE-VERSION OPERATOR  PostgreSQL is too old
//   PGC-STORE-NEWER, PGC-STORE-ALTERED (schema.h)
// After any error but PGC-STORE-DATA the term is over: Lead() again, or go.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"

namespace pgconvoy::store {

// Oldest PostgreSQL that a store may run on.
inline constexpr int kMinServerVersion = 140000;

// What a term starts with.
struct Term {
  int64_t epoch = 0;
  std::string store_id;
  core::Snapshot snapshot;
};

// What earlier attempts of a project left behind, oldest first.
struct History {
  // Latest result of each phase and direction, as proto PhaseResult JSON.
  std::vector<std::string> results_json;
  // All intents, as proto Intent JSON.
  std::vector<std::string> intents_json;
  // Of a project whose credentials are changed: the CREDENTIALS and CUTOVER results of the migration that made them and
  // of every other change that stands, oldest first.
  std::vector<std::string> former_json;
};

class SocketGuard;

class Store {
 public:
  // Connects and checks that the server keeps what it acknowledges. `holder` names this process to people.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& conninfo, const std::string& holder);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Takes the lead. `previous_epoch` is the epoch of the term that this process had before, if any: when another
  // coordinator has led since, PGC-STORE-EPOCH, and nothing is changed.
  absl::StatusOr<Term> Lead(std::optional<int64_t> previous_epoch);

  // Writes one group, all or nothing.
  absl::Status Commit(const core::Writes& writes);

  // Histories of these projects; a project without any is absent.
  absl::StatusOr<std::map<ProjectId, History>> LoadHistory(const std::vector<ProjectId>& projects);

  // All rows of one migration; nothing when there is none.
  absl::StatusOr<std::optional<core::Reopen>> LoadMigration(MigrationId migration);

  // The plan of a migration as canonical JSON.
  absl::StatusOr<std::string> LoadPlan(MigrationId migration);

  // Breaks the connection under whatever call is waiting on it, which then fails.
  void Interrupt();

 private:
  class Session;
  Store(std::string conninfo, std::string holder);
  absl::Status Reconnect();

  const std::string conninfo_;
  const std::string holder_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<SocketGuard> socket_;
  // Of the present term.
  int64_t epoch_ = 0;
  int64_t last_event_seq_ = 0;
  std::string chain_head_;
};

}  // namespace pgconvoy::store
