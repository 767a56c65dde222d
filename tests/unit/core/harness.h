// What the core's tests share: a core, the rows it has written so far, and a clock that only the test moves.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/core.h"
#include "gtest/gtest.h"

namespace pgconvoy::core {

// The store as far as the core is concerned: rows by key.
class Rows {
 public:
  void Commit(const Writes& writes);
  // What a new term would load.
  Snapshot Take() const;
  Reopen TakeEnded(MigrationId migration) const;

  const MigrationRow& migration(MigrationId id) const { return migrations_.at(id); }
  // The migration's project of that ref.
  const ProjectRow& project(MigrationId migration, const std::string& ref) const;
  const std::map<MigrationId, MigrationRow>& migrations() const { return migrations_; }
  const std::map<ProjectId, ProjectRow>& projects() const { return projects_; }
  const std::map<BatchId, BatchRow>& batches() const { return batches_; }
  const std::map<Fence, AttemptRow>& attempts() const { return attempts_; }
  const std::map<std::string, WorkerRow>& workers() const { return workers_; }
  const std::map<std::pair<Fence, Phase>, PhaseResultRow>& results() const { return results_; }
  const std::map<std::pair<Fence, int64_t>, IntentRow>& intents() const { return intents_; }
  const std::vector<EventRow>& events() const { return events_; }

 private:
  Counters counters_;
  std::map<MigrationId, MigrationRow> migrations_;
  std::map<BatchId, BatchRow> batches_;
  std::map<ProjectId, ProjectRow> projects_;
  std::map<Fence, AttemptRow> attempts_;
  std::map<std::string, WorkerRow> workers_;
  std::map<std::pair<Fence, Phase>, PhaseResultRow> results_;
  std::map<std::pair<Fence, int64_t>, IntentRow> intents_;
  std::vector<EventRow> events_;
};

// Everything of an Output that reaches somebody, as text; equal texts are equal decisions.
std::string Describe(const Output& output);

inline const std::vector<Phase> kShortPhases = {Phase::kFence, Phase::kPreValidation, Phase::kCredentials,
                                                Phase::kCleanup};

struct Running {
  StreamId stream;
  MigrationId migration;
  GrantedProject project;
  int64_t seq = 0;
};

class Harness : public ::testing::Test {
 protected:
  Harness() { core = std::make_unique<Core>(settings, kSeed); }

  static constexpr uint64_t kSeed = 7;

  // Applies one event, checks the invariants and commits what it wrote.
  Output Do(const Event& event);
  Output DoSchedule();
  // Schedules and returns what was granted, in order.
  std::vector<Running> Grants();
  // Throws the core away and loads a new one from the committed rows.
  void Reload();
  void Pass(MonotonicMs ms);

  MigrationSpec Spec(const std::string& request_id = "r1") const;
  static std::vector<ProjectInput> Inputs(int count, const std::string& prefix = "p");
  // Submits and expects success.
  MigrationId Submit(int count, const MigrationSpec& spec, const std::string& prefix = "p");
  Reply TrySubmit(const MigrationSpec& spec, std::vector<ProjectInput> projects);

  Output Hello(int stream,
               const std::string& worker,
               int slots = 4,
               std::vector<HeldProject> held = {},
               const std::string& incarnation = "i1");
  static HeldProject Held(const Running& running);
  template <typename Body>
  SendAck Report(Running& running, Body body) {
    ++running.seq;
    return AckIn(Do(WorkerReport{running.stream, running.migration, running.project.ref, running.project.fence,
                                 running.seq, body}));
  }
  static SendAck AckIn(const Output& output);
  SendAck Fail(Running& running, Verdict verdict, const std::string& code = "PGC-TEST-ERROR");
  // Reports every phase of the attempt and its end.
  void Finish(Running& running);
  // Reports the phases up to and including `last`.
  void RunThrough(Running& running, Phase last);

  Reply Order(CommandKind kind, MigrationId migration, const std::string& ref = "", bool discard_writes = false);
  // As the runtime does it: an ended migration is handed back first.
  Reply OrderEnded(CommandKind kind, MigrationId migration, const std::string& ref = "");

  ProjectState StateOf(MigrationId migration, const std::string& ref) const {
    return rows.project(migration, ref).state;
  }
  MigrationState StateOf(MigrationId migration) const { return rows.migration(migration).state; }

  Settings settings;
  std::unique_ptr<Core> core;
  Rows rows;
  TimePoint now{.mono = 1'000, .wall = 1'700'000'000'000};
  Output last;
};

// All messages of one kind.
template <typename Kind>
std::vector<Kind> MessagesOf(const Output& output) {
  std::vector<Kind> found;
  for (const Message& message : output.messages) {
    if (const Kind* body = std::get_if<Kind>(&message)) {
      found.push_back(*body);
    }
  }
  return found;
}

}  // namespace pgconvoy::core
