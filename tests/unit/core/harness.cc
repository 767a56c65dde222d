#include "tests/unit/core/harness.h"

#include <set>
#include <sstream>

namespace pgconvoy::core {

void Rows::Commit(const Writes& writes) {
  const auto insert = [](auto& map, const auto& key, const auto& row) {
    EXPECT_TRUE(map.emplace(key, row).second) << "inserted twice";
  };
  for (const auto& row : writes.new_migrations) insert(migrations_, row.id, row);
  for (const auto& row : writes.new_batches) insert(batches_, row.id, row);
  for (const auto& row : writes.new_projects) insert(projects_, row.id, row);
  const auto update = [](auto& map, const auto& rows) {
    std::set<int64_t> seen;
    for (const auto& row : rows) {
      EXPECT_TRUE(map.contains(row.id)) << "updated before it was inserted";
      EXPECT_TRUE(seen.insert(row.id.value).second) << "written twice in one group";
      map[row.id] = row;
    }
  };
  update(migrations_, writes.migrations);
  update(batches_, writes.batches);
  update(projects_, writes.projects);
  for (AttemptRow row : writes.attempts) {
    if (row.start_time == 0) row.start_time = attempts_[row.fence].start_time;
    attempts_[row.fence] = row;
  }
  for (const auto& row : writes.workers) workers_[row.id] = row;
  for (const auto& row : writes.intents) insert(intents_, std::pair(row.fence, row.seq), row);
  for (const auto& row : writes.results) insert(results_, std::pair(row.fence, row.phase), row);
  events_.insert(events_.end(), writes.events.begin(), writes.events.end());
  if (writes.counters) counters_ = *writes.counters;
}

Snapshot Rows::Take() const {
  Snapshot snapshot;
  snapshot.counters = counters_;
  for (const auto& [id, row] : migrations_) snapshot.migrations.push_back(row);
  for (const auto& [id, row] : batches_) {
    if (!IsEnded(migrations_.at(row.migration).state)) snapshot.batches.push_back(row);
  }
  for (const auto& [id, row] : projects_) {
    if (!IsEnded(migrations_.at(row.migration).state)) snapshot.projects.push_back(row);
  }
  for (const auto& [id, row] : workers_) snapshot.workers.push_back(row);
  return snapshot;
}

Reopen Rows::TakeEnded(MigrationId migration) const {
  Reopen reopen;
  reopen.migration = migrations_.at(migration);
  for (const auto& [id, row] : batches_) {
    if (row.migration == migration) reopen.batches.push_back(row);
  }
  for (const auto& [id, row] : projects_) {
    if (row.migration == migration) reopen.projects.push_back(row);
  }
  return reopen;
}

const ProjectRow& Rows::project(MigrationId migration, const std::string& ref) const {
  for (const auto& [id, row] : projects_) {
    if (row.migration == migration && row.ref == ref) return row;
  }
  throw std::out_of_range("no project " + ref);
}

namespace {

std::string Text(const std::optional<ErrorInfo>& error) {
  return error ? error->code + "/" + error->message + "/" + std::string(VerdictName(error->verdict)) : "-";
}

void DescribeWrites(const Writes& writes, std::ostringstream& text) {
  for (const auto* list : {&writes.new_migrations, &writes.migrations}) {
    for (const MigrationRow& row : *list) {
      text << "migration " << row.id.value << " " << Name(row.state) << " " << row.end_time;
      for (const int64_t count : row.counts) text << " " << count;
      text << " " << row.rows_copied << " " << row.bytes_copied << "\n";
    }
  }
  for (const auto* list : {&writes.new_batches, &writes.batches}) {
    for (const BatchRow& row : *list) {
      text << "batch " << row.id.value << " " << Name(row.state) << " " << row.projects << " " << row.projects_ended
           << " " << row.worker_id << "\n";
    }
  }
  for (const auto* list : {&writes.new_projects, &writes.projects}) {
    for (const ProjectRow& row : *list) {
      text << "project " << row.id.value << " " << row.ref << " " << Name(row.state) << " " << Name(row.direction)
           << " " << Name(row.phase) << " " << row.fence.value << " " << row.attempts << " " << row.failures << " "
           << row.losses << " " << row.done_forward << " " << row.done_rollback << " " << row.touched
           << row.cancelling << row.discard_writes << " " << row.last_seq << " " << row.worker_id << " "
           << row.not_before << " " << Text(row.error) << " " << row.warnings.size() << " " << row.rows_copied
           << "\n";
    }
  }
  for (const AttemptRow& row : writes.attempts) {
    // The start of an attempt that an earlier term began is the store's to know.
    text << "attempt " << row.fence.value << " " << row.number << " " << row.outcome << " " << row.worker_id << " "
         << row.end_time << " " << Text(row.error) << "\n";
  }
  for (const IntentRow& row : writes.intents) text << "intent " << row.fence.value << " " << row.seq << "\n";
  for (const PhaseResultRow& row : writes.results)
    text << "result " << row.fence.value << " " << Name(row.phase) << "\n";
  for (const WorkerRow& row : writes.workers) text << "worker " << row.id << " " << row.state << "\n";
  for (const EventRow& row : writes.events) {
    text << "event " << row.project_ref << " " << row.kind << " " << row.actor << " " << row.rule << " " << row.reason
         << " " << row.detail_json << "\n";
  }
  if (writes.counters) text << "counters " << writes.counters->next_fence << "\n";
}

void DescribeMessage(const Message& message, std::ostringstream& text) {
  if (const auto* grant = std::get_if<SendGrant>(&message)) {
    text << "grant to " << grant->stream.value << " batch " << grant->batch.value;
    for (const GrantedProject& project : grant->projects) {
      text << " " << project.ref << ":" << project.fence.value << ":" << project.has_history
           << project.discard_writes;
      for (const Phase phase : project.phases) text << "," << Name(phase);
    }
  } else if (const auto* ack = std::get_if<SendAck>(&message)) {
    text << "ack to " << ack->stream.value << " " << ack->ref << " " << ack->seq << " " << ack->refused_reason;
  } else if (const auto* revoke = std::get_if<SendRevoke>(&message)) {
    text << "revoke to " << revoke->stream.value << " " << static_cast<int>(revoke->reason);
    for (const HeldProject& project : revoke->projects) text << " " << project.ref;
  } else if (const auto* welcome = std::get_if<SendWelcome>(&message)) {
    text << "welcome to " << welcome->stream.value;
  }
  text << "\n";
}

}  // namespace

std::string Describe(const Output& output) {
  std::ostringstream text;
  DescribeWrites(output.writes, text);
  for (const Message& message : output.messages) DescribeMessage(message, text);
  for (const Reply& reply : output.replies) {
    text << "reply " << pgconvoy::Describe(reply.status) << " " << reply.projects_changed << "\n";
  }
  for (const ReconcileDue& due : output.reconciles) text << "reconcile " << due.migration.value << "\n";
  return text.str();
}

Output Harness::Do(const Event& event) {
  Output out;
  core->Apply(event, now, out);
  EXPECT_EQ(core->CheckInvariants(), "");
  rows.Commit(out.writes);
  return out;
}

Output Harness::DoSchedule() {
  Output out;
  core->Schedule(now, out);
  EXPECT_EQ(core->CheckInvariants(), "");
  rows.Commit(out.writes);
  return out;
}

std::vector<Running> Harness::Grants() {
  std::vector<Running> granted;
  for (const SendGrant& grant : MessagesOf<SendGrant>(DoSchedule())) {
    for (const GrantedProject& project : grant.projects) {
      granted.push_back({grant.stream, grant.migration, project});
    }
  }
  return granted;
}

void Harness::Reload() {
  core = std::make_unique<Core>(settings, kSeed);
  core->Load(rows.Take(), now);
  EXPECT_EQ(core->CheckInvariants(), "");
}

void Harness::Pass(MonotonicMs ms) {
  now.mono += ms;
  now.wall += ms;
  last = Do(Tick{});
}

MigrationSpec Harness::Spec(const std::string& request_id) const {
  MigrationSpec spec;
  spec.name = "test";
  spec.request_id = request_id;
  spec.phases = kShortPhases;
  spec.limits = {{"source", 100}, {"target", 100}};
  spec.batch_size = 4;
  return spec;
}

std::vector<ProjectInput> Harness::Inputs(int count, const std::string& prefix) {
  std::vector<ProjectInput> projects;
  for (int i = 0; i < count; ++i) {
    projects.push_back({prefix + std::to_string(i), R"({"tenant":"x"})", 0, "source", "target"});
  }
  return projects;
}

MigrationId Harness::Submit(int count, const MigrationSpec& spec, const std::string& prefix) {
  const Reply reply = TrySubmit(spec, Inputs(count, prefix));
  EXPECT_TRUE(reply.status.ok()) << pgconvoy::Describe(reply.status);
  return reply.migration;
}

Reply Harness::TrySubmit(const MigrationSpec& spec, std::vector<ProjectInput> projects) {
  SubmitMigration submit;
  submit.actor = "anna";
  submit.spec = spec;
  submit.projects = std::move(projects);
  return Do(submit).replies.at(0);
}

Output Harness::Hello(
    int stream, const std::string& worker, int slots, std::vector<HeldProject> held, const std::string& incarnation) {
  WorkerHello hello;
  hello.stream = StreamId{stream};
  hello.worker_id = worker;
  hello.incarnation = incarnation;
  hello.slots = slots;
  hello.held = std::move(held);
  return Do(hello);
}

HeldProject Harness::Held(const Running& running) {
  return {running.migration, running.project.ref, running.project.fence};
}

SendAck Harness::AckIn(const Output& output) {
  const auto acks = MessagesOf<SendAck>(output);
  EXPECT_EQ(acks.size(), 1u);
  return acks.at(0);
}

SendAck Harness::Fail(Running& running, Verdict verdict, const std::string& code) {
  return Report(running, AttemptFailed{running.project.phases.front(), {verdict, code, "it broke", "mend it"}});
}

void Harness::RunThrough(Running& running, Phase last_phase) {
  for (const Phase phase : running.project.phases) {
    EXPECT_EQ(Report(running, PhaseStarted{phase}).refused_reason, "");
    EXPECT_EQ(Report(running, PhaseDone{phase, "{}", 0, 0, {}}).refused_reason, "");
    if (phase == last_phase) return;
  }
}

void Harness::Finish(Running& running) {
  RunThrough(running, running.project.phases.back());
  EXPECT_EQ(Report(running, AttemptDone{}).refused_reason, "");
}

Reply Harness::Order(CommandKind kind, MigrationId migration, const std::string& ref, bool discard_writes) {
  Command command;
  command.kind = kind;
  command.migration = migration;
  command.ref = ref;
  command.discard_writes = discard_writes;
  command.actor = "anna";
  command.reason = "because";
  last = Do(command);
  return last.replies.at(0);
}

Reply Harness::OrderEnded(CommandKind kind, MigrationId migration, const std::string& ref) {
  EXPECT_FALSE(core->Holds(migration));
  Do(rows.TakeEnded(migration));
  return Order(kind, migration, ref);
}

}  // namespace pgconvoy::core
