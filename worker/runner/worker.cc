#include "worker/runner/worker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <list>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/log/log.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "worker/phases/tasks.h"
#include "worker/runner/attempt_runner.h"
#include "worker/runner/held_project.h"
#include "worker/runner/link.h"

namespace pgconvoy::worker {
namespace {

using std::chrono_literals::operator""s;

struct Job {
  std::shared_ptr<const v1::Plan> plan;
  AttemptGrant grant;
  std::vector<Phase> phases;
  std::shared_ptr<HeldProject> held;
};

AttemptGrant ToGrant(const std::string& store_id,
                     const std::string& migration_id,
                     const std::string& plan_hash,
                     const v1::ProjectGrant& project) {
  AttemptGrant grant;
  grant.store_id = store_id;
  grant.migration_id = migration_id;
  grant.plan_hash = plan_hash;
  grant.ref = project.ref();
  grant.attributes = {project.attributes().begin(), project.attributes().end()};
  grant.fence = project.fence();
  grant.direction = static_cast<Direction>(project.direction());
  grant.discard_writes = project.discard_writes();
  grant.done = {project.done().begin(), project.done().end()};
  grant.intents = {project.intents().begin(), project.intents().end()};
  grant.former = {project.former().begin(), project.former().end()};
  return grant;
}

std::vector<Phase> ToPhases(const v1::ProjectGrant& project) {
  std::vector<Phase> phases;
  for (const int phase : project.phases()) {
    phases.push_back(static_cast<Phase>(phase));
  }
  return phases;
}

}  // namespace

class Worker::Impl : public LinkHandler {
 public:
  explicit Impl(WorkerOptions options)
      : options_(std::move(options)),
        incarnation_(RandomUuid()),
        lease_(Clock::System()),
        link_(options_.coordinator, options_.security, *this),
        idle_since_(Clock::System().NowMonotonic()) {}

  WorkerExit Run() {
    std::vector<std::thread> threads;
    for (int slot = 0; slot < options_.slots; ++slot) {
      threads.emplace_back([this] { SlotLoop(); });
    }
    threads.emplace_back([this] { DrainLoop(); });
    const LinkEnd end = link_.Run(options_.give_up_ms);
    {
      const MutexLock lock(mutex_);
      ended_ = true;
      changed_.NotifyAll();
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    JoinTasks();
    if (end == LinkEnd::kRefused) {
      return WorkerExit::kConfiguration;
    }
    if (end == LinkEnd::kUnreachable) {
      log::Error("the coordinator was out of reach for too long; giving up", {{"address", options_.coordinator}});
      return WorkerExit::kCoordinatorUnavailable;
    }
    log::Info("drained");
    return WorkerExit::kDrained;
  }

  void Drain() {
    const MutexLock lock(mutex_);
    drain_requested_ = true;
    changed_.NotifyAll();
  }

  // LinkHandler.
  v1::Hello MakeHello() override {
    v1::Hello hello;
    hello.set_worker_id(options_.worker_id);
    hello.set_incarnation(incarnation_);
    hello.set_version(PGCONVOY_VERSION);
    hello.set_host(options_.host);
    hello.set_slots(options_.slots);
    hello.set_takes_ack_batches(true);
    hello.set_takes_grant_batches(true);
    hello.set_protocol(rpc::kWorkerProtocol);
    const MutexLock lock(mutex_);
    hello.set_draining(draining_);
    // A new stream knows no plans: the coordinator sends each again with the first grant of its migration.
    for (const auto& [key, held] : held_) {
      *hello.add_held() = held->ToProto();
    }
    return hello;
  }

  std::vector<v1::WorkerMessage> Unacknowledged() override {
    std::vector<v1::WorkerMessage> messages;
    for (const auto& held : HeldProjects()) {
      for (v1::WorkerMessage& message : held->Unacknowledged()) {
        messages.push_back(std::move(message));
      }
    }
    return messages;
  }

  void OnMessage(const v1::CoordinatorMessage& message) override {
    lease_.Heard();
    switch (message.body_case()) {
      case v1::CoordinatorMessage::kWelcome: OnWelcome(message.welcome()); break;
      case v1::CoordinatorMessage::kGrant: OnGrant(message.grant()); break;
      case v1::CoordinatorMessage::kGrantBatch:
        std::for_each(message.grant_batch().grants().begin(), message.grant_batch().grants().end(),
                      [this](const v1::Grant& grant) { OnGrant(grant); });
        break;
      case v1::CoordinatorMessage::kAck: OnAck(message.ack()); break;
      case v1::CoordinatorMessage::kAckBatch:
        std::for_each(message.ack_batch().acks().begin(), message.ack_batch().acks().end(),
                      [this](const v1::Ack& ack) { OnAck(ack); });
        break;
      case v1::CoordinatorMessage::kRevoke: OnRevoke(message.revoke()); break;
      case v1::CoordinatorMessage::kTask: OnTask(message.task()); break;
      case v1::CoordinatorMessage::kRestarting: log::Info("the coordinator is restarting; work goes on"); break;
      default: break;
    }
  }

 private:
  // A project and its fence name one attempt.
  using HeldKey = std::pair<std::string, int64_t>;

  void OnWelcome(const v1::Welcome& welcome) {
    const MutexLock lock(mutex_);
    store_id_ = welcome.store_id();
    lease_.SetTtl(welcome.lease_ttl_ms());
  }

  void OnGrant(const v1::Grant& grant) {
    const MutexLock lock(mutex_);
    if (!grant.plan_json().empty()) {
      auto plan = plan::PlanFromJson(grant.plan_json());
      if (!plan.ok()) {
        RefuseLocked(grant, Annotate(plan.status(), "this worker cannot read the plan"));
        return;
      }
      plans_[grant.migration_id()] = std::make_shared<const v1::Plan>(*std::move(plan));
    }
    const auto plan = plans_.find(grant.migration_id());
    if (plan == plans_.end()) {
      RefuseLocked(grant, MakeError(Verdict::kTransient, "PGC-GRANT-PLAN", "the grant came without its plan"));
      return;
    }
    const std::string hash = plan::PlanHash(*plan->second);
    for (const v1::ProjectGrant& project : grant.projects()) {
      if (held_.contains({project.ref(), project.fence()})) {
        continue;
      }
      Job job;
      job.plan = plan->second;
      job.grant = ToGrant(store_id_, grant.migration_id(), hash, project);
      job.phases = ToPhases(project);
      job.held = std::make_shared<HeldProject>(
          grant.migration_id(), project.ref(), project.fence(), lease_,
          [this](const v1::WorkerMessage& message, bool can_wait) { link_.Send(message, can_wait); });
      held_[{project.ref(), project.fence()}] = job.held;
      queue_.push_back(std::move(job));
    }
    changed_.NotifyAll();
  }

  // The projects fail at once instead of waiting for ever on a worker that cannot run them.
  void RefuseLocked(const v1::Grant& grant, const absl::Status& error) {
    log::Error(Describe(error), {{"migration", grant.migration_id()}});
    for (const v1::ProjectGrant& project : grant.projects()) {
      v1::WorkerMessage message;
      v1::Report* const report = message.mutable_report();
      report->set_migration_id(grant.migration_id());
      report->set_project_ref(project.ref());
      report->set_fence(project.fence());
      report->set_seq(1);
      report->mutable_failed()->set_phase(v1::FENCE);
      report->mutable_failed()->mutable_error()->set_verdict(v1::TRANSIENT);
      report->mutable_failed()->mutable_error()->set_code(CodeOf(error));
      report->mutable_failed()->mutable_error()->set_message(MessageOf(error));
      link_.Send(message);
    }
  }

  void OnAck(const v1::Ack& ack) {
    if (const auto held = Find(ack.project_ref(), ack.fence())) {
      held->Acknowledge(ack);
    }
  }

  void OnRevoke(const v1::Revoke& revoke) {
    for (const v1::HeldProject& project : revoke.projects()) {
      if (const auto held = Find(project.project_ref(), project.fence())) {
        held->Revoke(revoke.reason());
      }
    }
  }

  void OnTask(const v1::Task& task) {
    const MutexLock lock(tasks_mutex_);
    tasks_.remove_if([](std::future<void>& running) { return running.wait_for(0s) == std::future_status::ready; });
    tasks_.push_back(std::async(std::launch::async, [this, task] {
      std::string store_id;
      {
        const MutexLock state(mutex_);
        store_id = store_id_;
      }
      RunTask(task, store_id, pool_, schemas_, [this](const v1::TaskResult& result) {
        v1::WorkerMessage message;
        *message.mutable_task_result() = result;
        link_.Send(message);
      });
    }));
  }

  void JoinTasks() {
    const MutexLock lock(tasks_mutex_);
    // A future of std::async waits for its thread.
    tasks_.clear();
  }

  std::shared_ptr<HeldProject> Find(const std::string& ref, int64_t fence) {
    const MutexLock lock(mutex_);
    const auto it = held_.find({ref, fence});
    return it == held_.end() ? nullptr : it->second;
  }

  std::vector<std::shared_ptr<HeldProject>> HeldProjects() {
    const MutexLock lock(mutex_);
    std::vector<std::shared_ptr<HeldProject>> projects;
    for (const auto& [key, held] : held_) {
      projects.push_back(held);
    }
    return projects;
  }

  void SlotLoop() {
    MutexLock lock(mutex_);
    while (true) {
      changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || !queue_.empty(); });
      if (ended_) {
        return;
      }
      Job job = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
      lock.Unlock();
      const AttemptEnd end = RunAttempt(*job.plan, std::move(job.grant), job.phases, {pool_, schemas_}, *job.held);
      lock.Lock();
      --running_;
      held_.erase({job.held->ref(), job.held->fence()});
      if (end == AttemptEnd::kUnrecorded) {
        job.held->GiveBack();
      }
      idle_since_ = Clock::System().NowMonotonic();
      changed_.NotifyAll();
    }
  }

  // Waits for a drain to be asked for or due, carries it out, and stops the link.
  void DrainLoop() {
    MutexLock lock(mutex_);
    while (!drain_requested_ && !IdleTooLong() && !ended_) {
      changed_.WaitFor(lock, std::chrono::milliseconds(200));
    }
    if (ended_) {
      return;
    }
    draining_ = true;
    link_.SetDraining(true);
    ReleaseQueuedLocked();
    log::Info("draining", {{"running", std::to_string(running_)}});
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ended_ || (running_ == 0 && queue_.empty());
    };
    if (!changed_.WaitFor(lock, std::chrono::milliseconds(options_.drain_timeout_ms), idle)) {
      log::Warn("abandoning what still runs at its next safe point", {{"running", std::to_string(running_)}});
      for (const auto& [key, held] : held_) {
        held->Revoke(v1::Revoke::CANCELLED);
      }
      changed_.Wait(lock, idle);
    }
    lock.Unlock();
    link_.Stop();
  }

  bool IdleTooLong() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return options_.exit_when_idle_ms > 0 && running_ == 0 && queue_.empty() &&
           Clock::System().NowMonotonic() - idle_since_ > options_.exit_when_idle_ms;
  }

  void ReleaseQueuedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_draining(true);
    link_.Send(message);
    if (queue_.empty()) {
      return;
    }
    v1::WorkerMessage release;
    for (const Job& job : queue_) {
      *release.mutable_release()->add_projects() = job.held->ToProto();
      held_.erase({job.held->ref(), job.held->fence()});
    }
    queue_.clear();
    link_.Send(release);
  }

  const WorkerOptions options_;
  const std::string incarnation_;
  LeaseWatch lease_;
  SessionPool pool_;
  SchemaCache schemas_;

  Mutex mutex_;
  Condition changed_;
  std::string store_id_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<const v1::Plan>> plans_ ABSL_GUARDED_BY(mutex_);
  std::deque<Job> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<HeldKey, std::shared_ptr<HeldProject>> held_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool drain_requested_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;

  Mutex tasks_mutex_;
  std::list<std::future<void>> tasks_ ABSL_GUARDED_BY(tasks_mutex_);
  Link link_;
  MonotonicMs idle_since_ ABSL_GUARDED_BY(mutex_);
};

Worker::Worker(WorkerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Worker::~Worker() = default;

WorkerExit Worker::Run() { return impl_->Run(); }

void Worker::Drain() { impl_->Drain(); }

}  // namespace pgconvoy::worker
