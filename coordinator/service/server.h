// The coordinator's gRPC server: MigrationService, WorkerService, health and reflection on one port, with mutual TLS
// and the roles of access.h when it is given certificates; and health alone, in plaintext, on another if asked for,
// because the probes of Kubernetes cannot show a certificate.
//
// Health: "" is SERVING as long as the process lives; the two services only while it leads.
// Thread safety: any thread.
// Errors: PGC-COORD-LISTEN when the address cannot be bound, for example because another coordinator has it;
// what common/rpc/tls.h says of certificates.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/rpc/tls.h"
#include "coordinator/runtime/runtime.h"

namespace grpc {
class Channel;
}

namespace pgconvoy::service {

struct ServerOptions {
  // "host:port", port 0 for any free one, or "unix:PATH"; "" for in-process channels only.
  std::string listen;
  // The same for health alone; "" for none.
  std::string health_listen;
  rpc::Security security;
  // How long DiscoverProjects and its like wait for a worker.
  MonotonicMs wait_for_worker_ms = 10'000;
  // Another coordinator leads. Called on the runtime's thread.
  std::function<void(const absl::Status&)> on_lead_lost;
};

class Server : public runtime::Observer {
 public:
  // Listens at once; calls are answered with UNAVAILABLE until the runtime leads. `runtime` must be stopped before the
  // server is destroyed.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, runtime::Runtime& runtime);
  ~Server() override;

  // Where committed state is read from. Once, before the runtime starts.
  void UseStore(const std::string& conninfo);

  // 0 without a TCP port.
  int port() const;
  std::shared_ptr<grpc::Channel> InProcessChannel();
  // Ends what still runs and takes nothing more. After the runtime's Stop().
  void Stop();

  void OnLeading(bool leading) override;
  void OnReconcileDue(MigrationId migration) override;
  void OnLeadLost(const absl::Status& why) override;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgconvoy::service
