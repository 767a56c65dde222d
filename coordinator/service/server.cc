#include "coordinator/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/access.h"
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

constexpr int kMaxStreams = 100;
// Memory for messages on their way in and out, of all connections together.
constexpr size_t kMaxBufferBytes = 256 << 20;
constexpr int kHandshakeTimeoutMs = 10'000;
// After this a connection takes no new calls, so that a client shows a renewed certificate; those that run go on.
constexpr int kMaxConnectionAgeMs = 3'600'000;

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  builder.SetMaxSendMessageSize(rpc::kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, rpc::kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, rpc::kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients ping every kKeepaliveMs; gRPC would otherwise end their connections for it.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, rpc::kKeepaliveMs / 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, rpc::kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxConnectionAgeMs);
  builder.SetResourceQuota(grpc::ResourceQuota("pgconvoy").Resize(kMaxBufferBytes));
  // gRPC measures a message only once it is unpacked, and a few KiB unpack to gigabytes. Our own clients never pack.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // A second coordinator on the same port must fail, not share it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

absl::Status CannotListen(const std::string& address) {
  return MakeError(Verdict::kPermanent, "PGC-COORD-LISTEN", "cannot listen on " + address,
                   "another process may have the port; choose another");
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(const rpc::Security& security) {
  if (!security.tls()) {
    return grpc::InsecureServerCredentials();
  }
  PGC_ASSIGN_OR_RETURN(auto credentials, rpc::ServerTls(security));
  const auto self = rpc::OwnIdentity(security);
  if (!self.ok()) {
    return Annotate(self.status(), security.certificate_file);
  }
  credentials->SetAuthMetadataProcessor(MakeAccessCheck(self->trust_domain));
  return credentials;
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
    PGC_RETURN_IF_ERROR(StartHealth());
    // Takes effect in every server that is built afterwards.
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    PGC_ASSIGN_OR_RETURN(const auto credentials, CredentialsOf(options_.security));
    grpc::ServerBuilder builder;
    SetLimits(builder);
    if (!options_.listen.empty()) {
      builder.AddListeningPort(options_.listen, credentials, &port_);
    }
    builder.RegisterService(migrations_.get());
    builder.RegisterService(workers_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || (!options_.listen.empty() && port_ == 0)) {
      return CannotListen(options_.listen);
    }
    SetServing(false);
    return absl::OkStatus();
  }

  absl::Status StartHealth() {
    if (options_.health_listen.empty()) {
      return absl::OkStatus();
    }
    grpc::ServerBuilder builder;
    SetLimits(builder);
    int port = 0;
    builder.AddListeningPort(options_.health_listen, grpc::InsecureServerCredentials(), &port);
    health_server_ = builder.BuildAndStart();
    return health_server_ == nullptr ? CannotListen(options_.health_listen) : absl::OkStatus();
  }

  // Calls that a task would answer end first, then those that wait for the store, then what gRPC still has, then the
  // threads that may be answering.
  void Stop() {
    broker_->Stop();
    if (pool_ != nullptr && reader_ != nullptr && !pool_->WaitIdle(kStopGrace)) {
      reader_->Interrupt();
    }
    for (const auto* const server : {&server_, &health_server_}) {
      if (*server != nullptr) {
        (*server)->Shutdown(std::chrono::system_clock::now() + kStopGrace);
        (*server)->Wait();
      }
    }
    pool_.reset();
    server_.reset();
    health_server_.reset();
  }

  void SetServing(bool serving) {
    for (const auto* const server : {&server_, &health_server_}) {
      if (*server != nullptr) {
        auto* const health = (*server)->GetHealthCheckService();
        health->SetServingStatus(v1::MigrationService::service_full_name(), serving);
        health->SetServingStatus(v1::WorkerService::service_full_name(), serving);
      }
    }
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
  std::unique_ptr<grpc::Server> health_server_;
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
