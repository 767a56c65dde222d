// Placeholders in plans, substituted safely by construction.
//
// SQL templates: {name} becomes a quoted SQL literal (standard_conforming_strings assumed on, which every session
// pins), {name:ident} a quoted identifier; there is no raw form. {{ and }} stand for braces. A placeholder inside
// quotes or a comment, or touching a word or another string constant, is refused: its own quotes would end the
// quotes around it, and the value would become SQL.
// Name templates: {name} becomes the value as it is; the result is a database or role name and must be 1..63 bytes
// of UTF-8 without NUL, not start with "pg_", and not be one of PostgreSQL's reserved or template names.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy::plan {

// Placeholder name -> value. A project offers "ref" and its attributes.
using Values = std::map<std::string, std::string>;

// Longest name of a database, role, table or column (NAMEDATALEN - 1); PostgreSQL cuts longer ones silently.
inline constexpr size_t kMaxNameBytes = 63;

// True for [a-z][a-z0-9_]*, the form of placeholder and attribute names.
bool IsPlaceholderName(std::string_view name);

// The placeholder names that occur, in order, without duplicates. InvalidArgument PGC-PLAN-TEMPLATE for a malformed
// template (unbalanced brace, empty name, unknown form).
absl::StatusOr<std::vector<std::string>> PlaceholdersIn(std::string_view text);

// PGC-PLAN-TEMPLATE when `text` is no safe SQL template: malformed, with an unsafely placed placeholder, or with a
// quote or comment that does not end.
absl::Status CheckSqlTemplate(std::string_view text);
// PGC-PLAN-TEMPLATE when `text` would not stay one expression between the parentheses that we put around it: a `;`,
// an unbalanced parenthesis, a quote that does not end, or a `--` comment as its last line. Placeholders do not
// matter.
absl::Status CheckSqlExpression(std::string_view text);
// PGC-PLAN-TEMPLATE when `text` is malformed or uses {name:ident}, which only SQL has.
absl::Status CheckTextTemplate(std::string_view text);

// PGC-PLAN-PLACEHOLDER when a placeholder has no value. Checks the template as CheckSqlTemplate does.
absl::StatusOr<std::string> RenderSql(std::string_view text, const Values& values);
// Plain substitution for values that are sent as bound parameters (cutover.set).
absl::StatusOr<std::string> RenderText(std::string_view text, const Values& values);
// Also checks the result as described above: PGC-PLAN-NAME.
absl::StatusOr<std::string> RenderName(std::string_view text, const Values& values);

// PGC-PLAN-NAME unless `name` may be a database or role of a project, as described above.
absl::Status CheckName(std::string_view name);

// 'it''s' and "a""b"; both refuse NUL and invalid UTF-8 by returning PGC-SQL-QUOTE, QuoteIdent also the empty name.
absl::StatusOr<std::string> QuoteLiteral(std::string_view value);
absl::StatusOr<std::string> QuoteIdent(std::string_view name);

// The parts of a dotted name: `auth.users`, `"my.schema"."a""b"`. A part without quotes is taken as it is, without
// case folding. PGC-SQL-NAME unless there are exactly `parts` parts of 1..63 bytes each.
absl::StatusOr<std::vector<std::string>> SplitQualified(std::string_view name, size_t parts);
// "schema.table" -> "\"schema\".\"table\""; exactly one dot outside quotes.
absl::StatusOr<std::string> QuoteQualified(std::string_view name);

}  // namespace pgconvoy::plan
