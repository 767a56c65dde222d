// Who gets in, and what they may do there: real processes, real handshakes.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <ctime>
#include <map>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/access.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"
#include "tests/integration/security_fixture.h"
#include "tests/support/wait.h"
#include "tests/unit/plan/sample_plan.h"
#include "tests/unit/service/fake_worker.h"

namespace pgconvoy::testing {
namespace {

using grpc::StatusCode;
using service::FakeWorker;

constexpr char kViewer[] = "spiffe://example.org/pgconvoy/viewer/v";

class Security : public SecuredTest {
 protected:
  static void ExpectRefused(const std::string& who, const std::shared_ptr<grpc::Channel>& channel) {
    const grpc::Status status = List(channel);
    EXPECT_TRUE(status.error_code() == StatusCode::UNAVAILABLE || status.error_code() == StatusCode::UNAUTHENTICATED)
        << who << ": " << status.error_code() << " " << status.error_message();
  }
  static void ExpectRefused(const std::string& who, const CertificateRequest& request) {
    const IssuedCertificate forged = coordinator_->Forge(request);
    ExpectRefused(who, coordinator_->With(forged.certificate_pem, forged.key_pem.Reveal()));
  }

  // Makes a migration of the sample plan, which workers of these tests never really run.
  static std::string Submit(const std::string& ref) {
    const auto stub = v1::MigrationService::NewStub(coordinator_->As("operator"));
    grpc::ClientContext context;
    SetDeadline(context);
    v1::SubmitMigrationResponse response;
    const auto writer = stub->SubmitMigration(&context, &response);
    v1::SubmitMigrationRequest message;
    message.mutable_header()->set_request_id(RandomUuid());
    message.mutable_header()->set_plan_json(
        plan::CanonicalJson(plan::ParsePlan(plan::kSamplePlan, "plan.yaml").plan));
    message.mutable_header()->set_actor("somebody-else");
    writer->Write(message);
    v1::ProjectSpec& project = *message.mutable_projects()->add_projects();
    project.set_ref(ref);
    (*project.mutable_attributes())["owner_id"] = "7";
    writer->Write(message);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.migration().id();
  }

  static v1::Project Project(const std::string& migration, const std::string& ref) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetProjectRequest request;
    request.set_migration_id(migration);
    request.set_ref(ref);
    v1::Project project;
    const auto stub = v1::MigrationService::NewStub(coordinator_->As("viewer"));
    EXPECT_TRUE(stub->GetProject(&context, request, &project).ok());
    return project;
  }
};

// ---- who gets in -----------------------------------------------------------------------------------------------

TEST_F(Security, LetsNobodyInWithoutACertificateOfItsAuthority) {
  ExpectRefused("no certificate", coordinator_->With("", ""));
  ExpectRefused("plaintext", rpc::Connect(coordinator_->address()));
  const auto other = MakeAuthority(ForAnHour("spiffe://example.org"));
  ASSERT_TRUE(other.ok());
  ExpectRefused("self-signed", coordinator_->With(other->certificate_pem, other->key_pem.Reveal()));
  const auto leaf = Issue(*other, ForAnHour(kViewer));
  ASSERT_TRUE(leaf.ok());
  ExpectRefused("another authority", coordinator_->With(leaf->certificate_pem, leaf->key_pem.Reveal()));
  ExpectRefused("the authority itself", coordinator_->With(ReadFile(coordinator_->certs() + "/ca.crt"),
                                                           ReadFile(coordinator_->certs() + "/ca.key")));
  ExpectRefused("the coordinator's own, a server's",
                coordinator_->With(ReadFile(coordinator_->certs() + "/coordinator.crt"),
                                   ReadFile(coordinator_->certs() + "/coordinator.key")));
}

TEST_F(Security, LetsNobodyInWhoseCertificateIsOutOfTimeOrNamesNobody) {
  CertificateRequest good = ForAnHour(kViewer);
  const IssuedCertificate viewer = coordinator_->Forge(good);
  EXPECT_TRUE(List(coordinator_->With(viewer.certificate_pem, viewer.key_pem.Reveal())).ok());
  CertificateRequest expired = good;
  expired.not_after_s = std::time(nullptr) - 1;
  ExpectRefused("expired", expired);
  CertificateRequest early = good;
  early.not_before_s = std::time(nullptr) + 1'800;
  ExpectRefused("not yet valid", early);
  ExpectRefused("two URIs", ForAnHour(std::string(kViewer) + ",URI:spiffe://example.org/pgconvoy/operator/o"));
  ExpectRefused("no URI", ForAnHour(""));
  ExpectRefused("a URI that names no role", ForAnHour("spiffe://example.org/pgconvoy/admin/a"));
}

TEST_F(Security, LetsNobodyInFromAnotherTrustDomain) {
  const IssuedCertificate forged = coordinator_->Forge(ForAnHour("spiffe://elsewhere/pgconvoy/operator/o"));
  const grpc::Status status = List(coordinator_->With(forged.certificate_pem, forged.key_pem.Reveal()));
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED) << status.error_message();
  EXPECT_EQ(CodeOf(rpc::FromGrpc(status)), "PGC-AUTH-TRUST-DOMAIN");
}

TEST_F(Security, SpeaksNoVersionOfTlsBelow12) {
  const auto handshake = [](const std::string& version) {
    const rpc::Security files = coordinator_->Files("viewer");
    return RunToEnd({.argv = {"/usr/bin/openssl", "s_client", "-connect", coordinator_->address(), version, "-cipher",
                              "DEFAULT@SECLEVEL=0", "-cert", files.certificate_file, "-key", files.key_file,
                              "-CAfile", files.authority_file, "-alpn", "h2", "-verify_return_error"}});
  };
  EXPECT_EQ(handshake("-tls1_2").exit_code, 0) << "the test's own client must be able to";
  EXPECT_EQ(handshake("-tls1_3").exit_code, 0);
  EXPECT_NE(handshake("-tls1_1").exit_code, 0);
  EXPECT_NE(handshake("-tls1").exit_code, 0);
}

TEST_F(Security, AClientTrustsOnlyTheNamedCoordinator) {
  rpc::Security files = coordinator_->Files("viewer");
  files.server_name = "pgconvoy-coordinator";
  EXPECT_TRUE(List(*rpc::Connect(coordinator_->address(), files)).ok());
  files.server_name = "other.example";
  EXPECT_EQ(List(*rpc::Connect(coordinator_->address(), files)).error_code(), StatusCode::UNAVAILABLE);
  const Finished cli = coordinator_->Cli("viewer", {"get", "migrations", "--tls-server-name", "other.example"});
  EXPECT_EQ(cli.exit_code, 77) << cli.err;
  EXPECT_NE(cli.err.find("PGC-TLS-HANDSHAKE"), std::string::npos) << cli.err;
}

// ---- what they may do ------------------------------------------------------------------------------------------

TEST_F(Security, EveryRoleMayCallExactlyWhatTheTableSays) {
  std::vector<std::string> methods = {"/pgconvoy.v1.MigrationService/Unknown",
                                      "/grpc.channelz.v1.Channelz/GetServers"};
  for (const service::MethodAccess& row : service::AccessTable()) {
    methods.emplace_back(row.method);
  }
  const std::map<std::string, rpc::Role> roles = {
      {"viewer", rpc::Role::kViewer}, {"operator", rpc::Role::kOperator}, {"worker", rpc::Role::kWorker}};
  for (const auto& [name, role] : roles) {
    const auto channel = coordinator_->As(name);
    for (const std::string& method : methods) {
      const grpc::Status status = CallByName(channel, method);
      const bool denied = status.error_code() == StatusCode::PERMISSION_DENIED;
      EXPECT_EQ(denied, !service::MayCall(role, method))
          << name << " " << method << ": " << status.error_code() << " " << status.error_message();
      EXPECT_TRUE(!denied || CodeOf(rpc::FromGrpc(status)) == "PGC-AUTH-DENIED") << status.error_message();
    }
  }
  const auto nobody = coordinator_->With("", "");
  for (const std::string& method : methods) {
    EXPECT_EQ(CallByName(nobody, method).error_code(), StatusCode::UNAVAILABLE) << method;
  }
}

TEST_F(Security, TheCommandLineSaysWhoMayNot) {
  EXPECT_EQ(coordinator_->Cli("viewer", {"get", "migrations"}).exit_code, 0);
  const Finished worker = coordinator_->Cli("worker", {"get", "migrations"});
  EXPECT_EQ(worker.exit_code, 77) << worker.err;
  EXPECT_NE(worker.err.find("PGC-AUTH-DENIED"), std::string::npos) << worker.err;
  const Finished nobody = coordinator_->Cli("", {"get", "migrations"});
  EXPECT_EQ(nobody.exit_code, 69) << nobody.err;
  EXPECT_NE(nobody.err.find("--tls-cert"), std::string::npos) << nobody.err;
}

TEST_F(Security, TheEventLogNamesTheCertificateNotTheClaim) {
  const std::string migration = Submit("audited");
  EXPECT_EQ(coordinator_->store().QueryValue(
                "postgres", "SELECT DISTINCT actor FROM pgconvoy.event WHERE migration_id = " + migration +
                                " AND actor LIKE 'operator:%'"),
            "operator:operator");
  const Finished paused = coordinator_->Cli("operator", {"pause", migration});
  EXPECT_EQ(paused.exit_code, 0) << paused.err;
  EXPECT_EQ(coordinator_->store().QueryValue("postgres",
                                             "SELECT string_agg(DISTINCT actor, ',') FROM pgconvoy.event "
                                             "WHERE actor LIKE 'operator:%' AND migration_id = " +
                                                 migration),
            "operator:operator");
}

TEST_F(Security, AWorkerIsWhomItsCertificateNames) {
  FakeWorker impostor(coordinator_->As("worker"), "other");
  ASSERT_TRUE(impostor.Hello());
  const grpc::Status status = impostor.Status();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED) << status.error_message();
  EXPECT_EQ(CodeOf(rpc::FromGrpc(status)), "PGC-AUTH-WORKER-ID");

  const rpc::Security files = coordinator_->Files("worker");
  Process worker(
      {.argv = {"pgconvoy-worker", "--coordinator", coordinator_->address(), "--worker-id", "w1", "--tls-cert",
                files.certificate_file, "--tls-key", files.key_file, "--tls-ca", files.authority_file}});
  EXPECT_TRUE(Eventually([] {
    return coordinator_->Cli("viewer", {"get", "workers", "-o", "json"}).out.find("\"worker/w1\"") !=
           std::string::npos;
  }));
  worker.Kill(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0);
}

TEST_F(Security, AWorkerThatIsRefusedEndsForGood) {
  const rpc::Security files = coordinator_->Files("viewer");
  const Finished worker =
      RunToEnd({.argv = {"pgconvoy-worker", "--coordinator", coordinator_->address(), "--tls-cert",
                         files.certificate_file, "--tls-key", files.key_file, "--tls-ca", files.authority_file}});
  EXPECT_EQ(worker.exit_code, 3) << worker.err;
  EXPECT_NE(worker.err.find("PGC-AUTH-DENIED"), std::string::npos) << worker.err;
}

TEST_F(Security, AWorkerSeesAndChangesOnlyWhatItHolds) {
  const std::string migration = Submit("held");
  ASSERT_EQ(RunToEnd({.argv = {"pgconvoy", "certs", "issue", coordinator_->certs(), "worker", "thief"}}).exit_code,
            0);
  FakeWorker holder(coordinator_->As("worker"), "worker");
  ASSERT_TRUE(holder.Hello(1));
  const auto grant = holder.NextGrant();
  ASSERT_TRUE(grant.has_value());
  ASSERT_EQ(grant->projects_size(), 1);

  FakeWorker thief(coordinator_->As("thief"), "thief");
  v1::HeldProject claimed;
  claimed.set_migration_id(migration);
  claimed.set_project_ref("held");
  claimed.set_fence(grant->projects(0).fence());
  ASSERT_TRUE(thief.Hello(1, {claimed}));
  ASSERT_TRUE(thief.NextWelcome().has_value());
  v1::Report report;
  report.set_migration_id(migration);
  report.set_project_ref("held");
  report.set_fence(grant->projects(0).fence());
  report.set_seq(1);
  report.mutable_failed()->set_phase(v1::FENCE);
  report.mutable_failed()->mutable_error()->set_verdict(v1::PERMANENT);
  const auto stolen = thief.Report(report);
  ASSERT_TRUE(stolen.has_value());
  EXPECT_EQ(stolen->refused_reason(), "LEASE_LOST");
  v1::WorkerMessage release;
  *release.mutable_release()->add_projects() = claimed;
  ASSERT_TRUE(thief.Send(release));
  thief.Leave();
  const v1::Project project = Project(migration, "held");
  EXPECT_EQ(project.state(), v1::RUNNING);
  EXPECT_EQ(project.worker_id(), "worker");

  report.mutable_phase_started()->set_phase(v1::FENCE);
  const auto own = holder.Report(report);
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(own->refused_reason(), "") << "the holder is not disturbed";
  EXPECT_EQ(coordinator_->Cli("operator", {"cancel", migration}).exit_code, 0);
}

TEST_F(Security, AStreamEndsWithTheCertificateUnderWhichItBegan) {
  CertificateRequest request = ForAnHour("spiffe://example.org/pgconvoy/worker/brief");
  request.not_after_s = std::time(nullptr) + 3;
  const IssuedCertificate brief = coordinator_->Forge(request);
  FakeWorker worker(coordinator_->With(brief.certificate_pem, brief.key_pem.Reveal()), "brief");
  ASSERT_TRUE(worker.Hello());
  ASSERT_TRUE(worker.NextWelcome().has_value());
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  EXPECT_TRUE(Eventually([&] { return !worker.Send(heartbeat); }));
  const grpc::Status status = worker.Status();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(CodeOf(rpc::FromGrpc(status)), "PGC-TLS-EXPIRED");
}

// ---- the event log ---------------------------------------------------------------------------------------------

TEST_F(Security, TheAuditNamesTheFirstEventThatWasTamperedWith) {
  Submit("logged");
  const PgCluster& store = coordinator_->store();
  const Finished clean = coordinator_->Cli("viewer", {"audit", "verify"});
  ASSERT_EQ(clean.exit_code, 0) << clean.err;
  const std::string head = clean.out.substr(clean.out.rfind(' ') + 1, 64);
  EXPECT_EQ(coordinator_->Cli("viewer", {"audit", "verify", "--head", head}).exit_code, 0);
  EXPECT_EQ(coordinator_->Cli("viewer", {"audit", "verify", "--head", "0123"}).exit_code, 1);

  store.Exec("postgres", "CREATE TABLE kept AS SELECT * FROM pgconvoy.event");
  const std::string swap =
      "UPDATE pgconvoy.event SET seq = -seq WHERE seq IN (1, 2); UPDATE pgconvoy.event SET seq = 3 + seq WHERE seq < "
      "0";
  for (const std::string& tampering :
       {std::string("UPDATE pgconvoy.event SET actor = 'operator:nobody' WHERE seq = 1"),
        std::string("DELETE FROM pgconvoy.event WHERE seq = 1"), swap}) {
    store.Exec("postgres", tampering);
    const Finished found = coordinator_->Cli("viewer", {"audit", "verify"});
    EXPECT_EQ(found.exit_code, 1) << tampering;
    EXPECT_NE(found.err.find("PGC-EVENTS-ALTERED: event 1 "), std::string::npos) << tampering << ": " << found.err;
    store.Exec("postgres",
               "DELETE FROM pgconvoy.event USING kept WHERE event.seq = kept.seq; "
               "INSERT INTO pgconvoy.event SELECT * FROM kept");
    EXPECT_EQ(coordinator_->Cli("viewer", {"audit", "verify"}).exit_code, 0) << "put back after " << tampering;
  }
  store.Exec("postgres", "DROP TABLE kept");
}

}  // namespace
}  // namespace pgconvoy::testing
