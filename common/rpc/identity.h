// Who a certificate says that somebody is: spiffe://TRUST-DOMAIN/pgconvoy/ROLE/NAME, its only URI (SPIFFE, "The SPIFFE
// Identity and Verifiable Identity Document" and "X.509-SVID").
//
// Thread safety: pure. Errors: Unauthenticated with PGC-AUTH-IDENTITY, PGC-TLS-EXPIRED or PGC-TLS-NOT-YET-VALID.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy::rpc {

enum class Role { kViewer, kOperator, kWorker, kCoordinator };

// "viewer", "operator", "worker", "coordinator".
std::string_view RoleName(Role role);

struct Identity {
  std::string trust_domain;
  Role role = Role::kViewer;
  // Letters, digits and "-._", at most 63 of them.
  std::string name;
  // When the certificate ends, Unix seconds.
  int64_t not_after_s = 0;
};

std::string ToUri(const Identity& identity);

// not_after_s stays 0.
absl::StatusOr<Identity> ParseUri(std::string_view uri);

// The identity in the first certificate of `pem`, which must be valid at `now_s`, no authority's, and have exactly one
// URI among its names.
absl::StatusOr<Identity> IdentityOf(std::string_view pem, int64_t now_s);

// The certificate named NAME covers the workers NAME and NAME/…; no other certificate can cover them, because a name
// holds no slash.
bool CoversWorker(const Identity& identity, std::string_view worker_id);

}  // namespace pgconvoy::rpc
