// A fleet under random faults: lost streams, dead and silent workers, coordinators that die before a commit, errors of
// every kind, commands at any time. Seeded, so a failure repeats.
#include <algorithm>
#include <deque>
#include <random>
#include <set>

#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

// One attempt as its worker sees it.
struct Attempt {
  MigrationId migration;
  GrantedProject project;
  size_t next_phase = 0;
  bool started = false;
  bool stopping = false;
  // The final report has been made; it may still be unacknowledged.
  bool over = false;
  int64_t seq = 0;
  std::deque<WorkerReport> unacked = {};
};

struct SimWorker {
  std::string id;
  int incarnation = 1;
  int64_t stream = 0;
  bool draining = false;
  std::map<Fence, Attempt> attempts = {};
};

class World : public Harness, public ::testing::WithParamInterface<uint64_t> {
 protected:
  static constexpr int kWorkers = 5;

  bool Chance(int percent) { return Below(100) < percent; }
  int Below(int limit) { return static_cast<int>(random_() % static_cast<uint64_t>(limit)); }

  // Applies and commits, then delivers what was sent, to streams that are still open.
  void Feed(const Event& event) { Deliver(Do(event)); }
  void FeedSchedule() { Deliver(DoSchedule()); }
  void Deliver(const Output& out);
  void Take(SimWorker& worker, const SendGrant& grant);
  void Take(SimWorker& worker, const SendAck& ack);
  void Take(SimWorker& worker, const SendRevoke& revoke);
  void Take(SimWorker&, const SendWelcome&) {}

  void Connect(SimWorker& worker);
  void Disconnect(SimWorker& worker);
  void Kill(SimWorker& worker);
  void CrashCoordinator();
  void Work(SimWorker& worker, int percent_failing);
  decltype(WorkerReport::body) NextBody(Attempt& attempt, int percent_failing);
  void OrderSomething();
  void SubmitSomething();
  void Step(int percent_failing);
  // No more faults: everybody connects, works and succeeds until nothing is left.
  void Settle();
  void ExpectEverythingEnded() const;

  std::mt19937_64 random_{GetParam()};
  std::vector<SimWorker> workers_;
  int64_t next_stream_ = 1;
  int submitted_ = 0;
  // Fences that were given out, and the highest of them before the present group.
  std::set<Fence> fences_;
  Fence highest_before_;
};

void World::Deliver(const Output& out) {
  highest_before_ = fences_.empty() ? Fence{} : *fences_.rbegin();
  for (const Message& message : out.messages) {
    const int64_t stream = std::visit([](const auto& body) { return body.stream.value; }, message);
    for (SimWorker& worker : workers_) {
      if (worker.stream == stream) {
        std::visit([&](const auto& body) { Take(worker, body); }, message);
      }
    }
  }
}

void World::Take(SimWorker& worker, const SendGrant& grant) {
  for (const GrantedProject& project : grant.projects) {
    EXPECT_GT(project.fence, highest_before_) << "a fence went back";
    EXPECT_TRUE(fences_.insert(project.fence).second) << "a fence was given out twice";
    worker.attempts[project.fence] = {.migration = grant.migration, .project = project};
  }
}

void World::Take(SimWorker& worker, const SendAck& ack) {
  EXPECT_NE(ack.refused_reason, "ILLEGAL") << ack.refused_message;
  const auto found = worker.attempts.find(ack.fence);
  if (found == worker.attempts.end()) return;
  Attempt& attempt = found->second;
  if (!ack.refused_reason.empty()) {
    worker.attempts.erase(found);
    return;
  }
  ASSERT_FALSE(attempt.unacked.empty());
  const WorkerReport report = attempt.unacked.front();
  ASSERT_EQ(report.seq, ack.seq);
  attempt.unacked.pop_front();
  if (const auto* done = std::get_if<PhaseDone>(&report.body)) {
    EXPECT_TRUE(rows.results().contains({ack.fence, done->phase})) << "acknowledged and not durable";
  }
  if (std::holds_alternative<IntentReported>(report.body)) {
    EXPECT_TRUE(rows.intents().contains({ack.fence, ack.seq})) << "acknowledged and not durable";
  }
  if (attempt.over && attempt.unacked.empty()) {
    EXPECT_NE(rows.attempts().at(ack.fence).outcome, "") << "acknowledged and not durable";
    worker.attempts.erase(found);
  }
}

void World::Take(SimWorker& worker, const SendRevoke& revoke) {
  for (const HeldProject& project : revoke.projects) {
    const auto found = worker.attempts.find(project.fence);
    if (found == worker.attempts.end()) continue;
    if (revoke.reason == RevokeReason::kLeaseLost) {
      worker.attempts.erase(found);
    } else {
      found->second.stopping = true;
    }
  }
}

void World::Connect(SimWorker& worker) {
  worker.stream = next_stream_++;
  WorkerHello hello;
  hello.stream = StreamId{worker.stream};
  hello.worker_id = worker.id;
  hello.incarnation = std::to_string(worker.incarnation);
  hello.slots = 3;
  hello.draining = worker.draining;
  for (const auto& [fence, attempt] : worker.attempts) {
    hello.held.push_back({attempt.migration, attempt.project.ref, fence});
  }
  Feed(hello);
  std::vector<WorkerReport> resent;
  for (auto& [fence, attempt] : worker.attempts) {
    for (WorkerReport& report : attempt.unacked) {
      report.stream = StreamId{worker.stream};
      resent.push_back(report);
    }
  }
  for (const WorkerReport& report : resent) Feed(report);
}

void World::Disconnect(SimWorker& worker) {
  if (worker.stream == 0) return;
  const int64_t stream = std::exchange(worker.stream, 0);
  if (Chance(50)) Feed(WorkerGone{StreamId{stream}});
}

void World::Kill(SimWorker& worker) {
  Disconnect(worker);
  worker.attempts.clear();
  ++worker.incarnation;
  worker.draining = false;
}

void World::CrashCoordinator() {
  if (Chance(50)) {
    // Something was decided and neither committed nor sent.
    Output lost;
    core->Schedule(now, lost);
  }
  for (SimWorker& worker : workers_) worker.stream = 0;
  Reload();
}

decltype(WorkerReport::body) World::NextBody(Attempt& attempt, int percent_failing) {
  const auto& phases = attempt.project.phases;
  const Phase phase = phases[std::min(attempt.next_phase, phases.size() - 1)];
  if (attempt.stopping) {
    attempt.over = true;
    return AttemptFailed{phase, {Verdict::kAbandoned, "PGC-TEST-STOPPED", "stopped", ""}};
  }
  if (Chance(percent_failing)) {
    attempt.over = true;
    static constexpr Verdict kVerdicts[] = {Verdict::kTransient, Verdict::kTransient, Verdict::kPermanent,
                                            Verdict::kInDoubt,   Verdict::kFenced,    Verdict::kOperator};
    return AttemptFailed{phase, {kVerdicts[Below(6)], "PGC-TEST-ERROR", "it broke", ""}};
  }
  if (attempt.next_phase == phases.size()) {
    attempt.over = true;
    return AttemptDone{};
  }
  if (!attempt.started) {
    attempt.started = true;
    return PhaseStarted{phase};
  }
  if (Chance(20)) return Progress{Below(100), Below(1000)};
  if (Chance(10)) return IntentReported{"{}"};
  attempt.started = false;
  ++attempt.next_phase;
  return PhaseDone{phase, "{}", 7, 70, Chance(2) ? std::vector<std::string>{"odd"} : std::vector<std::string>{}};
}

void World::Work(SimWorker& worker, int percent_failing) {
  if (worker.attempts.empty()) {
    if (worker.stream != 0) Feed(WorkerHeartbeat{StreamId{worker.stream}, worker.draining});
    return;
  }
  auto chosen = std::next(worker.attempts.begin(), Below(static_cast<int>(worker.attempts.size())));
  Attempt& attempt = chosen->second;
  if (worker.stream != 0 && attempt.seq == 0 && Chance(percent_failing)) {
    const HeldProject held{attempt.migration, attempt.project.ref, attempt.project.fence};
    worker.attempts.erase(chosen);
    Feed(WorkerRelease{StreamId{worker.stream}, {held}});
    return;
  }
  if (attempt.over) return;
  attempt.unacked.push_back({StreamId{worker.stream}, attempt.migration, attempt.project.ref, attempt.project.fence,
                             ++attempt.seq, NextBody(attempt, percent_failing)});
  const WorkerReport report = attempt.unacked.back();
  if (worker.stream == 0) return;
  if (Chance(percent_failing)) {
    // It arrives, and the answer is lost with the stream.
    const int64_t stream = std::exchange(worker.stream, 0);
    Feed(report);
    Feed(WorkerGone{StreamId{stream}});
    return;
  }
  Feed(report);
}

void World::SubmitSomething() {
  MigrationSpec spec = Spec("request-" + std::to_string(++submitted_));
  spec.phases = {Phase::kFence, Phase::kPreValidation, Phase::kCredentials, Phase::kProvision, Phase::kBackup,
                 Phase::kCopy,  Phase::kVerify,        Phase::kCutover,     Phase::kCleanup};
  spec.limits = {{"source", 1 + Below(6)}, {"target", 1 + Below(6)}};
  spec.batch_size = 1 + Below(5);
  spec.max_attempts = 1 + Below(4);
  spec.rollback_on_failure = Chance(80);
  Feed(SubmitMigration{RequestId{}, "sim", spec, Inputs(1 + Below(15), "m" + std::to_string(submitted_) + "-")});
}

void World::OrderSomething() {
  if (rows.migrations().empty()) return;
  Command command;
  command.migration = std::next(rows.migrations().begin(), Below(static_cast<int>(rows.migrations().size())))->first;
  command.kind = static_cast<CommandKind>(Below(5));
  command.discard_writes = Chance(50);
  if (Chance(50)) command.ref = "m" + std::to_string(command.migration.value) + "-" + std::to_string(Below(10));
  const bool reopens = command.kind == CommandKind::kRetry || command.kind == CommandKind::kRollback;
  if (reopens && !core->Holds(command.migration)) Feed(rows.TakeEnded(command.migration));
  Feed(command);
  EXPECT_TRUE(core->Holds(command.migration) || IsEnded(StateOf(command.migration)));
}

void World::Step(int percent_failing) {
  SimWorker& worker = workers_[static_cast<size_t>(Below(kWorkers))];
  const int what = Below(1000);
  if (what < 6) {
    CrashCoordinator();
  } else if (what < 12) {
    Kill(worker);
  } else if (what < 25) {
    Disconnect(worker);
  } else if (what < 35) {
    OrderSomething();
  } else if (what < 40 && submitted_ < 12) {
    SubmitSomething();
  } else if (what < 44) {
    worker.draining = !worker.draining;
  } else if (what < 46) {
    Pass(settings.lease_ttl_ms);
    Deliver(last);
  } else if (what < 250) {
    Pass(Below(300));
    Deliver(last);
  } else if (what < 400) {
    FeedSchedule();
  } else if (worker.stream == 0 && Chance(30)) {
    Connect(worker);
  } else {
    Work(worker, percent_failing);
  }
}

void World::Settle() {
  for (const auto& [id, row] : rows.migrations()) {
    if (row.state == MigrationState::kPaused) Order(CommandKind::kResume, id);
  }
  for (SimWorker& worker : workers_) {
    worker.draining = false;
    if (worker.stream == 0) Connect(worker);
  }
  const auto unfinished = [this] {
    return std::any_of(rows.migrations().begin(), rows.migrations().end(),
                       [](const auto& entry) { return !IsEnded(entry.second.state); });
  };
  for (int round = 0; round < 20'000 && unfinished(); ++round) {
    Pass(50);
    Deliver(last);
    FeedSchedule();
    for (SimWorker& worker : workers_) Work(worker, 0);
  }
}

void World::ExpectEverythingEnded() const {
  std::map<MigrationId, StateCounts> counts;
  for (const auto& [id, row] : rows.projects()) {
    EXPECT_TRUE(IsEnded(row.state)) << row.ref << " is " << Name(row.state);
    EXPECT_EQ(row.worker_id, "");
    ++counts[row.migration][static_cast<size_t>(row.state)];
  }
  for (const auto& [id, row] : rows.migrations()) {
    EXPECT_TRUE(IsEnded(row.state)) << "migration " << id.value << " is " << Name(row.state);
    EXPECT_EQ(row.counts, counts[id]) << "migration " << id.value;
  }
  for (const auto& [id, row] : rows.batches()) EXPECT_EQ(row.state, BatchState::kDone) << id.value;
  for (const auto& [fence, row] : rows.attempts())
    EXPECT_NE(row.outcome, "") << "attempt " << fence.value << " never ended";
}

TEST_P(World, LosesNothingAndEndsOnceFaultsStop) {
  for (int i = 0; i < kWorkers; ++i) workers_.push_back({.id = "w" + std::to_string(i)});
  SubmitSomething();
  for (int i = 0; i < 4'000 && !HasFailure(); ++i) Step(3);
  if (!HasFailure()) Settle();
  if (!HasFailure()) ExpectEverythingEnded();
  EXPECT_GT(rows.results().size(), 100u) << "the test did too little";
}

// The rows are all that a term leaves behind: a core that loads them decides what the old one would have decided.
TEST_P(World, DecidesTheSameAfterAReload) {
  settings.progress_interval_ms = 0;
  core = std::make_unique<Core>(settings, kSeed);
  for (int i = 0; i < kWorkers; ++i) workers_.push_back({.id = "w" + std::to_string(i)});
  SubmitSomething();
  SubmitSomething();
  for (int i = 0; i < 1'500 && !HasFailure(); ++i) Step(3);
  // The new term knows no stream, so the old one must not either.
  for (int64_t stream = 1; stream < next_stream_; ++stream) Feed(WorkerGone{StreamId{stream}});
  Core loaded(settings, kSeed);
  loaded.Load(rows.Take(), now);
  const auto both = [&](const Event* event) {
    Output theirs;
    event != nullptr ? loaded.Apply(*event, now, theirs) : loaded.Schedule(now, theirs);
    const Output ours = event != nullptr ? Do(*event) : DoSchedule();
    ASSERT_EQ(Describe(theirs), Describe(ours));
    ASSERT_EQ(loaded.CheckInvariants(), "");
    Deliver(ours);
  };
  for (SimWorker& worker : workers_) {
    worker.stream = next_stream_++;
    WorkerHello hello{StreamId{worker.stream}, worker.id, std::to_string(worker.incarnation), "", "", 3, false, {}};
    for (const auto& [fence, attempt] : worker.attempts) {
      hello.held.push_back({attempt.migration, attempt.project.ref, fence});
    }
    const Event event = hello;
    both(&event);
  }
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    now.mono += 40;
    now.wall += 40;
    const Event tick = Tick{};
    both(&tick);
    both(nullptr);
    SimWorker& worker = workers_[static_cast<size_t>(Below(kWorkers))];
    const Event beat = WorkerHeartbeat{StreamId{worker.stream}, false};
    both(&beat);
    for (auto& [fence, attempt] : worker.attempts) {
      if (!attempt.over && attempt.unacked.empty()) {
        attempt.unacked.push_back({StreamId{worker.stream}, attempt.migration, attempt.project.ref, fence,
                                   ++attempt.seq, NextBody(attempt, 5)});
        const Event report = attempt.unacked.back();
        both(&report);
        break;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, World, ::testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace pgconvoy::core
