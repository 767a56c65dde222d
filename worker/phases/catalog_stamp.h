// A stamp of all that users have defined in a database. While it stays the same no definition has changed, so that what
// was read from the catalogs before still holds; reading the stamp costs a hundredth of reading the definitions.
//
// It is a sum over the identity and the inserting transaction (xmin) of every row that describes a user's object, in
// every schema, temporary ones included. A changed stamp may mean nothing (a GRANT, a temporary table, VACUUM FULL);
// an equal one means that every such row is the one that it was. Not covered: roles and memberships.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/pg/connection.h"

namespace pgconvoy::worker {

// As the session's transaction sees the catalogs.
absl::StatusOr<std::string> CatalogStamp(pg::Connection& connection);

// Equal for two clones of one template in which the same definitions were added, whoever owns them; read in a fraction
// of the time of the definitions themselves. It is a hash over what the catalogs say about every object of a user, with
// the numbers that PostgreSQL gave to the template's objects: it means nothing between databases of different origin.
absl::StatusOr<std::string> CloneSignature(pg::Connection& connection);

}  // namespace pgconvoy::worker
