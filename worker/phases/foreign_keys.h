// Foreign keys as the source declares them. They are added by hand, not from pg_dump's script, because a plan may want
// those that the source's own rows violate as NOT VALID.
//
// Thread safety: pure functions and one query.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/pg/connection.h"

namespace pgconvoy::worker {

struct ForeignKey {
  // Quoted names.
  std::string table;
  std::string referenced;
  std::string name;
  // FOREIGN KEY … as PostgreSQL prints it, NOT VALID included.
  std::string definition;
  // False: NOT VALID in the source, so old rows need not fit.
  bool validated = true;
  // A partitioned table's; PostgreSQL knows no NOT VALID for these before version 18.
  bool partitioned = false;
  // Conditions over c, the referencing row, and p, the referenced one.
  std::string applies;
  std::string matches;
};

// Of all tables of these schemas, sorted; those that a partition has from its parent are left out.
absl::StatusOr<std::vector<ForeignKey>> ReadForeignKeys(pg::Connection& connection,
                                                        const std::vector<std::string>& schemas);

// ALTER TABLE … ADD CONSTRAINT …
std::string AddConstraintSql(const ForeignKey& key, bool not_valid);

// A scalar query: how many rows of `from` refer to nothing in `to`. Both are tables or subqueries in parentheses.
std::string ViolationsSql(const ForeignKey& key, const std::string& from, const std::string& to);

}  // namespace pgconvoy::worker
