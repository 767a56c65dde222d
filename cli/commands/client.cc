#include "cli/commands/client.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/base/text.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::cli {
namespace {

using Stub = v1::MigrationService::Stub;

absl::Status Timeout(const std::string& address) {
  return WithStatusCode(
      absl::StatusCode::kDeadlineExceeded,
      MakeError(Verdict::kTransient, "PGC-CLI-TIMEOUT", "the coordinator at " + address + " did not answer in time",
                "it may be out of reach, or its store may hang: see its log, or wait longer with --timeout"));
}

// How gRPC says that the other side's certificate was refused here. Of a refusal there we learn only that the
// connection ended.
bool IsMistrust(const std::string& message) {
  return message.find("Ssl handshake failed") != std::string::npos || message.find("Peer name") != std::string::npos;
}

absl::Status Unavailable(const std::string& address, const std::string& message) {
  if (IsMistrust(message)) {
    return WithStatusCode(
        absl::StatusCode::kUnauthenticated,
        InputError("PGC-TLS-HANDSHAKE", "no secure connection with " + address + ": " + Printable(message),
                   "either it has no TLS, or its certificate is not for this name (--tls-server-name), not from the "
                   "authority of --tls-ca, or expired"));
  }
  // Somebody is there: one that has TLS, of which we speak none, or that does not take our certificate, or that ends.
  const bool hung_up = message.find("Socket closed") != std::string::npos;
  return MakeError(Verdict::kTransient, "PGC-CLI-UNAVAILABLE", "no coordinator answers at " + address,
                   hung_up
                       ? "something there ends the connection: it may want --tls-cert, --tls-key and --tls-ca, or "
                         "not accept your certificate"
                       : "is it running there? start one with `pgconvoy local up`, or name another with --address");
}

// `connecting` is what was wrong before the call.
absl::Status Explain(const grpc::Status& answer, const std::string& address, const absl::Status& connecting) {
  PGC_RETURN_IF_ERROR(connecting);
  const absl::Status status = rpc::FromGrpc(answer);
  // With a code of its own the coordinator has spoken for itself.
  if (status.ok() || !CodeOf(status).starts_with("PGC-RPC-")) {
    return status;
  }
  if (status.code() == absl::StatusCode::kUnavailable) {
    return Unavailable(address, MessageOf(status));
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    return Timeout(address);
  }
  return Annotate(status, "coordinator at " + address);
}

// Keeps only the newest state: whoever draws is slower than whoever sends.
class StreamReader : public MigrationStream {
 public:
  StreamReader(Stub& stub, const std::string& migration_id, std::function<absl::Status(const grpc::Status&)> explain)
      : explain_(std::move(explain)) {
    request_.set_id(migration_id);
    reader_ = stub.WatchMigration(&context_, request_);
    thread_ = std::thread([this] { ReadAll(); });
  }

  ~StreamReader() override {
    context_.TryCancel();
    thread_.join();
  }

  Next Wait(Millis most) override {
    MutexLock lock(mutex_);
    arrived_.WaitFor(lock, most, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return next_.migration.has_value() || next_.closed;
    });
    Next taken = next_;
    next_.migration.reset();
    return taken;
  }

 private:
  void ReadAll() {
    v1::Migration migration;
    while (reader_->Read(&migration)) {
      const MutexLock lock(mutex_);
      next_.migration = migration;
      arrived_.NotifyOne();
    }
    const absl::Status status = explain_(reader_->Finish());
    const MutexLock lock(mutex_);
    next_.status = status;
    next_.closed = true;
    arrived_.NotifyOne();
  }

  const std::function<absl::Status(const grpc::Status&)> explain_;
  v1::WatchMigrationRequest request_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::Migration>> reader_;
  Mutex mutex_;
  Condition arrived_;
  Next next_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// Projects [from, …) that fit in one message; at least one.
size_t ChunkEnd(const std::vector<v1::ProjectSpec>& projects, size_t from) {
  size_t bytes = 0;
  size_t end = from;
  while (end < projects.size() && end - from < kProjectsPerChunk) {
    bytes += projects[end].ByteSizeLong();
    if (end > from && bytes > kBytesPerChunk) {
      break;
    }
    ++end;
  }
  return end;
}

}  // namespace

struct Client::Impl {
  std::string address;
  std::optional<Millis> timeout;
  // Why there is no channel; every call then fails at once and says so.
  absl::Status connecting;
  std::unique_ptr<Stub> stub;

  absl::Status Explain(const grpc::Status& answer) const { return cli::Explain(answer, address, connecting); }

  static void SetDeadline(grpc::ClientContext& context, Millis limit) {
    context.set_deadline(std::chrono::system_clock::now() + limit);
  }

  // Of a stream; without a limit it may last for ever.
  void SetStreamDeadline(grpc::ClientContext& context, std::optional<Millis> usual) const {
    if (const std::optional<Millis> limit = timeout ? timeout : usual) {
      SetDeadline(context, *limit);
    }
  }

  template <typename Response, typename Request>
  absl::StatusOr<Response> Unary(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                 const Request& request,
                                 Millis usual = kCallTimeout) {
    grpc::ClientContext context;
    SetDeadline(context, std::min(timeout.value_or(usual), std::max<Millis>(usual, rpc::kLongestCall)));
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) {
      return Explain(status);
    }
    return response;
  }
};

Client::Client(const std::string& address, const rpc::Security& security, std::optional<Millis> timeout)
    : impl_(std::make_unique<Impl>()) {
  impl_->address = address;
  impl_->timeout = timeout;
  const auto channel = rpc::Connect(address, security);
  impl_->connecting = channel.status();
  // Without credentials gRPC makes a channel on which every call fails.
  impl_->stub = v1::MigrationService::NewStub(channel.ok() ? *channel : rpc::Connect(address, nullptr, ""));
}

Client::~Client() = default;

absl::StatusOr<v1::Migration> Client::Call(const v1::GetMigrationRequest& request) {
  return impl_->Unary(&Stub::GetMigration, request);
}
absl::StatusOr<v1::ListMigrationsResponse> Client::Call(const v1::ListMigrationsRequest& request) {
  return impl_->Unary(&Stub::ListMigrations, request);
}
absl::StatusOr<v1::ListBatchesResponse> Client::Call(const v1::ListBatchesRequest& request) {
  return impl_->Unary(&Stub::ListBatches, request);
}
absl::StatusOr<v1::ListProjectsResponse> Client::Call(const v1::ListProjectsRequest& request) {
  return impl_->Unary(&Stub::ListProjects, request);
}
absl::StatusOr<v1::Project> Client::Call(const v1::GetProjectRequest& request) {
  return impl_->Unary(&Stub::GetProject, request);
}
absl::StatusOr<v1::ListWorkersResponse> Client::Call(const v1::ListWorkersRequest& request) {
  return impl_->Unary(&Stub::ListWorkers, request);
}
absl::StatusOr<v1::ListEventsResponse> Client::Call(const v1::ListEventsRequest& request) {
  return impl_->Unary(&Stub::ListEvents, request);
}
absl::StatusOr<v1::VerifyEventsResponse> Client::Call(const v1::VerifyEventsRequest& request) {
  return impl_->Unary(&Stub::VerifyEvents, request, rpc::kLongestTask);
}
absl::StatusOr<v1::Migration> Client::Call(const v1::PauseMigrationRequest& request) {
  return impl_->Unary(&Stub::PauseMigration, request);
}
absl::StatusOr<v1::Migration> Client::Call(const v1::ResumeMigrationRequest& request) {
  return impl_->Unary(&Stub::ResumeMigration, request);
}
absl::StatusOr<v1::Migration> Client::Call(const v1::CancelMigrationRequest& request) {
  return impl_->Unary(&Stub::CancelMigration, request);
}
absl::StatusOr<v1::ProjectActionResponse> Client::Call(const v1::RetryProjectsRequest& request) {
  return impl_->Unary(&Stub::RetryProjects, request);
}
absl::StatusOr<v1::ProjectActionResponse> Client::Call(const v1::RollbackProjectsRequest& request) {
  return impl_->Unary(&Stub::RollbackProjects, request);
}
absl::StatusOr<v1::ListBackupsResponse> Client::Call(const v1::ListBackupsRequest& request) {
  return impl_->Unary(&Stub::ListBackups, request);
}
absl::StatusOr<v1::VerifyBackupResponse> Client::Call(const v1::VerifyBackupRequest& request) {
  return impl_->Unary(&Stub::VerifyBackup, request, rpc::kLongestTask);
}
absl::StatusOr<v1::ProveConservationResponse> Client::Call(const v1::ProveConservationRequest& request) {
  return impl_->Unary(&Stub::ProveConservation, request, rpc::kLongestTask);
}
absl::StatusOr<v1::ExportBackupResponse> Client::Call(const v1::ExportBackupRequest& request) {
  return impl_->Unary(&Stub::ExportBackup, request, rpc::kLongestTask);
}
absl::StatusOr<v1::PruneBackupsResponse> Client::Call(const v1::PruneBackupsRequest& request) {
  return impl_->Unary(&Stub::PruneBackups, request, rpc::kLongestTask);
}
absl::StatusOr<v1::CleanOrphansResponse> Client::Call(const v1::CleanOrphansRequest& request) {
  return impl_->Unary(&Stub::CleanOrphans, request, rpc::kLongestTask);
}
absl::StatusOr<v1::RepairProjectResponse> Client::Call(const v1::RepairProjectRequest& request) {
  return impl_->Unary(&Stub::RepairProject, request, rpc::kLongestTask);
}
absl::StatusOr<v1::SealedCredential> Client::Call(const v1::GetSealedCredentialRequest& request) {
  return impl_->Unary(&Stub::GetSealedCredential, request);
}
absl::StatusOr<v1::ChangeCredentialsResponse> Client::Call(const v1::ChangeCredentialsRequest& request) {
  return impl_->Unary(&Stub::ChangeCredentials, request, kSubmitTimeout);
}

absl::StatusOr<v1::SubmitMigrationResponse> Client::Submit(const v1::SubmitHeader& header,
                                                           const std::vector<v1::ProjectSpec>& projects) {
  grpc::ClientContext context;
  impl_->SetStreamDeadline(context, kSubmitTimeout);
  v1::SubmitMigrationResponse response;
  const auto writer = impl_->stub->SubmitMigration(&context, &response);
  v1::SubmitMigrationRequest first;
  *first.mutable_header() = header;
  // A refused write means that the coordinator has answered early; Finish says what.
  bool open = writer->Write(first);
  for (size_t from = 0; open && from < projects.size();) {
    const size_t end = ChunkEnd(projects, from);
    v1::SubmitMigrationRequest chunk;
    for (; from < end; ++from) {
      *chunk.mutable_projects()->add_projects() = projects[from];
    }
    open = writer->Write(chunk);
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) {
    return impl_->Explain(status);
  }
  return response;
}

absl::StatusOr<v1::DiscoverProjectsResponse> Client::Discover(const std::string& plan_json, bool detailed) {
  grpc::ClientContext context;
  impl_->SetStreamDeadline(context, detailed ? std::nullopt : std::optional(kSubmitTimeout));
  v1::DiscoverProjectsRequest request;
  request.set_plan_json(plan_json);
  request.set_detailed(detailed);
  const auto reader = impl_->stub->DiscoverProjects(&context, request);
  v1::DiscoverProjectsResponse all;
  v1::DiscoverProjectsResponse part;
  while (reader->Read(&part)) {
    all.MergeFrom(part);
  }
  PGC_RETURN_IF_ERROR(impl_->Explain(reader->Finish()));
  return all;
}

absl::StatusOr<v1::ListChangesResponse> Client::Changes(const v1::ListChangesRequest& request) {
  grpc::ClientContext context;
  impl_->SetStreamDeadline(context, std::nullopt);
  const auto reader = impl_->stub->ListChanges(&context, request);
  v1::ListChangesResponse all;
  v1::ListChangesResponse part;
  while (reader->Read(&part)) {
    all.MergeFrom(part);
  }
  PGC_RETURN_IF_ERROR(impl_->Explain(reader->Finish()));
  return all;
}

absl::StatusOr<v1::InspectProjectsResponse> Client::Inspect(v1::InspectProjectsRequest request,
                                                            const std::vector<v1::ProjectSpec>& projects) {
  v1::InspectProjectsResponse all;
  size_t from = 0;
  do {
    grpc::ClientContext context;
    impl_->SetStreamDeadline(context, std::nullopt);
    request.clear_projects();
    const size_t end = ChunkEnd(projects, from);
    for (; from < end; ++from) {
      *request.add_projects() = projects[from];
    }
    const auto reader = impl_->stub->InspectProjects(&context, request);
    v1::InspectProjectsResponse part;
    while (reader->Read(&part)) {
      all.MergeFrom(part);
    }
    PGC_RETURN_IF_ERROR(impl_->Explain(reader->Finish()));
  } while (from < projects.size());
  return all;
}

absl::Status Client::Describe(const std::string& plan_json,
                              const std::vector<v1::ProjectSpec>& projects,
                              const std::function<void(const v1::PhaseDescription&)>& on_description) {
  for (size_t from = 0; from < projects.size();) {
    grpc::ClientContext context;
    impl_->SetStreamDeadline(context, kSubmitTimeout);
    v1::DescribePlanRequest request;
    request.set_plan_json(plan_json);
    const size_t end = ChunkEnd(projects, from);
    for (; from < end; ++from) {
      *request.add_projects() = projects[from];
    }
    const auto reader = impl_->stub->DescribePlan(&context, request);
    v1::DescribePlanResponse part;
    while (reader->Read(&part)) {
      for (const v1::PhaseDescription& description : part.descriptions()) {
        on_description(description);
      }
    }
    PGC_RETURN_IF_ERROR(impl_->Explain(reader->Finish()));
  }
  return absl::OkStatus();
}

std::unique_ptr<MigrationStream> Client::Watch(const std::string& migration_id) {
  return std::make_unique<StreamReader>(*impl_->stub, migration_id,
                                        [this](const grpc::Status& answer) { return impl_->Explain(answer); });
}

}  // namespace pgconvoy::cli
