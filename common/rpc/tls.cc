#include "common/rpc/tls.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/certificate.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::rpc {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr unsigned kRefreshSeconds = 1;
constexpr int64_t kStartOf2020 = 1'577'836'800;

int64_t NowSeconds() { return Clock::System().NowWall() / 1000; }

// ---- addresses -------------------------------------------------------------------------------------------------

// "host" of "host:port", "[host]:port" or "host".
std::string HostOf(const std::string& endpoint) {
  if (endpoint.starts_with('[')) {
    return endpoint.substr(1, endpoint.find(']') - 1);
  }
  return endpoint.substr(0, endpoint.rfind(':'));
}

std::vector<std::string> EndpointsOf(const std::string& address) {
  const bool listed = address.starts_with("ipv4:") || address.starts_with("ipv6:");
  std::vector<std::string> endpoints;
  for (size_t from = listed ? 5 : 0; from <= address.size();) {
    const size_t end = std::min(address.find(',', from), address.size());
    endpoints.push_back(address.substr(from, end - from));
    from = end + 1;
  }
  return endpoints;
}

// gRPC compares the certificate with the host of the address, of which these have none or several.
bool HasOneHost(const std::string& address) {
  return !address.starts_with("unix:") && !address.starts_with("ipv4:") && !address.starts_with("ipv6:") &&
         EndpointsOf(address).size() == 1;
}

// ---- files -----------------------------------------------------------------------------------------------------

absl::Status CannotRead(const std::string& path, const std::string& why) {
  return InputError("PGC-TLS-FILE", Printable(path) + ": " + why, "check the path and its permissions");
}

// The rule of PostgreSQL's servers: a key of our own is ours alone, one of root may also be read by its group, which
// is how secrets are mounted into containers.
absl::Status CheckKeyMode(const std::string& path, const struct stat& file) {
  const mode_t allowed = file.st_uid == 0 && geteuid() != 0 ? 0640 : 0600;
  if ((file.st_mode & 0777 & ~allowed) != 0) {
    return InputError("PGC-TLS-KEY-MODE", Printable(path) + " can be read or changed by others",
                      "chmod 600 the file");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadPem(const std::string& path, bool is_key) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat file {};
  if (fd < 0 || fstat(fd, &file) != 0) {
    const int error = errno;
    close(fd);
    return CannotRead(path, std::strerror(error));
  }
  absl::Status status = S_ISREG(file.st_mode) ? absl::OkStatus() : CannotRead(path, "is not a regular file");
  if (status.ok() && is_key) {
    status = CheckKeyMode(path, file);
  }
  std::string content(kMaxFileBytes + 1, '\0');
  const ssize_t size = status.ok() ? read(fd, content.data(), content.size()) : 0;
  const int error = errno;
  close(fd);
  PGC_RETURN_IF_ERROR(status);
  if (size < 0 || static_cast<size_t>(size) > kMaxFileBytes) {
    return CannotRead(path, size < 0 ? std::strerror(error) : "is larger than 1 MiB");
  }
  content.resize(static_cast<size_t>(size));
  return content;
}

grpc::SslCredentialsOptions ClientOptions(const TlsMaterial& material) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = material.authority_pem;
  options.pem_private_key = material.key_pem.Reveal();
  options.pem_cert_chain = material.certificate_pem;
  return options;
}

}  // namespace

bool IsLocalAddress(const std::string& address) {
  if (address.starts_with("unix:")) {
    return true;
  }
  const std::vector<std::string> endpoints = EndpointsOf(address);
  return std::all_of(endpoints.begin(), endpoints.end(),
                     [](const std::string& endpoint) { return IsLoopbackHost(HostOf(endpoint)); });
}

absl::Status CheckSecurity(const Security& security, const std::string& address) {
  const size_t given = (security.certificate_file.empty() ? 0u : 1u) + (security.key_file.empty() ? 0u : 1u) +
                       (security.authority_file.empty() ? 0u : 1u);
  if (given != 0 && given != 3) {
    return InputError("PGC-TLS-USAGE", "--tls-cert, --tls-key and --tls-ca belong together", "give all three");
  }
  if (given == 3 && security.insecure) {
    return InputError("PGC-TLS-USAGE", "--insecure contradicts --tls-cert", "leave one of them out");
  }
  if (given == 0 && !security.insecure && !IsLocalAddress(address)) {
    return InputError("PGC-TLS-REQUIRED",
                      "other machines reach " + Printable(address) + ", and there are no certificates",
                      "give --tls-cert, --tls-key and --tls-ca (`pgconvoy certs init` makes them), or say --insecure "
                      "where nobody else is on the network");
  }
  return absl::OkStatus();
}

absl::Status CheckClock(int64_t now_s) {
  if (now_s >= kStartOf2020) {
    return absl::OkStatus();
  }
  return InputError("PGC-CLOCK-UNSET", "this machine's clock says a time before 2020",
                    "set it (timedatectl shows how it is set), then start again");
}

absl::StatusOr<TlsMaterial> LoadTls(const Security& security) {
  PGC_RETURN_IF_ERROR(CheckClock(NowSeconds()));
  TlsMaterial material;
  PGC_ASSIGN_OR_RETURN(material.certificate_pem, ReadPem(security.certificate_file, false));
  PGC_ASSIGN_OR_RETURN(std::string key, ReadPem(security.key_file, true));
  material.key_pem = Secret(std::move(key));
  PGC_ASSIGN_OR_RETURN(material.authority_pem, ReadPem(security.authority_file, false));
  const auto certificate = ReadCertificate(material.certificate_pem);
  if (!certificate.ok()) {
    return Annotate(certificate.status(), security.certificate_file);
  }
  PGC_RETURN_IF_ERROR(CheckTimes(*certificate, NowSeconds()));
  if (const absl::Status fits = CheckKeyOf(material.certificate_pem, material.key_pem); !fits.ok()) {
    return Annotate(fits, security.key_file);
  }
  if (const absl::Status chain = CheckChain(material.certificate_pem, material.authority_pem); !chain.ok()) {
    return Annotate(chain, security.authority_file);
  }
  return material;
}

absl::StatusOr<Identity> OwnIdentity(const Security& security) {
  PGC_ASSIGN_OR_RETURN(const std::string pem, ReadPem(security.certificate_file, false));
  return IdentityOf(pem, NowSeconds());
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const std::string& address, const Security& security) {
  PGC_RETURN_IF_ERROR(CheckSecurity(security, address));
  PGC_ASSIGN_OR_RETURN(const std::string target, TargetOf(address));
  if (!security.tls()) {
    return Connect(address);
  }
  if (security.server_name.empty() && !HasOneHost(target)) {
    return InputError("PGC-TLS-SERVER-NAME", Printable(address) + " does not say which name the coordinator has",
                      "give the name in its certificate with --tls-server-name");
  }
  PGC_ASSIGN_OR_RETURN(const TlsMaterial material, LoadTls(security));
  return Connect(address, grpc::SslCredentials(ClientOptions(material)), security.server_name);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerTls(const Security& security) {
  PGC_RETURN_IF_ERROR(LoadTls(security).status());
  const auto files = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      security.key_file, security.certificate_file, security.authority_file, kRefreshSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(files);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace pgconvoy::rpc
