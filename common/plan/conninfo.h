// Which libpq connection strings a plan may hold.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace pgconvoy::plan {

// PGC-PLAN-CONNINFO unless `conninfo` is in keyword form ("host=db1 port=5432") and holds only keywords that say
// where the server is and how to reach it. user, password, dbname, options, passfile, service and the like are refused:
// logins and databases come from the plan, and settings are pinned by pgconvoy. The error names the keyword, never a
// value. Workers check what a ${env:NAME} turned out to hold.
absl::Status CheckConninfo(std::string_view conninfo);

}  // namespace pgconvoy::plan
