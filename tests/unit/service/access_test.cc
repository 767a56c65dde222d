#include "coordinator/service/access.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/crypto/authority.h"
#include "pgconvoy/v1/migration_service.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {
namespace {

using rpc::Role;
using namespace std::chrono_literals;

constexpr int64_t kNow = 1'750'000'000;

std::vector<std::string> MethodsOf(const std::string& service) {
  const auto* const descriptor = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
  EXPECT_NE(descriptor, nullptr) << service;
  std::vector<std::string> methods;
  for (int i = 0; i < descriptor->method_count(); ++i) {
    methods.push_back("/" + service + "/" + descriptor->method(i)->name());
  }
  return methods;
}

// Loads the descriptors, which are registered when a message of their file is linked in.
std::vector<std::string> OurMethods() {
  v1::GetMigrationRequest::descriptor();
  v1::WorkerMessage::descriptor();
  std::vector<std::string> methods = MethodsOf("pgconvoy.v1.MigrationService");
  for (const std::string& method : MethodsOf("pgconvoy.v1.WorkerService")) {
    methods.push_back(method);
  }
  return methods;
}

std::string Pem(const std::string& uri) {
  CertificateRequest request;
  request.common_name = "test";
  request.not_before_s = kNow - 10;
  request.not_after_s = kNow + 10;
  const auto authority = MakeAuthority(request);
  request.uri = uri;
  const auto made = Issue(*authority, request);
  EXPECT_TRUE(made.ok()) << Describe(made.status());
  return made->certificate_pem;
}

std::string CodeOfCall(const std::string& uri, const std::string& method) {
  return CodeOf(CheckCall(method, Pem(uri), "td", kNow));
}

TEST(AccessTable, HasEveryMethodOfOurServicesOnceAndNoOther) {
  std::multiset<std::string> wanted;
  for (const std::string& method : OurMethods()) {
    wanted.insert(method);
  }
  std::multiset<std::string> listed;
  for (const MethodAccess& row : AccessTable()) {
    if (row.method.starts_with("/pgconvoy.")) {
      listed.emplace(row.method);
    } else {
      EXPECT_TRUE(row.method.starts_with("/grpc.health.v1.Health/") || row.method.starts_with("/grpc.reflection."))
          << row.method;
    }
  }
  EXPECT_EQ(listed, wanted);
}

// What a role may do is written down here a second time, so that a change of the table is a change of two files.
TEST(AccessTable, LetsAViewerLookAnOperatorDoAndAWorkerWork) {
  const std::set<std::string> for_viewers = {"GetMigration",   "ListMigrations", "ListBatches", "ListProjects",
                                             "GetProject",     "ListWorkers",    "ListEvents",  "VerifyEvents",
                                             "WatchMigration", "ListBackups"};
  for (const std::string& method : OurMethods()) {
    const bool work = method == "/pgconvoy.v1.WorkerService/Work";
    const bool looks = for_viewers.contains(method.substr(method.rfind('/') + 1));
    EXPECT_EQ(MayCall(Role::kViewer, method), looks) << method;
    EXPECT_EQ(MayCall(Role::kOperator, method), !work) << method;
    EXPECT_EQ(MayCall(Role::kWorker, method), work) << method;
    EXPECT_FALSE(MayCall(Role::kCoordinator, method)) << method;
  }
}

TEST(AccessTable, RefusesAMethodThatItDoesNotHave) {
  for (const Role role : {Role::kViewer, Role::kOperator, Role::kWorker, Role::kCoordinator}) {
    for (const char* method :
         {"", "/", "/pgconvoy.v1.MigrationService/Nothing", "GetMigration",
          "/pgconvoy.v1.MigrationService/GetMigration/", "/grpc.channelz.v1.Channelz/GetServers"}) {
      EXPECT_FALSE(MayCall(role, method)) << rpc::RoleName(role) << " " << method;
    }
  }
}

TEST(Access, IsForCertificatesWithAnIdentityOfThisInstallation) {
  const std::string method = "/pgconvoy.v1.MigrationService/GetMigration";
  EXPECT_EQ(CodeOfCall("spiffe://td/pgconvoy/viewer/v", method), "");
  EXPECT_EQ(CodeOfCall("spiffe://other/pgconvoy/viewer/v", method), "PGC-AUTH-TRUST-DOMAIN");
  EXPECT_EQ(CodeOfCall("spiffe://td/pgconvoy/worker/w", method), "PGC-AUTH-DENIED");
  EXPECT_EQ(CodeOfCall("spiffe://td/pgconvoy/coordinator/c", method), "PGC-AUTH-DENIED");
  EXPECT_EQ(CodeOfCall("", method), "PGC-AUTH-IDENTITY");
  EXPECT_EQ(CodeOf(CheckCall(method, "", "td", kNow)), "PGC-AUTH-IDENTITY");
  EXPECT_EQ(CodeOf(CheckCall(method, Pem("spiffe://td/pgconvoy/viewer/v"), "td", kNow + 11)), "PGC-TLS-EXPIRED");
  EXPECT_EQ(CheckCall(method, Pem("spiffe://td/pgconvoy/worker/w"), "td", kNow).code(),
            absl::StatusCode::kPermissionDenied);
}

TEST(Access, WantsADeadlineOfAtMostAnHour) {
  const auto now = std::chrono::system_clock::time_point(std::chrono::seconds(kNow));
  const auto code = [&](std::chrono::system_clock::time_point deadline) {
    return CodeOf(CheckDeadline(deadline, now, 1h));
  };
  EXPECT_EQ(code(now - 1s), "");
  EXPECT_EQ(code(now + 15s), "");
  EXPECT_EQ(code(now + 1h + 10s), "") << "gRPC rounds up";
  EXPECT_EQ(code(now + 1h + 1min), "PGC-API-DEADLINE");
  EXPECT_EQ(code(now + 24h), "PGC-API-DEADLINE");
  EXPECT_EQ(CodeOf(CheckDeadline(now + 24h + 5min, now, 24h)), "");
  EXPECT_EQ(Describe(CheckDeadline(now + 25h, now, 24h)),
            "PGC-API-DEADLINE: deadline: is more than 24h away; set one of at most 24h");
  const absl::Status none = CheckDeadline(std::chrono::system_clock::time_point::max(), now, 1h);
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Describe(none), "PGC-API-DEADLINE: deadline: is missing; set one of at most 1h");
}

TEST(Access, LetsAWorkerBeWhomItsCertificateNames) {
  rpc::Identity identity;
  identity.trust_domain = "td";
  identity.role = Role::kWorker;
  identity.name = "fleet";
  EXPECT_TRUE(CheckWorker(identity, "fleet/pod-1").ok());
  EXPECT_EQ(CodeOf(CheckWorker(identity, "other")), "PGC-AUTH-WORKER-ID");
  EXPECT_EQ(CheckWorker(identity, "other").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(CheckWorker(std::nullopt, "anything").ok()) << "without TLS there is no identity to compare with";
}

}  // namespace
}  // namespace pgconvoy::service
