#include "coordinator/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/backend.h"
#include "coordinator/service/migration_service.h"
#include "coordinator/service/reconciler.h"
#include "coordinator/service/task_broker.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/service/work_session.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::service {
namespace {

// Threads that read the store for callers, and calls that may wait for one.
constexpr int kReaders = 4;
constexpr size_t kWaitingCalls = 4096;
// How long calls that still run when the server stops are given.
constexpr std::chrono::seconds kStopGrace(2);

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  builder.SetMaxSendMessageSize(rpc::kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, rpc::kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, rpc::kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients ping every kKeepaliveMs; gRPC would otherwise end their connections for it.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, rpc::kKeepaliveMs / 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 100);
  // gRPC measures a message only once it is unpacked, and a few KiB unpack to gigabytes. Our own clients never pack.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // A second coordinator on the same port must fail, not share it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, runtime::Runtime& runtime)
      : options_(options),
        pool_(std::make_unique<ThreadPool>(kReaders, kWaitingCalls)),
        broker_(std::make_unique<TaskBroker>(options.wait_for_worker_ms)),
        backend_{runtime, reader_, *pool_},
        migrations_(MakeMigrationService(backend_, *broker_)),
        workers_(MakeWorkerService(runtime, *broker_)) {}

  ~Impl() { Stop(); }

  absl::Status Start() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    SetLimits(builder);
    if (!options_.listen.empty()) {
      builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
    }
    builder.RegisterService(migrations_.get());
    builder.RegisterService(workers_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || (!options_.listen.empty() && port_ == 0)) {
      return MakeError(Verdict::kPermanent, "PGC-COORD-LISTEN", "cannot listen on " + options_.listen,
                       "another process may have the port; choose another with --listen");
    }
    SetServing(false);
    return absl::OkStatus();
  }

  // Calls that a task would answer end first, then those that wait for the store, then what gRPC still has, then the
  // threads that may be answering.
  void Stop() {
    broker_->Stop();
    if (pool_ != nullptr && reader_ != nullptr && !pool_->WaitIdle(kStopGrace)) {
      reader_->Interrupt();
    }
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() + kStopGrace);
      server_->Wait();
    }
    pool_.reset();
    server_.reset();
  }

  void SetServing(bool serving) {
    auto* const health = server_->GetHealthCheckService();
    health->SetServingStatus(v1::MigrationService::service_full_name(), serving);
    health->SetServingStatus(v1::WorkerService::service_full_name(), serving);
  }

  const ServerOptions options_;
  std::unique_ptr<store::StoreReader> reader_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<TaskBroker> broker_;
  const Backend backend_;
  std::unique_ptr<grpc::Service> migrations_;
  std::unique_ptr<grpc::Service> workers_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, runtime::Runtime& runtime) {
  auto impl = std::make_unique<Impl>(options, runtime);
  PGC_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::UseStore(const std::string& conninfo) {
  impl_->reader_ = std::make_unique<store::StoreReader>(conninfo, kReaders);
}

int Server::port() const { return impl_->port_; }

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  return impl_->server_->InProcessChannel(arguments);
}

void Server::Stop() { impl_->Stop(); }

void Server::OnLeading(bool leading) { impl_->SetServing(leading); }

void Server::OnReconcileDue(MigrationId migration) { StartReconcile(impl_->backend_, *impl_->broker_, migration); }

void Server::OnLeadLost(const absl::Status& why) {
  if (impl_->options_.on_lead_lost) {
    impl_->options_.on_lead_lost(why);
  }
}

}  // namespace pgconvoy::service
