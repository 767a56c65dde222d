// A small certificate authority: an EC P-256 key that signs certificates for this installation, and nothing else of a
// real one (no revocation, no intermediate authorities).
//
// Thread safety: all functions may be called from any thread.
// Errors: Internal when OpenSSL fails, InvalidArgument PGC-TLS-HOST for a name that is none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"

namespace pgconvoy {

struct IssuedCertificate {
  std::string certificate_pem;
  // PKCS #8, unencrypted.
  Secret key_pem;
};

struct CertificateRequest {
  std::string common_name;
  // The one URI among its names; empty: none.
  std::string uri;
  // DNS names and IP addresses.
  std::vector<std::string> hosts;
  // A server's certificate is of no use to a client, and the other way round (extended key usage).
  bool server = false;
  int64_t not_before_s = 0;
  int64_t not_after_s = 0;
};

// Self-signed; may sign leaves only. Hosts and `server` are of no use to it.
absl::StatusOr<IssuedCertificate> MakeAuthority(const CertificateRequest& request);
absl::StatusOr<IssuedCertificate> Issue(const IssuedCertificate& authority, const CertificateRequest& request);

}  // namespace pgconvoy
