// The one place where SQLSTATEs and connection failures become our errors.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/base/error.h"

namespace pgconvoy::pg {

// Verdict and code of a SQLSTATE; `message` is the server's primary message. Examples: 08*, 57P01-57P05, 53300, 40001,
// 40P01, 55P03, 55006 transient; 28000/28P01 permanent PGC-PG-AUTH; 53100 transient PGC-PG-DISK-FULL; XX000 transient
// PGC-PG-INTERNAL; 42501 PGC-PG-DENIED; 3D000 PGC-PG-NO-DATABASE; 42P01 PGC-PG-NO-TABLE; others PGC-PG-<SQLSTATE>.
absl::Status FromSqlState(std::string_view sqlstate, std::string_view message);
// A failed connection attempt, classified by libpq's text where it has no SQLSTATE. "password authentication failed"
// is permanent, refused and timed-out connections are TRANSIENT PGC-PG-UNREACHABLE. Never holds a password.
absl::Status FromConnectFailure(std::string_view libpq_message);
// The SQLSTATE a status was made from, or "".
std::string SqlStateOf(const absl::Status& status);

}  // namespace pgconvoy::pg
