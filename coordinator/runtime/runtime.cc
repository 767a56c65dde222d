#include "coordinator/runtime/runtime.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/log/log.h"

namespace pgconvoy::runtime {
namespace {

constexpr char kDataCode[] = "PGC-STORE-DATA";

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
// clang 14 does not deduce the arguments of an aggregate by itself.
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

absl::Status RestartingStatus() {
  return MakeError(Verdict::kTransient, "PGC-COORD-RESTARTING", "the coordinator restarts", "reconnect");
}

absl::Status UnavailableStatus() {
  return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "the coordinator has lost its store for the moment",
                   "try again");
}

absl::Status RefusedStatus(const absl::Status& why) {
  absl::Status status(absl::StatusCode::kInternal, "the store refused this: " + MessageOf(why));
  why.ForEachPayload(
      [&status](absl::string_view url, const absl::Cord& payload) { status.SetPayload(url, payload); });
  return status;
}

const core::Command* NeedsMemory(const core::Event& event) {
  const auto* const command = std::get_if<core::Command>(&event);
  const bool needs = command != nullptr &&
                     (command->kind == core::CommandKind::kRetry || command->kind == core::CommandKind::kRollback);
  return needs ? command : nullptr;
}

// The stream on which a worker said this; null for what no worker said.
const StreamId* SpeakingStream(const core::Event& event) {
  return std::visit(Overloaded{
                        [](const core::WorkerHello& hello) { return &hello.stream; },
                        [](const core::WorkerHeartbeat& heartbeat) { return &heartbeat.stream; },
                        [](const core::WorkerReport& report) { return &report.stream; },
                        [](const core::WorkerRelease& release) { return &release.stream; },
                        [](const auto&) { return static_cast<const StreamId*>(nullptr); },
                    },
                    event);
}

}  // namespace

Runtime::Runtime(const Options& options, Clock& clock)
    : options_(options), clock_(clock), queue_(options.queue_capacity) {}

Runtime::~Runtime() { Stop(); }

void Runtime::Start(std::unique_ptr<store::Store> store, store::Term term, Observer* observer) {
  store_ = std::move(store);
  observer_ = observer;
  committer_ = std::make_unique<Committer>([this] { queue_.Poke(); });
  thread_ = std::thread([this, first = std::move(term)]() mutable {
    BeginTerm(std::move(first));
    Loop();
    const MutexLock lock(ended_mutex_);
    thread_ended_ = true;
    ended_.NotifyAll();
  });
}

void Runtime::Stop() {
  queue_.Stop();
  if (!thread_.joinable()) {
    return;
  }
  {
    MutexLock lock(ended_mutex_);
    const auto grace = std::chrono::milliseconds(options_.stop_grace_ms);
    while (!ended_.WaitFor(lock, grace,
                           [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ended_mutex_) { return thread_ended_; })) {
      log::Warn("the store does not answer; its connection is cut");
      store_->Interrupt();
    }
  }
  thread_.join();
}

// ---- from other threads ----------------------------------------------------------------------------------------

StreamId Runtime::NewStream() { return {next_stream_++}; }

absl::Status Runtime::Connect(core::WorkerHello hello, std::shared_ptr<WorkerStream> stream) {
  return queue_.Push({core::Event(std::move(hello)), std::move(stream), nullptr});
}

absl::Status Runtime::Post(core::Event event) { return queue_.Push({std::move(event), nullptr, nullptr}); }

absl::Status Runtime::Post(std::vector<core::Event> events) {
  std::vector<Item> items;
  items.reserve(events.size());
  for (core::Event& event : events) {
    items.push_back({std::move(event), nullptr, nullptr});
  }
  return queue_.PushAll(std::move(items));
}

void Runtime::Enqueue(Item item, RequestId request) {
  if (const absl::Status status = queue_.Push(std::move(item)); !status.ok()) {
    // Push leaves an item that it refuses as it was.
    item.done(core::Reply{request, status, {}, false, 0});
  }
}

void Runtime::Submit(core::SubmitMigration submit, Done done) {
  submit.request = {next_request_++};
  const RequestId request = submit.request;
  Enqueue({core::Event(std::move(submit)), nullptr, std::move(done)}, request);
}

void Runtime::Run(core::Command command, Done done) {
  command.request = {next_request_++};
  const RequestId request = command.request;
  Enqueue({core::Event(std::move(command)), nullptr, std::move(done)}, request);
}

void Runtime::AskWaitCause(MigrationId migration,
                           const std::string& ref,
                           std::function<void(core::WaitCause)> answer) {
  Item item{WaitQuestion{migration, ref, std::move(answer)}, nullptr, nullptr};
  if (!queue_.Push(std::move(item)).ok()) {
    std::get<WaitQuestion>(item.what).answer(core::WaitCause::kNone);
  }
}

std::map<std::string, WorkerNote> Runtime::WorkerNotes() const {
  const MutexLock lock(notes_mutex_);
  std::map<std::string, WorkerNote> notes;
  for (const auto& [project, worker] : worker_of_running_) {
    ++notes[worker].running;
  }
  for (const auto& [worker, heard] : heard_) {
    notes[worker].heard = heard;
  }
  return notes;
}

// ---- the loop --------------------------------------------------------------------------------------------------

core::TimePoint Runtime::Now() { return {clock_.NowMonotonic(), clock_.NowWall()}; }

void Runtime::Loop() {
  while (!queue_.stopped() && !lead_lost_) {
    if (core_ != nullptr) {
      RunTerm();
    } else if (!LeadAgain()) {
      break;
    }
  }
  for (auto& [id, entry] : streams_) {
    entry.stream->Send(Restarting{});
  }
  EndTerm(RestartingStatus());
}

// Until the term ends or the process does. Groups that are in hand when Stop() comes are finished.
void Runtime::RunTerm() {
  while (core_ != nullptr) {
    if (queue_.stopped() && !committer_->busy() && pending_.Empty() && gathered_.empty()) {
      return;
    }
    absl::Status status = absl::OkStatus();
    std::vector<Item> items;
    if (std::optional<Group> group = committer_->Take()) {
      status = std::move(group->status);
      if (status.ok()) {
        status = Finish(*std::move(group));
      } else {
        items = std::move(group->items);
      }
    }
    if (status.ok()) {
      Gather();
      status = ApplyGathered();
    }
    if (status.ok() && !committer_->busy()) {
      status = CloseGroup();
    }
    if (!status.ok()) {
      HandleFailure(status, std::move(items));
    }
  }
}

void Runtime::Gather() {
  if (queue_.stopped() || !gathered_.empty()) {
    // Only the answer of the store leads on from here.
    if (committer_->busy()) {
      committer_->WaitFinished();
    }
    return;
  }
  if (!again_.empty()) {
    gathered_.push_back(std::move(again_.back()));
    again_.pop_back();
    singles_left_ -= std::min<size_t>(singles_left_, 1);
    return;
  }
  size_t limit = singles_left_ > 0 ? 1 : options_.group_limit;
  limit -= std::min(limit, pending_.items.size());
  const MonotonicMs check = lead_proven_ + options_.lead_check_ms;
  // While the store is busy, time changes nothing: what it leads to could not be committed.
  MonotonicMs deadline = std::min(core_->NextDeadline().value_or(check), check);
  if (committer_->busy()) {
    deadline = clock_.NowMonotonic() + options_.lead_check_ms;
  } else if (!pending_.Empty()) {
    deadline = clock_.NowMonotonic();
  }
  std::vector<Item> items = queue_.Wait(clock_, deadline, limit, drained_);
  singles_left_ -= std::min(singles_left_, items.size());
  for (Item& item : items) {
    gathered_.push_back(std::move(item));
  }
}

// A migration that comes back from the store must find there what this core has decided.
bool Runtime::MustWait(const Item& item) const {
  const auto* const event = std::get_if<core::Event>(&item.what);
  const core::Command* const command = event == nullptr ? nullptr : NeedsMemory(*event);
  return command != nullptr && !core_->Holds(command->migration) && (committer_->busy() || !pending_.items.empty());
}

absl::Status Runtime::ApplyGathered() {
  const core::TimePoint now = Now();
  // A single one is committed alone, so that it fails alone.
  const bool single = singles_left_ > 0 && !pending_.items.empty();
  while (!gathered_.empty() && !single && !MustWait(gathered_.front())) {
    // Among the items before anything can fail: no call and no stream of the group is forgotten.
    pending_.items.push_back(std::move(gathered_.front()));
    gathered_.pop_front();
    Admit(pending_.items.back());
    PGC_RETURN_IF_ERROR(ApplyItem(pending_.items.back(), now, pending_.output));
  }
  return absl::OkStatus();
}

bool Runtime::LeadCheckDue() { return clock_.NowMonotonic() - lead_proven_ >= options_.lead_check_ms; }

absl::Status Runtime::CloseGroup() {
  const core::TimePoint now = Now();
  core::Output& output = pending_.output;
  // Only time that has passed with an empty queue counts against a worker: what it said may still be in there.
  const auto deadline = core_->NextDeadline();
  if (drained_ && gathered_.empty() && deadline.has_value() && *deadline <= now.mono) {
    core_->Apply(core::Tick{}, now, output);
  }
  core_->Schedule(now, output);
  // A leader without work would not notice that another one has taken over, and keep its workers from it.
  if (output.writes.Empty() && !LeadCheckDue()) {
    return Finish(std::exchange(pending_, {}));
  }
  for (const core::MigrationRow& migration : output.writes.new_migrations) {
    plans_[migration.id] = std::make_shared<const std::string>(migration.spec.plan_json);
  }
  std::set<MigrationId> wanted;
  for (const core::Message& message : output.messages) {
    const auto* const grant = std::get_if<core::SendGrant>(&message);
    if (grant != nullptr && !plans_.contains(grant->migration)) {
      wanted.insert(grant->migration);
    }
  }
  pending_.plans_wanted.assign(wanted.begin(), wanted.end());
  committer_->Begin(*store_, std::exchange(pending_, {}));
  return absl::OkStatus();
}

absl::Status Runtime::Finish(Group group) {
  if (!group.output.writes.Empty()) {
    TakeNote(group.output.writes);
  }
  lead_proven_ = group.committed ? clock_.NowMonotonic() : lead_proven_;
  for (auto& [migration, plan] : group.plans) {
    plans_[migration] = std::make_shared<const std::string>(std::move(plan));
  }
  PGC_RETURN_IF_ERROR(Deliver(group));
  for (const Item& item : group.items) {
    DropIfGone(item);
  }
  return absl::OkStatus();
}

// Only after the group is out: a worker that has closed its side still gets the acks of what it sent before.
void Runtime::DropIfGone(const Item& item) {
  const auto* const event = std::get_if<core::Event>(&item.what);
  const auto* const gone = event == nullptr ? nullptr : std::get_if<core::WorkerGone>(event);
  if (gone == nullptr) {
    return;
  }
  if (auto entry = streams_.extract(gone->stream)) {
    entry.mapped().stream->Close(absl::OkStatus());
  }
}

void Runtime::Admit(const Item& item) {
  const auto* const event = std::get_if<core::Event>(&item.what);
  if (event == nullptr) {
    return;
  }
  if (const auto* const hello = std::get_if<core::WorkerHello>(event)) {
    streams_[hello->stream] = {hello->worker_id, item.stream, {}, {}};
  } else if (const auto* const submit = std::get_if<core::SubmitMigration>(event)) {
    waiting_[submit->request] = item.done;
  } else if (const auto* const command = std::get_if<core::Command>(event)) {
    waiting_[command->request] = item.done;
  }
}

absl::Status Runtime::ApplyItem(Item& item, core::TimePoint now, core::Output& output) {
  if (auto* const question = std::get_if<WaitQuestion>(&item.what)) {
    question->answer(core_->WhyWaiting(question->migration, question->ref, now));
    question->answer = nullptr;
    return absl::OkStatus();
  }
  const core::Event& event = std::get<core::Event>(item.what);
  PGC_RETURN_IF_ERROR(ReopenIfNeeded(event, now, output));
  core_->Apply(event, now, output);
  NoteHeard(event, now.wall);
  return absl::OkStatus();
}

absl::Status Runtime::ReopenIfNeeded(const core::Event& event, core::TimePoint now, core::Output& output) {
  const core::Command* const command = NeedsMemory(event);
  if (command == nullptr || core_->Holds(command->migration)) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(auto reopen, store_->LoadMigration(command->migration));
  if (reopen.has_value()) {
    core_->Apply(std::move(*reopen), now, output);
  }
  return absl::OkStatus();
}

// Not written to the store: a heartbeat a second of every worker would be.
void Runtime::NoteHeard(const core::Event& event, WallMs now) {
  const StreamId* const stream = SpeakingStream(event);
  const auto entry = stream == nullptr ? streams_.end() : streams_.find(*stream);
  if (entry != streams_.end()) {
    const MutexLock lock(notes_mutex_);
    heard_[entry->second.worker_id] = now;
  }
}

void Runtime::NoteProject(const core::ProjectRow& project) {
  if (project.state == ProjectState::kRunning) {
    worker_of_running_[project.id.value] = project.worker_id;
  } else {
    worker_of_running_.erase(project.id.value);
  }
}

void Runtime::TakeNote(const core::Writes& writes) {
  ++revision_;
  const MutexLock lock(notes_mutex_);
  for (const core::ProjectRow& project : writes.projects) {
    NoteProject(project);
  }
}

// ---- letting out -----------------------------------------------------------------------------------------------

absl::Status Runtime::Deliver(Group& group) {
  core::Output& output = group.output;
  for (const core::Reply& reply : output.replies) {
    if (auto waiting = waiting_.extract(reply.request)) {
      waiting.mapped()(reply);
    }
  }
  std::vector<core::SendGrant> grants;
  for (core::Message& message : output.messages) {
    if (auto* const grant = std::get_if<core::SendGrant>(&message)) {
      grants.push_back(std::move(*grant));
    } else {
      Deliver(message);
    }
  }
  for (auto& [id, entry] : streams_) {
    SendAcks(entry);
  }
  PGC_RETURN_IF_ERROR(DeliverGrants(std::move(grants), std::move(group.histories)));
  for (const core::ReconcileDue& due : output.reconciles) {
    ForgetPlan(due.migration);
    observer_->OnReconcileDue(due.migration);
  }
  return absl::OkStatus();
}

void Runtime::SendAcks(Stream& stream) {
  if (!stream.acks.empty()) {
    stream.stream->Send(Acks{std::exchange(stream.acks, {})});
  }
}

void Runtime::Deliver(core::Message& message) {
  const auto send = [this](StreamId id, Outbound outbound) {
    if (const auto it = streams_.find(id); it != streams_.end()) {
      SendAcks(it->second);
      it->second.stream->Send(std::move(outbound));
    }
  };
  std::visit(Overloaded{
                 [&](core::SendWelcome& welcome) {
                   send(welcome.stream, Welcome{store_id_, epoch_, options_.settings.lease_ttl_ms});
                 },
                 [&](core::SendAck& ack) {
                   if (const auto it = streams_.find(ack.stream); it != streams_.end()) {
                     it->second.acks.push_back(std::move(ack));
                   }
                 },
                 [&](core::SendRevoke& revoke) { send(revoke.stream, std::move(revoke)); },
                 [](core::SendGrant&) {},
             },
             message);
}

// The migration has ended; a retry sends its plan again.
void Runtime::ForgetPlan(MigrationId migration) {
  plans_.erase(migration);
  for (auto& [id, entry] : streams_) {
    entry.plans_sent.erase(migration);
  }
}

absl::Status Runtime::DeliverGrants(std::vector<core::SendGrant> grants,
                                    std::map<ProjectId, store::History> histories) {
  for (core::SendGrant& grant : grants) {
    const auto entry = streams_.find(grant.stream);
    if (entry == streams_.end()) {
      continue;
    }
    Grant outbound;
    if (entry->second.plans_sent.insert(grant.migration).second) {
      outbound.plan_json = plans_.at(grant.migration);
    }
    for (const core::GrantedProject& project : grant.projects) {
      if (auto history = histories.extract(project.id)) {
        outbound.histories.insert(std::move(history));
      }
    }
    outbound.grant = std::move(grant);
    entry->second.stream->Send(std::move(outbound));
    PGC_FAILPOINT("coordinator.grant.sent");
  }
  return absl::OkStatus();
}

// ---- terms -----------------------------------------------------------------------------------------------------

void Runtime::BeginTerm(store::Term term) {
  epoch_ = term.epoch;
  store_id_ = term.store_id;
  core_ = std::make_unique<core::Core>(options_.settings, options_.seed + static_cast<uint64_t>(epoch_));
  {
    const MutexLock lock(notes_mutex_);
    worker_of_running_.clear();
    heard_.clear();
    for (const core::ProjectRow& project : term.snapshot.projects) {
      NoteProject(project);
    }
  }
  lead_proven_ = clock_.NowMonotonic();
  log::Info("leading", {{"epoch", std::to_string(epoch_)},
                        {"store", store_id_},
                        {"migrations", std::to_string(term.snapshot.migrations.size())},
                        {"projects", std::to_string(term.snapshot.projects.size())}});
  core_->Load(std::move(term.snapshot), Now());
  ++revision_;
  queue_.Open();
  leading_ = true;
  observer_->OnLeading(true);
}

void Runtime::EndTerm(const absl::Status& why) {
  leading_ = false;
  std::vector<Item> left = queue_.Close();
  if (core_ != nullptr) {
    observer_->OnLeading(false);
  }
  core_.reset();
  plans_.clear();
  for (auto& [id, entry] : std::exchange(streams_, {})) {
    entry.stream->Close(why);
  }
  for (auto& [request, done] : std::exchange(waiting_, {})) {
    done(core::Reply{request, why, {}, false, 0});
  }
  for (Item& item : left) {
    Fail(item, why);
  }
  if (queue_.stopped() || lead_lost_) {
    for (Item& item : std::exchange(again_, {})) {
      Fail(item, why);
    }
  }
}

// An event that never reached the core.
void Runtime::Fail(Item& item, const absl::Status& why) {
  if (auto* const question = std::get_if<WaitQuestion>(&item.what)) {
    question->answer(core::WaitCause::kNone);
  } else if (item.stream != nullptr) {
    item.stream->Close(why);
  } else if (item.done != nullptr) {
    item.done(core::Reply{{}, why, {}, false, 0});
  }
}

// Back in office after a failure. False when the process is to end. The pause comes first: it keeps a failure that
// repeats at once from spinning, and lets a coordinator that has just ended our session raise the epoch.
bool Runtime::LeadAgain() {
  for (MonotonicMs pause = options_.first_retry_ms; !queue_.stopped();
       pause = std::min(pause * 2, options_.last_retry_ms)) {
    queue_.Pause(pause);
    if (queue_.stopped()) {
      return false;
    }
    auto term = store_->Lead(epoch_);
    if (term.ok()) {
      BeginTerm(*std::move(term));
      return true;
    }
    if (VerdictOf(term.status()) == Verdict::kFenced) {
      HandleFailure(term.status(), {});
      return false;
    }
    log::Warn("no store", {{"error", Describe(term.status())}, {"retry_ms", std::to_string(pause)}});
  }
  return false;
}

void Runtime::HandleFailure(const absl::Status& failure, std::vector<Item> group) {
  // What was applied on top of it is as lost as it is.
  std::vector<Item> later = std::exchange(pending_, {}).items;
  for (Item& item : std::exchange(gathered_, {})) {
    Admit(item);
    later.push_back(std::move(item));
  }
  for (std::vector<Item>* const items : {&group, &later}) {
    for (Item& item : *items) {
      if (auto* const question = std::get_if<WaitQuestion>(&item.what); question != nullptr && question->answer) {
        question->answer(core::WaitCause::kNone);
      }
    }
  }
  if (VerdictOf(failure) == Verdict::kFenced) {
    lead_lost_ = true;
    log::Error("the lead is lost", {{"error", Describe(failure)}});
    EndTerm(UnavailableStatus());
    observer_->OnLeadLost(failure);
    return;
  }
  log::Warn("the term ends", {{"error", Describe(failure)}, {"epoch", std::to_string(epoch_)}});
  if (CodeOf(failure) == kDataCode) {
    TryAgain(std::move(later));
    if (group.size() == 1) {
      Reject(group[0], failure);
    } else {
      // Who is at fault shows when each event is committed alone. Workers send theirs again.
      singles_left_ = options_.single_events;
      TryAgain(std::move(group));
    }
  }
  EndTerm(UnavailableStatus());
}

// The last of again_ is the first to be tried.
void Runtime::TryAgain(std::vector<Item> items) {
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (item->done != nullptr) {
      const auto& event = std::get<core::Event>(item->what);
      const auto* const submit = std::get_if<core::SubmitMigration>(&event);
      waiting_.erase(submit != nullptr ? submit->request : std::get<core::Command>(event).request);
      again_.push_back(std::move(*item));
    }
  }
}

// The one event that the store does not take. Told before the streams close, so that it is not sent again.
void Runtime::Reject(Item& item, const absl::Status& why) {
  auto* const event = std::get_if<core::Event>(&item.what);
  if (event == nullptr) {
    return;
  }
  std::visit(
      Overloaded{
          [&](const core::SubmitMigration& submit) {
            waiting_.erase(submit.request);
            item.done(core::Reply{submit.request, RefusedStatus(why), {}, false, 0});
          },
          [&](const core::Command& command) {
            waiting_.erase(command.request);
            item.done(core::Reply{command.request, RefusedStatus(why), {}, false, 0});
          },
          [&](const core::WorkerReport& report) {
            const auto entry = streams_.find(report.stream);
            if (entry != streams_.end()) {
              entry->second.stream->Send(Acks{{core::SendAck{report.stream, report.migration, report.ref,
                                                             report.fence, report.seq, "ILLEGAL", MessageOf(why)}}});
            }
          },
          [](const auto&) {},
      },
      *event);
}

}  // namespace pgconvoy::runtime
