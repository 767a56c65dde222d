#include "common/rpc/identity.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/certificate.h"

namespace pgconvoy::rpc {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::string_view kFolder = "/pgconvoy/";
constexpr size_t kMaxNameBytes = 63;
constexpr size_t kMaxDomainBytes = 255;
constexpr std::array kRoles = {Role::kViewer, Role::kOperator, Role::kWorker, Role::kCoordinator};

absl::Status NoIdentity(const std::string& what) {
  return WithStatusCode(absl::StatusCode::kUnauthenticated,
                        InputError("PGC-AUTH-IDENTITY", what,
                                   "a certificate needs exactly one URI, spiffe://TRUST-DOMAIN/pgconvoy/ROLE/NAME, "
                                   "and must not be an authority's"));
}

bool IsName(std::string_view text, size_t most) {
  return !text.empty() && text.size() <= most && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; });
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kViewer: return "viewer";
    case Role::kOperator: return "operator";
    case Role::kWorker: return "worker";
    case Role::kCoordinator: return "coordinator";
  }
  return "";
}

std::string ToUri(const Identity& identity) {
  return std::string(kScheme) + identity.trust_domain + std::string(kFolder) + std::string(RoleName(identity.role)) +
         "/" + identity.name;
}

absl::StatusOr<Identity> ParseUri(std::string_view uri) {
  const auto bad = [uri] { return NoIdentity("\"" + Printable(uri) + "\" names nobody here"); };
  const size_t folder = uri.find('/', kScheme.size());
  if (!uri.starts_with(kScheme) || folder == std::string_view::npos || !uri.substr(folder).starts_with(kFolder)) {
    return bad();
  }
  Identity identity;
  identity.trust_domain = uri.substr(kScheme.size(), folder - kScheme.size());
  const std::string_view rest = uri.substr(folder + kFolder.size());
  const size_t slash = rest.find('/');
  const auto* const role =
      std::find_if(kRoles.begin(), kRoles.end(), [&](Role one) { return RoleName(one) == rest.substr(0, slash); });
  if (slash == std::string_view::npos || role == kRoles.end()) {
    return bad();
  }
  identity.role = *role;
  identity.name = rest.substr(slash + 1);
  if (!IsName(identity.trust_domain, kMaxDomainBytes) || !IsName(identity.name, kMaxNameBytes)) {
    return bad();
  }
  return identity;
}

absl::StatusOr<Identity> IdentityOf(std::string_view pem, int64_t now_s) {
  const auto certificate = ReadCertificate(pem);
  if (!certificate.ok()) {
    return NoIdentity(MessageOf(certificate.status()));
  }
  if (certificate->is_authority) {
    return NoIdentity("the certificate of " + certificate->subject + " is an authority's");
  }
  if (certificate->uris.size() != 1) {
    return NoIdentity("the certificate of " + certificate->subject + " has " +
                      std::to_string(certificate->uris.size()) + " URIs among its names");
  }
  if (const absl::Status times = CheckTimes(*certificate, now_s); !times.ok()) {
    return WithStatusCode(absl::StatusCode::kUnauthenticated, times);
  }
  PGC_ASSIGN_OR_RETURN(Identity identity, ParseUri(certificate->uris.front()));
  identity.not_after_s = certificate->not_after_s;
  return identity;
}

bool CoversWorker(const Identity& identity, std::string_view worker_id) {
  return worker_id == identity.name || worker_id.starts_with(identity.name + "/");
}

}  // namespace pgconvoy::rpc
