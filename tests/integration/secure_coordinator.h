// A coordinator with mutual TLS: a real process on a store of its own, and the authority that `pgconvoy certs init`
// made for it.
//
// Errors: everything throws std::runtime_error, which fails the test.
// Thread safety: one thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/crypto/authority.h"
#include "common/rpc/tls.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::testing {

class SecureCoordinator {
 public:
  SecureCoordinator();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  std::string health_address() const { return "127.0.0.1:" + std::to_string(health_port_); }
  const std::string& certs() const { return certs_; }
  PgCluster& store() { return store_; }
  Process& process() { return *process_; }
  std::string Log() const { return ReadFile(folder_.path() + "/coordinator.log"); }

  // The files of certs()/NAME, as options of the product.
  rpc::Security Files(const std::string& name) const;
  // A channel with a certificate of certs().
  std::shared_ptr<grpc::Channel> As(const std::string& name) const;
  // A channel that shows this certificate, or none when it is empty, and trusts the coordinator's.
  std::shared_ptr<grpc::Channel> With(const std::string& certificate_pem, const std::string& key_pem) const;
  // What the authority would sign if its key were stolen or its owner mistaken.
  IssuedCertificate Forge(const CertificateRequest& request) const;
  // Runs `pgconvoy` with the certificate of certs()/NAME; "" for none.
  Finished Cli(const std::string& name, std::vector<std::string> args) const;
  // Succeeds as soon as the coordinator leads.
  grpc::Status GetAs(const std::string& name) const;

 private:
  TempDir folder_;
  PgCluster store_;
  std::string certs_;
  int port_;
  int health_port_;
  std::unique_ptr<Process> process_;
};

// A certificate's request: valid for an hour.
CertificateRequest ForAnHour(const std::string& uri);

}  // namespace pgconvoy::testing
