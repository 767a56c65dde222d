// Opening a PostgreSQL session: conninfo, pinned settings, login, and the proof that the settings hold.
// Private to common/pg; everybody else uses Connection::Open.
//
// Thread safety: any thread.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pg/connection.h"

namespace pgconvoy::pg {

// The oldest server that knows every setting which is pinned.
inline constexpr int kMinServerVersion = 140000;

// PERMANENT PGC-PG-VERSION below kMinServerVersion. `version` as PQserverVersion gives it, `name` as the server says
// it.
absl::Status CheckServerVersion(int version, std::string_view name);

// A session that has logged in and whose settings are proven, in two round trips more than the authentication needs.
// The caller owns it.
// Errors: PGC-PG-CONNINFO, what FromConnectFailure makes, PGC-PG-VERSION, PGC-PG-SETTINGS.
absl::StatusOr<pg_conn*> Connect(const Endpoint& endpoint, const SessionOptions& options);

// What pins the settings of a session, as PGOPTIONS of a program that logs in by itself. It does not prove them.
std::string PinnedOptions();

}  // namespace pgconvoy::pg
