// Workers: who is connected, who holds what, and whose time is up.
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/planted.h"
#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

// The projects that run on a worker. A copy: what is done to them changes what runs.
std::vector<Project*> RunningOn(const Worker& worker) {
  std::vector<Project*> projects;
  for (Batch* batch : worker.batches) {
    for (const uint32_t index : batch->running) {
      projects.push_back(&batch->home->projects[index]);
    }
  }
  return projects;
}

HeldProject AsHeld(const Project& project) { return {project.home->row.id, project.ref, project.fence}; }

bool RunsOn(const Project* project, const Worker& worker, Fence fence) {
  return project != nullptr && project->state == ProjectState::kRunning && project->fence == fence &&
         project->home->batches[project->batch].worker == &worker;
}

void SendRevokeTo(Step& step, const Worker& worker, std::vector<HeldProject> projects, RevokeReason reason) {
  if (worker.stream && !projects.empty()) {
    step.Send(SendRevoke{*worker.stream, std::move(projects), reason});
  }
}

void RecordWorker(Step& step, const Worker& worker, std::string_view kind, std::string_view reason) {
  step.Record({}, {},
              {.kind = kind,
               .actor = WorkerActor(worker.id),
               .reason = reason,
               .details = {{"worker", worker.id}, {"slots", std::to_string(worker.slots)}, {"host", worker.host}}});
}

}  // namespace

Worker* Core::Impl::Heard(Step& step, StreamId stream) {
  Worker* worker = fleet_.WorkerOn(stream);
  if (worker == nullptr) {
    return nullptr;
  }
  worker->last_heard = step.now().mono;
  if (worker->lost) {
    worker->lost = false;
    step.Write(*worker);
    RecordWorker(step, *worker, "WORKER_CONNECTED", "it spoke again after its leases had ended");
  }
  return worker;
}

void Core::Impl::On(Step& step, const WorkerHello& hello) {
  if (const Worker* other = fleet_.WorkerOn(hello.stream); other != nullptr && other->id != hello.worker_id) {
    On(step, WorkerGone{hello.stream});
  }
  Worker* known = fleet_.FindWorker(hello.worker_id);
  if (known != nullptr && known->incarnation != hello.incarnation) {
    Forfeit(step, *known);
  }
  Worker& worker = fleet_.AddWorker(hello.worker_id);
  fleet_.Connect(worker, hello.stream);
  worker.incarnation = hello.incarnation;
  worker.version = hello.version;
  worker.host = hello.host;
  worker.slots = hello.slots;
  worker.last_heard = step.now().mono;
  worker.lost = false;
  worker.draining = hello.draining;
  step.Write(worker);
  RecordWorker(step, worker, "WORKER_CONNECTED", "it said hello");
  step.Send(SendWelcome{hello.stream});
  ReconcileHeld(step, worker, hello);
  SetDraining(step, worker, hello.draining);
}

void Core::Impl::ReconcileHeld(Step& step, Worker& worker, const WorkerHello& hello) {
  std::set<std::tuple<MigrationId, std::string_view, Fence>> held;
  std::vector<HeldProject> strange;
  std::vector<HeldProject> stopping;
  for (const HeldProject& project : hello.held) {
    held.emplace(project.migration, project.ref, project.fence);
    const Project* found = fleet_.Find(project.migration, project.ref);
    if (!RunsOn(found, worker, project.fence)) {
      strange.push_back(project);
    } else if (StopAsked(*found)) {
      // The first revoke may have been lost with the old stream.
      stopping.push_back(project);
    }
  }
  for (Project* project : RunningOn(worker)) {
    if (!held.contains({project->home->row.id, project->ref, project->fence}) && !PGC_PLANTED(kHelloIgnoresHeld)) {
      AttemptGivenUp(step, *project, {.trigger = Trigger::kGrantNeverArrived});
    }
  }
  SendRevokeTo(step, worker, std::move(strange), RevokeReason::kLeaseLost);
  SendRevokeTo(step, worker, std::move(stopping), RevokeReason::kCancelled);
}

void Core::Impl::SetDraining(Step& step, Worker& worker, bool draining) {
  if (worker.draining != draining) {
    worker.draining = draining;
    step.Write(worker);
    RecordWorker(step, worker, draining ? "WORKER_DRAINING" : "WORKER_CONNECTED", "it said so");
  }
  if (draining) {
    for (Batch* batch : std::set<Batch*, BatchOrder>(worker.batches)) {
      SettleBatch(step, *batch);
    }
  }
}

void Core::Impl::On(Step& step, const WorkerHeartbeat& heartbeat) {
  if (Worker* worker = Heard(step, heartbeat.stream)) {
    SetDraining(step, *worker, heartbeat.draining);
  }
}

void Core::Impl::On(Step& step, const WorkerGone& gone) {
  Worker* worker = fleet_.WorkerOn(gone.stream);
  if (worker == nullptr) {
    return;
  }
  fleet_.Disconnect(*worker);
  if (!worker->lost && worker->draining && worker->running == 0 && worker->batches.empty()) {
    step.WriteDrained(*worker);
    RecordWorker(step, *worker, "WORKER_DRAINED", "it gave everything back and left");
    fleet_.RemoveWorker(std::string(worker->id));
  } else if (worker->lost) {
    fleet_.RemoveWorker(std::string(worker->id));
  }
}

void Core::Impl::On(Step& step, const WorkerRelease& release) {
  Worker* worker = Heard(step, release.stream);
  if (worker == nullptr) {
    return;
  }
  for (const HeldProject& held : release.projects) {
    Project* project = fleet_.Find(held.migration, held.ref);
    if (RunsOn(project, *worker, held.fence)) {
      AttemptGivenUp(step, *project, {.trigger = Trigger::kReleased, .actor = WorkerActor(worker->id)});
    }
  }
}

void Core::Impl::Forfeit(Step& step, Worker& worker) {
  worker.lost = true;
  std::vector<HeldProject> lost;
  for (Project* project : RunningOn(worker)) {
    if (PGC_PLANTED(kExpiryKeepsProject)) {
      continue;
    }
    lost.push_back(AsHeld(*project));
    AttemptLost(step, *project);
  }
  SendRevokeTo(step, worker, std::move(lost), RevokeReason::kLeaseLost);
  for (Batch* batch : std::set<Batch*, BatchOrder>(worker.batches)) {
    SettleBatch(step, *batch);
  }
}

void Core::Impl::ExpireLeases(Step& step) {
  auto& workers = fleet_.workers();
  for (auto next = workers.begin(); next != workers.end();) {
    Worker& worker = (next++)->second;
    if (worker.lost || worker.last_heard + settings_.lease_ttl_ms > step.now().mono ||
        PGC_PLANTED(kNeverExpireLeases)) {
      continue;
    }
    Forfeit(step, worker);
    step.Write(worker);
    RecordWorker(step, worker, "WORKER_LOST", "it was silent for longer than a lease lasts");
    if (!worker.stream) {
      fleet_.RemoveWorker(std::string(worker.id));
    }
  }
}

void Core::Impl::EndBackoffs(Step& step) {
  while (!fleet_.timers().empty() && !PGC_PLANTED(kBackoffNeverEnds) &&
         std::get<MonotonicMs>(*fleet_.timers().begin()) <= step.now().mono) {
    Project& project = fleet_.ProjectOf(*fleet_.timers().begin());
    fleet_.Unplace(project);
    project.ready_at = 0;
    project.not_before = 0;
    fleet_.Place(project);
  }
}

void Core::Impl::On(Step& step, const Tick&) {
  ExpireLeases(step);
  EndBackoffs(step);
}

std::optional<MonotonicMs> Core::Impl::NextDeadline() const {
  std::optional<MonotonicMs> next;
  const auto consider = [&next](MonotonicMs at) { next = next ? std::min(*next, at) : at; };
  if (!fleet_.timers().empty()) {
    consider(std::get<MonotonicMs>(*fleet_.timers().begin()));
  }
  for (const auto& [id, worker] : fleet_.workers()) {
    if (!worker.lost) {
      consider(worker.last_heard + settings_.lease_ttl_ms);
    }
  }
  return next;
}

}  // namespace pgconvoy::core
