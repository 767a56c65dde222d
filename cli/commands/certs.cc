#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/files.h"
#include "cli/commands/json.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/authority.h"
#include "common/crypto/certificate.h"
#include "common/rpc/identity.h"

namespace pgconvoy::cli {
namespace {

constexpr std::array kRoles = {rpc::Role::kCoordinator, rpc::Role::kWorker, rpc::Role::kOperator, rpc::Role::kViewer};
constexpr int64_t kDay = 86'400;
constexpr int64_t kAuthorityDays = 3'650;
// Clocks of other machines may be behind.
constexpr int64_t kBackdate = 3'600;
// The name of its files.
constexpr char kAuthority[] = "ca";
// The Service of deploy/kubernetes.
constexpr char kServiceName[] = "pgconvoy-coordinator";

absl::StatusOr<rpc::Role> ToRole(const std::string& name) {
  for (const rpc::Role role : kRoles) {
    if (name == rpc::RoleName(role)) {
      return role;
    }
  }
  return InputError("PGC-CLI-USAGE", "unknown role \"" + Printable(name) + "\"",
                    "known: coordinator, worker, operator, viewer");
}

CertificateRequest RequestFor(const std::string& common_name, int64_t days) {
  const int64_t now_s = NowUnixMs() / 1000;
  CertificateRequest request;
  request.common_name = common_name;
  request.not_before_s = now_s - kBackdate;
  request.not_after_s = now_s + days * kDay;
  return request;
}

std::vector<std::string> HostsOf(const CertsOptions& options) {
  std::vector<std::string> hosts = {"localhost", "127.0.0.1", "::1", kServiceName};
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) == 0) {
    hosts.emplace_back(name);
  }
  hosts.insert(hosts.end(), options.hosts.begin(), options.hosts.end());
  return hosts;
}

absl::StatusOr<IssuedCertificate> Make(const IssuedCertificate& authority,
                                       const CertsOptions& options,
                                       const rpc::Identity& identity) {
  CertificateRequest request = RequestFor(identity.name, options.days);
  request.uri = rpc::ToUri(identity);
  // What would not be read back as an identity must not be made.
  PGC_RETURN_IF_ERROR(rpc::ParseUri(request.uri).status());
  request.server = identity.role == rpc::Role::kCoordinator;
  request.hosts = request.server ? HostsOf(options) : std::vector<std::string>();
  return Issue(authority, request);
}

using WriteFile = absl::Status (*)(const std::string&, const std::string&, mode_t);

absl::Status Write(const std::string& path, const IssuedCertificate& made, WriteFile write) {
  PGC_RETURN_IF_ERROR(write(path + ".key", made.key_pem.Reveal(), 0600));
  return write(path + ".crt", made.certificate_pem, 0644);
}

// An empty folder that only we can enter.
absl::Status MakeFolder(const std::string& dir) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(dir, error);
  if (!error && !made && !std::filesystem::is_empty(dir, error)) {
    return MakeError(Verdict::kPermanent, "PGC-TLS-EXISTS", dir + " is not empty",
                     "an authority that is overwritten is lost for ever; choose another folder");
  }
  if (error || chmod(dir.c_str(), 0700) != 0) {
    return absl::InternalError("cannot make " + dir + ": " + (error ? error.message() : std::strerror(errno)));
  }
  return absl::OkStatus();
}

// SPIFFE wants an authority to say of which trust domain it is.
std::string DomainUri(const std::string& trust_domain) { return "spiffe://" + trust_domain; }

absl::Status InitFolder(const CertsOptions& options) {
  CertificateRequest request = RequestFor("pgconvoy authority", kAuthorityDays);
  request.uri = DomainUri(options.trust_domain);
  PGC_ASSIGN_OR_RETURN(IssuedCertificate authority, MakeAuthority(request));
  std::vector<std::pair<std::string, IssuedCertificate>> all;
  for (const rpc::Role role : kRoles) {
    const std::string name(rpc::RoleName(role));
    PGC_ASSIGN_OR_RETURN(IssuedCertificate made, Make(authority, options, {options.trust_domain, role, name}));
    all.emplace_back(name, std::move(made));
  }
  all.emplace_back(kAuthority, std::move(authority));
  PGC_RETURN_IF_ERROR(MakeFolder(options.dir));
  for (const auto& [name, made] : all) {
    PGC_RETURN_IF_ERROR(Write(options.dir + "/" + name, made, WriteNewFile));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file || text.empty()) {
    return InputError("PGC-TLS-FILE", path + " cannot be read", "`pgconvoy certs init` makes an authority");
  }
  return text;
}

absl::StatusOr<IssuedCertificate> ReadAuthority(const std::string& dir) {
  IssuedCertificate authority;
  PGC_ASSIGN_OR_RETURN(authority.certificate_pem, ReadText(dir + "/ca.crt"));
  PGC_ASSIGN_OR_RETURN(std::string key, ReadText(dir + "/ca.key"));
  authority.key_pem = Secret(std::move(key));
  return authority;
}

absl::StatusOr<std::string> TrustDomainOf(const IssuedCertificate& authority) {
  PGC_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(authority.certificate_pem));
  const std::string scheme = DomainUri("");
  if (certificate.uris.size() != 1 || !certificate.uris.front().starts_with(scheme)) {
    return InputError("PGC-TLS-CERTIFICATE", "this authority was not made by `pgconvoy certs init`");
  }
  return certificate.uris.front().substr(scheme.size());
}

absl::StatusOr<rpc::Identity> IssueInto(const CertsOptions& options) {
  rpc::Identity identity;
  PGC_ASSIGN_OR_RETURN(identity.role, ToRole(options.role));
  identity.name = options.name;
  if (identity.name == kAuthority) {
    return MakeError(Verdict::kPermanent, "PGC-KEY-EXISTS", "ca is the authority's own name", "choose another");
  }
  PGC_ASSIGN_OR_RETURN(const IssuedCertificate authority, ReadAuthority(options.dir));
  PGC_ASSIGN_OR_RETURN(identity.trust_domain, TrustDomainOf(authority));
  PGC_ASSIGN_OR_RETURN(const IssuedCertificate made, Make(authority, options, identity));
  PGC_RETURN_IF_ERROR(Write(options.dir + "/" + identity.name, made, options.renew ? ReplaceFile : WriteNewFile));
  return identity;
}

std::string TlsFlags(const std::string& dir, const std::string& name) {
  return "--tls-cert " + dir + "/" + name + ".crt --tls-key " + dir + "/" + name + ".key --tls-ca " + dir + "/ca.crt";
}

}  // namespace

int CertsInit(Session& session, const CertsOptions& options) {
  if (const absl::Status status = InitFolder(options); !status.ok()) {
    return Fail(session, status);
  }
  const std::string dir = Printable(options.dir);
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"dir", options.dir}, {"trust_domain", options.trust_domain}}));
  } else {
    Out(dir + "\n");
  }
  Say("the authority's key, " + dir + "/ca.key, signs further certificates: keep it offline");
  Say("next: give each machine ca.crt and its own pair, and start the coordinator with");
  Say("  pgconvoy-coordinator --listen 0.0.0.0:7070 " + TlsFlags(dir, "coordinator") + " …");
  Say("and use " + dir + "/worker.* for workers and " + dir + "/operator.* or viewer.* for this command");
  return kOk;
}

int CertsIssue(Session& session, const CertsOptions& options) {
  const auto identity = IssueInto(options);
  if (!identity.ok()) {
    return Fail(session, identity.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"identity", rpc::ToUri(*identity)},
                                             {"certificate_file", options.dir + "/" + identity->name + ".crt"},
                                             {"key_file", options.dir + "/" + identity->name + ".key"}}));
  } else {
    Out(rpc::ToUri(*identity) + "\n");
  }
  Say("next: " + TlsFlags(Printable(options.dir), identity->name));
  return kOk;
}

}  // namespace pgconvoy::cli
