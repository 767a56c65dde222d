// WatchMigration: the migration at once, then after every change at most twice a second, until it has ended.
//
// One step follows the other (read, write, pause), so that no state needs a lock but the alarm, which OnCancel may
// touch at any time.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <mutex>
#include <string>

#include "coordinator/service/submit_reactor.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::service {

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

  std::mutex mutex_;
  bool cancelled_ = false;
  grpc::Alarm alarm_;
};

}  // namespace pgconvoy::service
