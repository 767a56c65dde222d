#include "coordinator/service/access.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_metadata_processor.h>

#include <algorithm>
#include <array>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::service {
namespace {

// What runs statements of a plan on servers, shows rows of tenants or hands out a sealed password is no viewer's.
constexpr std::array kTable = {
    // method, viewer, operator, worker
    MethodAccess{"/pgconvoy.v1.MigrationService/GetMigration", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListMigrations", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListBatches", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListProjects", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/GetProject", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListWorkers", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListEvents", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/VerifyEvents", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/WatchMigration", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListBackups", true, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/SubmitMigration", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/PauseMigration", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ResumeMigration", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/CancelMigration", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/RetryProjects", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/RollbackProjects", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/DiscoverProjects", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/DescribePlan", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/InspectProjects", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ListChanges", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ProveConservation", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/VerifyBackup", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ExportBackup", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/PruneBackups", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/CleanOrphans", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/RepairProject", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/GetSealedCredential", false, true, false},
    MethodAccess{"/pgconvoy.v1.MigrationService/ChangeCredentials", false, true, false},
    MethodAccess{"/pgconvoy.v1.WorkerService/Work", false, false, true},
    MethodAccess{"/grpc.health.v1.Health/Check", true, true, true},
    MethodAccess{"/grpc.health.v1.Health/Watch", true, true, true},
    MethodAccess{"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, true, false},
};

absl::Status Denied(std::string_view code, const std::string& what, std::string_view remedy) {
  return WithStatusCode(absl::StatusCode::kPermissionDenied, InputError(code, what, remedy));
}

std::string CertificateOf(const grpc::AuthContext* context) {
  if (context == nullptr) {
    return "";
  }
  const auto values = context->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return values.empty() ? "" : std::string(values.front().data(), values.front().size());
}

int64_t NowSeconds() { return Clock::System().NowWall() / 1000; }

class AccessCheck : public grpc::AuthMetadataProcessor {
 public:
  explicit AccessCheck(const std::string& trust_domain) : trust_domain_(trust_domain) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata,
                       grpc::AuthContext* context,
                       OutputMetadata*,
                       OutputMetadata*) override {
    const auto path = metadata.find(":path");
    const std::string method = path == metadata.end() ? "" : std::string(path->second.data(), path->second.size());
    const absl::Status status = CheckCall(method, CertificateOf(context), trust_domain_, NowSeconds());
    if (status.ok()) {
      return grpc::Status::OK;
    }
    log::Warn("refused a call", {{"method", method}, {"reason", Describe(status)}});
    // gRPC takes no details from here, so the code stands before the message.
    return {static_cast<grpc::StatusCode>(status.raw_code()), Describe(status)};
  }

 private:
  const std::string trust_domain_;
};

}  // namespace

std::span<const MethodAccess> AccessTable() { return kTable; }

bool MayCall(rpc::Role role, std::string_view method) {
  const auto* const row =
      std::find_if(kTable.begin(), kTable.end(), [method](const MethodAccess& one) { return one.method == method; });
  if (row == kTable.end()) {
    return false;
  }
  switch (role) {
    case rpc::Role::kViewer: return row->viewer;
    case rpc::Role::kOperator: return row->operator_role;
    case rpc::Role::kWorker: return row->worker;
    case rpc::Role::kCoordinator: return false;
  }
  return false;
}

absl::Status CheckCall(std::string_view method,
                       std::string_view certificate_pem,
                       const std::string& trust_domain,
                       int64_t now_s) {
  PGC_ASSIGN_OR_RETURN(const rpc::Identity caller, rpc::IdentityOf(certificate_pem, now_s));
  if (caller.trust_domain != trust_domain) {
    return Denied("PGC-AUTH-TRUST-DOMAIN",
                  rpc::ToUri(caller) + " is not of this coordinator's trust domain, " + trust_domain,
                  "use a certificate that was made for this installation");
  }
  if (!MayCall(caller.role, method)) {
    return Denied("PGC-AUTH-DENIED", rpc::ToUri(caller) + " may not call " + Printable(method),
                  "docs/security.md says what each role may do");
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::AuthMetadataProcessor> MakeAccessCheck(const std::string& trust_domain) {
  return std::make_shared<AccessCheck>(trust_domain);
}

absl::Status CheckDeadline(std::chrono::system_clock::time_point deadline,
                           std::chrono::system_clock::time_point now,
                           std::chrono::hours longest) {
  // gRPC rounds what is left up, to tens of seconds from 1,000 s on and to hundreds from 10,000 s on.
  if (deadline <= now + longest + std::chrono::seconds(longest) / 100) {
    return absl::OkStatus();
  }
  const std::string limit = std::to_string(longest.count()) + "h";
  const bool missing = deadline == std::chrono::system_clock::time_point::max();
  return InputError("PGC-API-DEADLINE",
                    missing ? "deadline: is missing" : "deadline: is more than " + limit + " away",
                    "set one of at most " + limit);
}

std::optional<rpc::Identity> CallerOf(const grpc::ServerContextBase& context) {
  const std::string certificate = CertificateOf(context.auth_context().get());
  if (certificate.empty()) {
    return std::nullopt;
  }
  // One that has become invalid since the call was let in is that of somebody who may be nobody.
  return rpc::IdentityOf(certificate, NowSeconds()).value_or(rpc::Identity{});
}

std::string ActorOf(const grpc::ServerContextBase& context, const std::string& claimed) {
  const auto caller = CallerOf(context);
  return caller.has_value() ? caller->name : claimed;
}

absl::Status CheckWorker(const std::optional<rpc::Identity>& caller, const std::string& worker_id) {
  if (!caller.has_value() || rpc::CoversWorker(*caller, worker_id)) {
    return absl::OkStatus();
  }
  return Denied("PGC-AUTH-WORKER-ID", rpc::ToUri(*caller) + " may not be worker \"" + Printable(worker_id) + "\"",
                "it may be \"" + caller->name + "\" and \"" + caller->name + "/…\"");
}

}  // namespace pgconvoy::service
