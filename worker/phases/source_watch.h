// Knowing which tables of the source nobody has written to since the backup, without reading all of them again.
//
// Every version of a row names the transaction that made it (xmin). A table has the rows of an earlier snapshot when
// none of its rows was made by a transaction that was not yet over then, and when it has as many rows as then: a row
// that was added or changed shows in the first, one that was removed in the second. Transactions may be numbered anew
// after a crash that lost some which had not reached the disk, so this holds only while the very session that took the
// backup lives; and PostgreSQL compares numbers that are at most 2^31 apart.
//
// A table may be taken for written to although it was not, for example when a long transaction was open at the time of
// the backup; never the other way round. Tables of which the plan takes some rows, or changes columns, are not looked
// at in this way: a condition or expression may read other rows.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "pgconvoy/v1/migration.pb.h"
#include "worker/phases/attempt.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

// The oldest transaction that was not over at the session's snapshot.
absl::StatusOr<int64_t> OldestTransaction(pg::Connection& reader);

// Whether the plan takes any table without a condition and with its values as they are.
bool TakesTablesWhole(const SourceSchema& schema);

// As SourceDigests, but tables that have certainly not been written to since the backup that
// Attempt::source_watch remembers are not read: they have the digest that `backup` says.
absl::StatusOr<std::vector<v1::TableDigest>> SourceDigestsSince(Attempt& attempt, const v1::BackupResult& backup);

}  // namespace pgconvoy::worker
