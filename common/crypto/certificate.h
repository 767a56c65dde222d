// X.509 certificates: what one says, and whether the files that a process was given fit together. OpenSSL stays behind
// this header. Chains of peers are verified by the TLS handshake (RFC 5280), not here.
//
// Thread safety: all functions may be called from any thread.
// Errors: InvalidArgument with PGC-TLS-… codes; no message holds anything of a key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"

namespace pgconvoy {

struct Certificate {
  // For people: "CN=worker, O=example".
  std::string subject;
  // The URIs among the subject's alternative names, in their order.
  std::vector<std::string> uris;
  // It may sign other certificates (basic constraints, RFC 5280 section 4.2.1.9).
  bool is_authority = false;
  // Unix seconds.
  int64_t not_before_s = 0;
  int64_t not_after_s = 0;
};

// The first certificate of `pem`. PGC-TLS-CERTIFICATE when there is none, or when one of its names holds a NUL byte,
// which would let it be read as another name.
absl::StatusOr<Certificate> ReadCertificate(std::string_view pem);

// PGC-TLS-NOT-YET-VALID or PGC-TLS-EXPIRED at `now_s`, Unix seconds.
absl::Status CheckTimes(const Certificate& certificate, int64_t now_s);

// PGC-TLS-KEY when `key_pem` is no private key without a passphrase, or is not that of the first certificate of
// `certificate_pem`.
absl::Status CheckKeyOf(std::string_view certificate_pem, const Secret& key_pem);

// PGC-TLS-CHAIN when the first certificate of `certificate_pem`, with the help of the others, does not lead to one of
// `authorities_pem`. Says nothing about times.
absl::Status CheckChain(std::string_view certificate_pem, std::string_view authorities_pem);

}  // namespace pgconvoy
