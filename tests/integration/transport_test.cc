// What the coordinator's port takes, and when certificates can be used: real processes, real handshakes.
#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <random>

#include "common/rpc/rpc.h"
#include "coordinator/service/access.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/integration/security_fixture.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using grpc::StatusCode;

// Sends bytes over TCP and reads until the other side closes, or nothing comes for so long.
std::string SendRaw(int port, const std::string& bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string answer = "not connected";
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    answer.clear();
    [[maybe_unused]] const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    char buffer[4096];
    ssize_t got = 0;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
      answer.append(buffer, static_cast<size_t>(got));
    }
    if (got < 0 && errno == EAGAIN) {
      answer = "still open";
    }
  }
  close(fd);
  return answer;
}

class Transport : public SecuredTest {};

// ---- limits ----------------------------------------------------------------------------------------------------

TEST_F(Transport, AMessageOrMetadataThatIsTooLargeIsRefused) {
  const auto channel =
      grpc::CreateCustomChannel(coordinator_->address(),
                                grpc::SslCredentials({ReadFile(coordinator_->certs() + "/ca.crt"),
                                                      ReadFile(coordinator_->certs() + "/viewer.key"),
                                                      ReadFile(coordinator_->certs() + "/viewer.crt")}),
                                grpc::ChannelArguments());
  const auto stub = v1::MigrationService::NewStub(channel);
  v1::GetMigrationRequest request;
  v1::Migration response;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    request.set_id(std::string(static_cast<size_t>(rpc::kMaxMessageBytes), 'x'));
    EXPECT_EQ(stub->GetMigration(&context, request, &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  grpc::ClientContext context;
  SetDeadline(context);
  context.AddMetadata("big", std::string(64 << 10, 'x'));
  EXPECT_EQ(stub->GetMigration(&context, {}, &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(Transport, AMessageThatWouldUnfoldIsRefused) {
  const auto stub = v1::MigrationService::NewStub(coordinator_->As("viewer"));
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    SetDeadline(context);
    context.set_compression_algorithm(algorithm);
    v1::GetMigrationRequest request;
    request.set_id(std::string(3 << 20, 'x'));
    v1::Migration response;
    EXPECT_EQ(stub->GetMigration(&context, request, &response).error_code(), StatusCode::UNIMPLEMENTED);
  }
}

TEST_F(Transport, WhatIsNoTlsIsClosed) {
  std::mt19937 random(7);
  std::string noise(4'096, '\0');
  for (char& c : noise) {
    c = static_cast<char>(random());
  }
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noise,
        std::string(4'096, '\0'), std::string("\x16\x03\x01\xff\xff", 5) + noise}) {
    EXPECT_NE(SendRaw(coordinator_->port(), bytes), "still open") << bytes.substr(0, 10);
  }
}

TEST_F(Transport, TheHealthPortAnswersHealthChecksAndNothingElse) {
  const auto channel = rpc::Connect(coordinator_->health_address());
  EXPECT_TRUE(CallByName(channel, "/grpc.health.v1.Health/Check").ok());
  for (const service::MethodAccess& row : service::AccessTable()) {
    if (row.method.starts_with("/pgconvoy.")) {
      EXPECT_EQ(CallByName(channel, std::string(row.method)).error_code(), StatusCode::UNIMPLEMENTED) << row.method;
    }
  }
}

// ---- certificates ----------------------------------------------------------------------------------------------

TEST_F(Transport, ARenewedCertificateIsUsedWithoutARestart) {
  const auto served = [] {
    const auto stub = v1::MigrationService::NewStub(coordinator_->As("viewer"));
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListMigrationsResponse response;
    stub->ListMigrations(&context, {}, &response);
    const auto pem = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    return pem.empty() ? std::string() : std::string(pem.front().data(), pem.front().size());
  };
  const std::string before = served();
  ASSERT_EQ(RunToEnd({.argv = {"pgconvoy", "certs", "issue", coordinator_->certs(), "coordinator", "coordinator",
                               "--renew"}})
                .exit_code,
            0);
  EXPECT_TRUE(Eventually([&] {
    const std::string now = served();
    return !now.empty() && now != before;
  }));
}

Finished StartCoordinator(const rpc::Security& files, const std::string& listen = "0.0.0.0:0") {
  std::vector<std::string> argv = {"pgconvoy-coordinator", "--store", "host=/nowhere", "--listen", listen};
  if (files.tls()) {
    argv.insert(argv.end(), {"--tls-cert", files.certificate_file, "--tls-key", files.key_file, "--tls-ca",
                             files.authority_file});
  }
  return RunToEnd({.argv = argv});
}

TEST_F(Transport, ACoordinatorDoesNotStartWithoutGoodCertificatesWhereOthersReachIt) {
  const Finished none = StartCoordinator({});
  EXPECT_EQ(none.exit_code, 64) << none.err;
  EXPECT_NE(none.err.find("PGC-TLS-REQUIRED"), std::string::npos) << none.err;
  const Finished local = StartCoordinator({}, "127.0.0.1:0");
  EXPECT_EQ(local.exit_code, 69) << "the store is what it misses: " << local.err;

  TempDir folder;
  ASSERT_EQ(RunToEnd({.argv = {"pgconvoy", "certs", "init", folder.path() + "/c"}}).exit_code, 0);
  rpc::Security files;
  files.certificate_file = folder.path() + "/c/coordinator.crt";
  files.key_file = folder.path() + "/c/coordinator.key";
  files.authority_file = folder.path() + "/c/ca.crt";
  ASSERT_EQ(chmod(files.key_file.c_str(), 0644), 0);
  const Finished open_key = StartCoordinator(files);
  EXPECT_EQ(open_key.exit_code, 1) << open_key.err;
  EXPECT_NE(open_key.err.find("PGC-TLS-KEY-MODE"), std::string::npos) << open_key.err;
  ASSERT_EQ(chmod(files.key_file.c_str(), 0600), 0);
  EXPECT_EQ(StartCoordinator(files).exit_code, 69);

  CertificateRequest expired = ForAnHour("spiffe://example.org/pgconvoy/coordinator/c");
  expired.not_after_s = std::time(nullptr) - 1;
  const IssuedCertificate old = coordinator_->Forge(expired);
  std::ofstream(files.certificate_file) << old.certificate_pem;
  std::ofstream(files.key_file) << old.key_pem.Reveal();
  const Finished late = StartCoordinator(files);
  EXPECT_EQ(late.exit_code, 1) << late.err;
  EXPECT_NE(late.err.find("PGC-TLS-EXPIRED"), std::string::npos) << late.err;
}

TEST_F(Transport, AClockThatNobodyHasSetIsAWarningAndWithCertificatesAnError) {
  const std::map<std::string, std::string> env = {{"LD_PRELOAD", BinaryPath("unset_clock.so")}};
  const auto files = [](const std::string& name) {
    const std::string path = coordinator_->certs() + "/" + name;
    return std::vector<std::string>{"--tls-cert",  path + ".crt", "--tls-key",
                                    path + ".key", "--tls-ca",    coordinator_->certs() + "/ca.crt"};
  };
  const struct {
    std::string name;
    std::vector<std::string> argv;
    int without;
    int with;
  } programs[] = {
      {"coordinator", {"pgconvoy-coordinator", "--store", "host=/nowhere", "--listen", "127.0.0.1:0"}, 69, 1},
      {"operator", {"pgconvoy", "get", "workers", "--address", "127.0.0.1:1"}, 69, 64},
      {"worker", {"pgconvoy-worker", "--coordinator", "127.0.0.1:1", "--exit-when-idle", "1"}, 0, 3},
  };
  for (const auto& program : programs) {
    std::vector<std::string> argv = program.argv;
    const Finished plain = RunToEnd({.argv = argv, .env = env});
    EXPECT_EQ(plain.exit_code, program.without) << plain.err;
    EXPECT_NE(plain.err.find("PGC-CLOCK-UNSET"), std::string::npos) << plain.err;
    const std::vector<std::string> more = files(program.name);
    argv.insert(argv.end(), more.begin(), more.end());
    const Finished secured = RunToEnd({.argv = argv, .env = env});
    EXPECT_EQ(secured.exit_code, program.with) << secured.err;
    EXPECT_NE(secured.err.find("error PGC-CLOCK-UNSET"), std::string::npos) << secured.err;
  }
}

TEST_F(Transport, WorkerAndCommandLineDoNotSpeakPlaintextWithOtherMachines) {
  const Finished worker = RunToEnd({.argv = {"pgconvoy-worker", "--coordinator", "192.0.2.1:7070"}});
  EXPECT_EQ(worker.exit_code, 64) << worker.err;
  EXPECT_NE(worker.err.find("PGC-TLS-REQUIRED"), std::string::npos) << worker.err;
  const Finished cli = RunToEnd({.argv = {"pgconvoy", "--address", "192.0.2.1:7070", "get", "workers"}});
  EXPECT_EQ(cli.exit_code, 64) << cli.err;
  EXPECT_NE(cli.err.find("PGC-TLS-REQUIRED"), std::string::npos) << cli.err;
}

}  // namespace
}  // namespace pgconvoy::testing
