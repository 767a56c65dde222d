// SubmitMigration: gathers the header and the chunks of projects, checks them, and hands the whole to the runtime.
// Nothing exists until the client has closed its side.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "coordinator/core/core.h"
#include "coordinator/service/thread_pool.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::runtime {
class Runtime;
}
namespace pgconvoy::store {
class StoreReader;
}

namespace pgconvoy::service {

// What the reactors need; all of it outlives them.
struct Backend {
  runtime::Runtime& runtime;
  // Set before the runtime leads for the first time.
  std::unique_ptr<store::StoreReader>& reader;
  ThreadPool& pool;
};

class SubmitReactor : public grpc::ServerReadReactor<v1::SubmitMigrationRequest> {
 public:
  SubmitReactor(const Backend& backend, v1::SubmitMigrationResponse* response);
  void OnReadDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  grpc::Status Take(const v1::SubmitMigrationRequest& request);
  grpc::Status TakeHeader(const v1::SubmitHeader& header);
  absl::Status TakeProjects(const v1::ProjectChunk& chunk);
  void Submit();
  void Answer(const core::Reply& reply);

  Backend backend_;
  v1::SubmitMigrationResponse* const response_;
  v1::SubmitMigrationRequest incoming_;
  bool has_header_ = false;
  v1::Plan plan_;
  core::SubmitMigration submit_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace pgconvoy::service
