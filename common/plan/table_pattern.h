// The names of tables in a plan, where "*" stands for any part of a name: auth.*, public.log_*, *.*
//
// Thread safety: none needed, they are values and pure functions.
#pragma once

#include <string>
#include <string_view>

#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::plan {

// True when the name, schema.table, stands for any number of tables.
bool IsPattern(std::string_view name);

// Whether schema.table, perhaps a pattern, stands for this table. False for what is no name of two parts.
bool MatchesTable(std::string_view pattern, std::string_view schema, std::string_view table);

// Whether an entry of `tables` takes this table: its name or pattern matches and none of its exceptions does.
bool TakesTable(const v1::Table& entry, std::string_view schema, std::string_view table);

// True for target.schemas: ["*"], every schema of the source that is the user's.
bool IsWholeDatabase(const v1::Plan& plan);

// A name as a plan would have to write it: a part is quoted where it has to be.
std::string WrittenName(std::string_view schema, std::string_view table);

}  // namespace pgconvoy::plan
