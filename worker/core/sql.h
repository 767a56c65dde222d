// Quoting for the statements that PostgreSQL cannot take as parameters (role and database DDL, COPY).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pgconvoy::worker {

// "a""b". Every name is quoted, so that none is folded or taken for a keyword.
std::string Ident(std::string_view name);
// 'it''s'; needs standard_conforming_strings=on, which every session pins.
std::string Literal(std::string_view value);
// A schema-qualified name from its two parts.
std::string Qualified(std::string_view schema, std::string_view name);
// "a", "b"
std::string IdentList(const std::vector<std::string>& names);

// {"a","b\"c"}: a value for a parameter that is an array of text or names.
std::string TextArray(const std::vector<std::string>& values);

// auth."a.b" -> {"auth", "a.b"}. Names keep their case; quotes are needed around dots and quotes only.
std::vector<std::string> SplitName(std::string_view name);

// The name of a table as a plan writes it. The plan's validation has made sure that it has two parts.
struct TableName {
  std::string schema;
  std::string table;
  std::string Quoted() const { return Qualified(schema, table); }
};
TableName SplitTable(std::string_view name);

}  // namespace pgconvoy::worker
