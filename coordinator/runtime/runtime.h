// The one thread that owns the core. It gathers events into groups and applies them; a group is committed in one
// transaction, and only then its messages and replies are let out. While the store commits one group, the events of the
// next are applied already: nothing of a group leaves before the store has answered, and the core is thrown away when
// the answer is no.
//
// When a commit's outcome is not known, nothing of that group or of a later one is let out: all worker streams are
// closed, waiting calls fail with UNAVAILABLE, and the core is built anew from the store under a new epoch. Workers
// reconnect and send again what was not acknowledged. When the store refuses a value, the same happens and events are
// then committed one by one for a while, so that the one at fault fails alone.
//
// Thread safety: all public functions, from any thread; callbacks run on the runtime's thread and must return soon.
// Errors: PGC-STORE-UNAVAILABLE and PGC-COORD-OVERLOADED (Unavailable).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/committer.h"
#include "coordinator/runtime/event_queue.h"
#include "coordinator/runtime/worker_stream.h"
#include "coordinator/store/store.h"

namespace pgconvoy::runtime {

struct Options {
  core::Settings settings;
  // Feeds the core's jitter.
  uint64_t seed = 1;
  // Events that may wait; a worker's stream is closed when it meets a full queue.
  size_t queue_capacity = 1 << 16;
  // Events in one transaction: bounds how long the first of them waits for the last.
  size_t group_limit = 4096;
  // Events that are committed one by one after the store has refused a value.
  size_t single_events = 1024;
  // Pause before a try to lead again; doubles up to the last.
  MonotonicMs first_retry_ms = 100;
  MonotonicMs last_retry_ms = 5'000;
  // How often a leader that has nothing to write asks the store whether it still leads.
  MonotonicMs lead_check_ms = 5'000;
  // How long Stop() lets a store call go on before it breaks the connection.
  MonotonicMs stop_grace_ms = 5'000;
};

// What is known of a worker beyond its row.
struct WorkerNote {
  // Projects that it runs, as of the latest commit.
  int running = 0;
  // When something last came from it in this term; 0: nothing yet.
  WallMs heard = 0;
};

// Told by the runtime's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnLeading(bool leading) = 0;
  virtual void OnReconcileDue(MigrationId migration) = 0;
  // Another coordinator leads: this process has nothing more to do.
  virtual void OnLeadLost(const absl::Status& why) = 0;
};

class Runtime {
 public:
  using Done = std::function<void(const core::Reply&)>;

  explicit Runtime(const Options& options, Clock& clock = Clock::System());
  // Stops.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Starts the thread with a term that was just taken. `observer` must outlive the runtime. Called once.
  void Start(std::unique_ptr<store::Store> store, store::Term term, Observer* observer);

  // Tells the workers, finishes the group in hand, ends the thread. A store that does not answer is cut off.
  void Stop();

  StreamId NewStream();
  // A worker has said Hello on a stream; what the core has for it goes to `stream` until a WorkerGone is posted, which
  // closes it.
  absl::Status Connect(core::WorkerHello hello, std::shared_ptr<WorkerStream> stream);
  // WorkerHeartbeat, WorkerGone, WorkerReport or WorkerRelease.
  absl::Status Post(core::Event event);
  // All of them or none, in order.
  absl::Status Post(std::vector<core::Event> events);

  // `done` is called exactly once, also when the event could not be taken.
  void Submit(core::SubmitMigration submit, Done done);
  void Run(core::Command command, Done done);
  // kNone when it could not be asked.
  void AskWaitCause(MigrationId migration, const std::string& ref, std::function<void(core::WaitCause)> answer);

  bool leading() const { return leading_; }
  // Grows with every commit.
  uint64_t revision() const { return revision_; }
  // By id of the worker; one without anything to tell is left out.
  std::map<std::string, WorkerNote> WorkerNotes() const;

 private:
  struct Stream {
    std::string worker_id;
    std::shared_ptr<WorkerStream> stream;
    std::set<MigrationId> plans_sent;
    // Of the group that is being delivered.
    std::vector<core::SendAck> acks;
  };

  void Enqueue(Item item, RequestId request);
  void Loop();
  void RunTerm();
  // Takes what waits in the queue, for as long as there is nothing else to do.
  void Gather();
  // Applies what was gathered; stops at an event that must see everything before it committed.
  absl::Status ApplyGathered();
  // Hands the pending group to the committer, or delivers it where it changes nothing.
  absl::Status CloseGroup();
  bool LeadCheckDue();
  // Lets out what a committed group has to say.
  absl::Status Finish(Group group);
  void Admit(const Item& item);
  absl::Status ApplyItem(Item& item, core::TimePoint now, core::Output& output);
  bool MustWait(const Item& item) const;
  void DropIfGone(const Item& item);
  absl::Status ReopenIfNeeded(const core::Event& event, core::TimePoint now, core::Output& output);
  void NoteHeard(const core::Event& event, WallMs now);
  void TakeNote(const core::Writes& writes);
  void NoteProject(const core::ProjectRow& project) ABSL_EXCLUSIVE_LOCKS_REQUIRED(notes_mutex_);
  absl::Status Deliver(Group& group);
  void Deliver(core::Message& message);
  static void SendAcks(Stream& stream);
  absl::Status DeliverGrants(std::vector<core::SendGrant> grants, std::map<ProjectId, store::History> histories);
  void ForgetPlan(MigrationId migration);

  void BeginTerm(store::Term term);
  // Lets nothing more out, then closes every stream and fails every call that waits.
  void EndTerm(const absl::Status& why);
  bool LeadAgain();
  // `group`: the events of the group that failed. Those of the pending one, which nobody has seen, go with them.
  void HandleFailure(const absl::Status& failure, std::vector<Item> group);
  // Calls that are to be tried again in the next term.
  void TryAgain(std::vector<Item> items);
  void Reject(Item& item, const absl::Status& why);
  void Fail(Item& item, const absl::Status& why);
  core::TimePoint Now();

  const Options options_;
  Clock& clock_;
  EventQueue queue_;
  std::thread thread_;
  Observer* observer_ = nullptr;
  std::unique_ptr<store::Store> store_;
  std::atomic<int64_t> next_stream_ = 1;
  std::atomic<int64_t> next_request_ = 1;
  std::atomic<bool> leading_ = false;
  std::atomic<uint64_t> revision_ = 1;

  // Of the runtime's thread alone. The core is null while this process does not lead.
  std::unique_ptr<core::Core> core_;
  int64_t epoch_ = 0;
  MonotonicMs lead_proven_ = 0;
  // Taken from the queue, not yet applied; in order.
  std::deque<Item> gathered_;
  bool drained_ = true;
  // Applied, not yet begun to be committed.
  Group pending_;
  std::unique_ptr<Committer> committer_;
  std::string store_id_;
  std::map<StreamId, Stream> streams_;
  std::map<MigrationId, std::shared_ptr<const std::string>> plans_;
  std::map<RequestId, Done> waiting_;
  // Calls of a group that the store refused, to be tried one by one in the next term.
  std::vector<Item> again_;
  size_t singles_left_ = 0;
  bool lead_lost_ = false;

  mutable Mutex notes_mutex_;
  std::unordered_map<int64_t, std::string> worker_of_running_ ABSL_GUARDED_BY(notes_mutex_);
  std::unordered_map<std::string, WallMs> heard_ ABSL_GUARDED_BY(notes_mutex_);

  Mutex ended_mutex_;
  Condition ended_;
  bool thread_ended_ ABSL_GUARDED_BY(ended_mutex_) = false;
};

}  // namespace pgconvoy::runtime
