#include "coordinator/service/watch_reactor.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/rpc/rpc.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/service/views.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy::service {
namespace {

constexpr std::chrono::milliseconds kInterval(500);

// One step follows the other (read, write, pause), so that no state needs a lock but the alarm, which OnCancel may
// touch at any time.
class WatchReactor : public grpc::ServerWriteReactor<v1::Migration> {
 public:
  WatchReactor(const Backend& backend, MigrationId id);
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  void Read();
  void ReadNow();
  void Pause();

  const Backend backend_;
  const MigrationId id_;
  uint64_t revision_ = 0;
  std::string sent_;
  v1::Migration message_;
  bool ended_ = false;

  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mutex_);
};

WatchReactor::WatchReactor(const Backend& backend, MigrationId id) : backend_(backend), id_(id) { Read(); }

void WatchReactor::Read() {
  // A full pool delays a watcher, it does not end it.
  if (!backend_.pool.Run([this] { ReadNow(); })) {
    Pause();
  }
}

void WatchReactor::ReadNow() {
  if (!backend_.runtime.leading()) {
    Finish(rpc::ToGrpc(MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE",
                                 "this coordinator does not lead at the moment", "try again")));
    return;
  }
  revision_ = backend_.runtime.revision();
  const auto migration = backend_.reader->GetMigration(id_);
  if (!migration.ok()) {
    Finish(rpc::ToGrpc(migration.status()));
    return;
  }
  message_ = ToWire(*migration, false);
  ended_ = IsEnded(migration->state);
  std::string text = message_.SerializeAsString();
  if (text == sent_) {
    Pause();
    return;
  }
  sent_ = std::move(text);
  StartWrite(&message_);
}

void WatchReactor::OnWriteDone(bool ok) {
  if (!ok || ended_) {
    Finish(grpc::Status::OK);
  } else {
    Pause();
  }
}

void WatchReactor::Pause() {
  const MutexLock lock(mutex_);
  if (cancelled_) {
    Finish(grpc::Status::CANCELLED);
    return;
  }
  alarm_.Set(std::chrono::system_clock::now() + kInterval, [this](bool ok) {
    if (!ok) {
      Finish(grpc::Status::CANCELLED);
    } else if (backend_.runtime.revision() == revision_ && backend_.runtime.leading()) {
      Pause();
    } else {
      Read();
    }
  });
}

void WatchReactor::OnCancel() {
  const MutexLock lock(mutex_);
  cancelled_ = true;
  alarm_.Cancel();
}

}  // namespace

grpc::ServerWriteReactor<v1::Migration>* StartWatch(const Backend& backend, MigrationId id) {
  return new WatchReactor(backend, id);
}

}  // namespace pgconvoy::service
