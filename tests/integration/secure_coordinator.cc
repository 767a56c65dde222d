#include "tests/integration/secure_coordinator.h"

#include <chrono>
#include <ctime>
#include <stdexcept>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {

SecureCoordinator::SecureCoordinator()
    : store_({.durable = true, .settings = {}}),
      certs_(folder_.path() + "/certs"),
      port_(FreePort()),
      health_port_(FreePort()) {
  rpc::PrepareProcess();
  const Finished made = RunToEnd({.argv = {"pgconvoy", "certs", "init", certs_, "--trust-domain", "example.org"}});
  if (made.exit_code != 0) {
    throw std::runtime_error("certs init: " + made.err);
  }
  const rpc::Security files = Files("coordinator");
  process_ = std::make_unique<Process>(ProcessOptions{
      .argv = {"pgconvoy-coordinator", "--listen", "0.0.0.0:" + std::to_string(port_), "--health-listen",
               health_address(), "--store", store_.SocketConninfo(), "--tls-cert", files.certificate_file,
               "--tls-key", files.key_file, "--tls-ca", files.authority_file, "--lease-ttl", "5s"},
      .stdout_path = folder_.path() + "/coordinator.log",
      .stderr_path = folder_.path() + "/coordinator.log"});
  if (!Eventually([this] { return GetAs("viewer").ok(); })) {
    throw std::runtime_error("the coordinator does not serve: " + Log());
  }
}

rpc::Security SecureCoordinator::Files(const std::string& name) const {
  rpc::Security security;
  security.certificate_file = certs_ + "/" + name + ".crt";
  security.key_file = certs_ + "/" + name + ".key";
  security.authority_file = certs_ + "/ca.crt";
  return security;
}

std::shared_ptr<grpc::Channel> SecureCoordinator::As(const std::string& name) const {
  const auto channel = rpc::Connect(address(), Files(name));
  if (!channel.ok()) {
    throw std::runtime_error(Describe(channel.status()));
  }
  return *channel;
}

std::shared_ptr<grpc::Channel> SecureCoordinator::With(const std::string& certificate_pem,
                                                       const std::string& key_pem) const {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ReadFile(certs_ + "/ca.crt");
  options.pem_cert_chain = certificate_pem;
  options.pem_private_key = key_pem;
  return rpc::Connect(address(), grpc::SslCredentials(options), "");
}

IssuedCertificate SecureCoordinator::Forge(const CertificateRequest& request) const {
  IssuedCertificate authority;
  authority.certificate_pem = ReadFile(certs_ + "/ca.crt");
  authority.key_pem = Secret(ReadFile(certs_ + "/ca.key"));
  auto made = Issue(authority, request);
  if (!made.ok()) {
    throw std::runtime_error(Describe(made.status()));
  }
  return *std::move(made);
}

Finished SecureCoordinator::Cli(const std::string& name, std::vector<std::string> args) const {
  args.insert(args.begin(), {"pgconvoy", "--address", address(), "--no-input"});
  if (!name.empty()) {
    const rpc::Security files = Files(name);
    args.insert(args.end(), {"--tls-cert", files.certificate_file, "--tls-key", files.key_file, "--tls-ca",
                             files.authority_file});
  }
  return RunToEnd({.argv = args});
}

grpc::Status SecureCoordinator::GetAs(const std::string& name) const {
  const auto stub = v1::MigrationService::NewStub(As(name));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::ListMigrationsResponse response;
  return stub->ListMigrations(&context, {}, &response);
}

CertificateRequest ForAnHour(const std::string& uri) {
  CertificateRequest request;
  request.common_name = "test";
  request.uri = uri;
  request.not_before_s = std::time(nullptr) - 60;
  request.not_after_s = std::time(nullptr) + 3'600;
  return request;
}

}  // namespace pgconvoy::testing
