// The coordinator as the CLI sees it: MigrationService with deadlines, and errors that say what to do.
//
// Errors: what the coordinator answered, with its code and remedy. PGC-CLI-UNAVAILABLE (Unavailable) when nobody
// answers, PGC-TLS-HANDSHAKE (Unauthenticated) when somebody does and the two do not trust each other,
// DeadlineExceeded when the time given was not enough; of every call what rpc::Connect says of the certificate.
// Thread safety: any thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/tls.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace pgconvoy::cli {

using Millis = std::chrono::milliseconds;

inline constexpr Millis kCallTimeout{15'000};
inline constexpr Millis kSubmitTimeout{600'000};
// The coordinator takes at most so many projects in one message.
inline constexpr int kProjectsPerChunk = 1000;
// And 4 MiB in all; half of it leaves room for the rest of the message.
inline constexpr size_t kBytesPerChunk = 2 << 20;

// An open WatchMigration stream, read by a thread of its own. Cancelled and joined on destruction.
class MigrationStream {
 public:
  struct Next {
    // The newest state that came since the last call.
    std::optional<v1::Migration> migration;
    // Set once the stream has ended; the status says how.
    bool closed = false;
    absl::Status status;
  };
  virtual ~MigrationStream() = default;
  // Waits until something came, at most so long.
  virtual Next Wait(Millis most) = 0;
};

class Client {
 public:
  // `timeout` replaces the deadlines above when given; no unary call gets more than the coordinator allows.
  Client(const std::string& address, const rpc::Security& security, std::optional<Millis> timeout);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::StatusOr<v1::Migration> Call(const v1::GetMigrationRequest& request);
  absl::StatusOr<v1::ListMigrationsResponse> Call(const v1::ListMigrationsRequest& request);
  absl::StatusOr<v1::ListBatchesResponse> Call(const v1::ListBatchesRequest& request);
  absl::StatusOr<v1::ListProjectsResponse> Call(const v1::ListProjectsRequest& request);
  absl::StatusOr<v1::Project> Call(const v1::GetProjectRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> Call(const v1::ListWorkersRequest& request);
  absl::StatusOr<v1::ListEventsResponse> Call(const v1::ListEventsRequest& request);
  // Reads the whole event log, so it is given all the time that the coordinator allows.
  absl::StatusOr<v1::VerifyEventsResponse> Call(const v1::VerifyEventsRequest& request);
  absl::StatusOr<v1::Migration> Call(const v1::PauseMigrationRequest& request);
  absl::StatusOr<v1::Migration> Call(const v1::ResumeMigrationRequest& request);
  absl::StatusOr<v1::Migration> Call(const v1::CancelMigrationRequest& request);
  absl::StatusOr<v1::ProjectActionResponse> Call(const v1::RetryProjectsRequest& request);
  absl::StatusOr<v1::ProjectActionResponse> Call(const v1::RollbackProjectsRequest& request);
  absl::StatusOr<v1::ListBackupsResponse> Call(const v1::ListBackupsRequest& request);
  // Reads a whole backup on a worker: all the time, too.
  absl::StatusOr<v1::VerifyBackupResponse> Call(const v1::VerifyBackupRequest& request);
  // Reads shared tables and every target on a worker: all the time, too.
  absl::StatusOr<v1::ProveConservationResponse> Call(const v1::ProveConservationRequest& request);
  // And so for what workers do to files and servers.
  absl::StatusOr<v1::ExportBackupResponse> Call(const v1::ExportBackupRequest& request);
  absl::StatusOr<v1::PruneBackupsResponse> Call(const v1::PruneBackupsRequest& request);
  absl::StatusOr<v1::CleanOrphansResponse> Call(const v1::CleanOrphansRequest& request);
  absl::StatusOr<v1::RepairProjectResponse> Call(const v1::RepairProjectRequest& request);
  absl::StatusOr<v1::SealedCredential> Call(const v1::GetSealedCredentialRequest& request);
  absl::StatusOr<v1::ChangeCredentialsResponse> Call(const v1::ChangeCredentialsRequest& request);

  absl::StatusOr<v1::SubmitMigrationResponse> Submit(const v1::SubmitHeader& header,
                                                     const std::vector<v1::ProjectSpec>& projects);
  // Judging the candidates takes as long as it takes; it has no deadline of its own.
  absl::StatusOr<v1::DiscoverProjectsResponse> Discover(const std::string& plan_json, bool detailed);
  // A worker reads the project's database, so it has no deadline of its own.
  absl::StatusOr<v1::ListChangesResponse> Changes(const v1::ListChangesRequest& request);
  // In as many calls as the limits ask for. No deadline of its own.
  absl::StatusOr<v1::InspectProjectsResponse> Inspect(v1::InspectProjectsRequest request,
                                                      const std::vector<v1::ProjectSpec>& projects);
  // Projects in as many calls as the limits ask for; descriptions are handed on as they come.
  absl::Status Describe(const std::string& plan_json,
                        const std::vector<v1::ProjectSpec>& projects,
                        const std::function<void(const v1::PhaseDescription&)>& on_description);
  std::unique_ptr<MigrationStream> Watch(const std::string& migration_id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Every page of a list in one response; `limit` items at most (0: all), in which case next_page_token stays set.
template <typename Response, typename Request>
absl::StatusOr<Response> CallAllPages(Client& client, Request request, int limit, int (Response::*size)() const) {
  constexpr int kPageSize = 1000;
  Response all;
  while (true) {
    const int left = limit - (all.*size)();
    request.set_page_size(limit > 0 && left < kPageSize ? left : kPageSize);
    absl::StatusOr<Response> page = client.Call(request);
    if (!page.ok()) {
      return page.status();
    }
    const std::string token = page->next_page_token();
    all.MergeFrom(*page);
    all.set_next_page_token(token);
    if (token.empty() || token == request.page_token() || (limit > 0 && (all.*size)() >= limit)) {
      return all;
    }
    request.set_page_token(token);
  }
}

}  // namespace pgconvoy::cli
