// One step of the core: the time it happens at, and the Output it writes into. Rows replace older rows of the same
// key in the same Output, so that a commit group writes each row once.
//
// Thread safety: none. Ownership: refers to the caller's Output.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "coordinator/core/core.h"
#include "coordinator/core/fleet.h"

namespace pgconvoy::core {

inline constexpr std::string_view kCoordinator = "coordinator";

struct EventInfo {
  std::string_view kind;
  std::string_view actor = kCoordinator;
  std::string_view rule = {};
  std::string_view reason = {};
  // Pairs with an empty value are left out. Keys need no escapes.
  std::initializer_list<std::pair<std::string_view, std::string_view>> details = {};
};

class Step {
 public:
  Step(TimePoint now, Output& out) : now_(now), out_(out) {}

  const TimePoint& now() const { return now_; }
  Output& out() { return out_; }

  void Write(Migration& migration);
  void Write(Batch& batch);
  void Write(Project& project);
  void Write(Worker& worker);
  // The last that is said of a worker that has left in order.
  void WriteDrained(Worker& worker);
  // The row of the project's present attempt; `outcome` is empty while it runs.
  void WriteAttempt(Project& project, std::string_view outcome = {}, const ErrorInfo* error = nullptr);

  // `migration` and `project_ref` may be empty.
  void Record(MigrationId migration, std::string_view project_ref, const EventInfo& info);

  // PHASE_DONE of the project's attempt. Phases of one attempt that end one right after the other in a commit group
  // share an event, with the time and the rule of the last: events are half of what the store has to write.
  void RecordPhaseDone(const Project& project, std::string_view actor, std::string_view rule, Phase phase);
  // For an event that says of the same attempt what comes after: takes the newest one back when it is a PHASE_DONE of
  // this attempt, and returns the phases that it names; otherwise "".
  std::string TakeBackPhasesDone(const Project& project);

  template <typename Body>
  void Send(Body&& body) {
    out_.messages.emplace_back(std::forward<Body>(body));
  }
  void Answer(Reply reply) { out_.replies.push_back(std::move(reply)); }

  // Migrations whose projects changed state: they may have ended.
  std::set<MigrationId>& changed() { return changed_; }

 private:
  void WriteWorker(Worker& worker, std::string_view state);

  TimePoint now_;
  Output& out_;
  std::set<MigrationId> changed_;
};

BatchRow RowOf(const Batch& batch);
ProjectRow RowOf(const Project& project);
const std::string& WorkerIdOf(const Project& project);
std::string WorkerActor(std::string_view worker_id);

}  // namespace pgconvoy::core
