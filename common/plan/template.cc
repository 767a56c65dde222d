#include "common/plan/template.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/sql_scan.h"

namespace pgconvoy::plan {
namespace {

enum class Form { kLiteral, kIdent };

// A stretch of a template: fixed text (name empty) or one placeholder.
struct Piece {
  // Where it stands in the template.
  size_t begin = 0;
  size_t end = 0;
  std::string text;
  std::string name;
  Form form = Form::kLiteral;

  bool is_placeholder() const { return !name.empty(); }
};

constexpr std::array<std::string_view, 10> kReservedNames = {
    "postgres", "template0",    "template1",    "pgconvoy", "public",
    "none",     "current_user", "session_user", "user",     "current_role"};

constexpr char kBraceRemedy[] = "a placeholder is {name} or {name:ident}; write {{ and }} for plain braces";

absl::Status BadTemplate(std::string_view message) { return InputError("PGC-PLAN-TEMPLATE", message, kBraceRemedy); }

std::string Quoted(std::string_view text) { return "\"" + Printable(text) + "\""; }

absl::StatusOr<Piece> ParsePlaceholder(std::string_view text, size_t begin) {
  const size_t close = text.find_first_of("{}", begin + 1);
  if (close == std::string_view::npos || text[close] == '{') {
    return BadTemplate("a { is not closed");
  }
  const std::string_view inside = text.substr(begin + 1, close - begin - 1);
  const size_t colon = inside.find(':');
  Piece piece{begin, close + 1, "", std::string(inside.substr(0, colon)), Form::kLiteral};
  if (!IsPlaceholderName(piece.name)) {
    return BadTemplate("{" + Printable(inside) + "} is no placeholder");
  }
  if (colon != std::string_view::npos) {
    if (inside.substr(colon + 1) != "ident") {
      return BadTemplate("{" + Printable(inside) + "} has an unknown form after the colon");
    }
    piece.form = Form::kIdent;
  }
  return piece;
}

absl::StatusOr<std::vector<Piece>> ParseTemplate(std::string_view text) {
  std::vector<Piece> pieces;
  size_t at = 0;
  const auto add_text = [&](size_t used, std::string_view fixed) {
    pieces.push_back({at, at + used, std::string(fixed), "", Form::kLiteral});
    at += used;
  };
  while (at < text.size()) {
    const std::string_view two = text.substr(at, 2);
    if (two == "{{" || two == "}}") {
      add_text(2, two.substr(0, 1));
    } else if (text[at] == '}') {
      return BadTemplate("a } has no {");
    } else if (text[at] == '{') {
      PGC_ASSIGN_OR_RETURN(Piece piece, ParsePlaceholder(text, at));
      at = piece.end;
      pieces.push_back(std::move(piece));
    } else {
      const size_t end = std::min(text.find_first_of("{}", at), text.size());
      add_text(end - at, text.substr(at, end - at));
    }
  }
  return pieces;
}

bool TouchesWord(std::string_view text, const Piece& piece) {
  const auto joins = [](char c) { return IsSqlWordByte(c) || c == '\'' || c == '"'; };
  if (piece.end < text.size() && (joins(text[piece.end]) || text[piece.end] == '{')) {
    return true;
  }
  if (piece.begin == 0) {
    return false;
  }
  const std::string_view before = text.substr(0, piece.begin);
  return joins(before.back()) || before.ends_with("U&") || before.ends_with("u&");
}

absl::Status NoExpression(std::string_view message) {
  return InputError("PGC-PLAN-TEMPLATE", message, "write one SQL expression without its WHERE");
}

absl::Status Misplaced(const Piece& piece, std::string_view where) {
  return InputError("PGC-PLAN-TEMPLATE", "{" + piece.name + "} stands " + std::string(where),
                    "a placeholder brings its own quotes: write column = {" + piece.name + "}");
}

// Walks the template as PostgreSQL's lexer will and looks at where each placeholder falls.
absl::Status CheckPlacement(std::string_view text, const std::vector<Piece>& pieces) {
  SqlScanner scanner(text);
  // Two string constants with only blanks between them are one constant to PostgreSQL, under the rules of the first.
  bool after_string = false;
  auto next = std::find_if(pieces.begin(), pieces.end(), [](const Piece& p) { return p.is_placeholder(); });
  while (!scanner.done()) {
    bool is_string = false;
    if (next != pieces.end() && next->begin == scanner.position()) {
      is_string = next->form == Form::kLiteral;
      if (TouchesWord(text, *next) || (is_string && after_string)) {
        return Misplaced(*next, "right beside a word or a string constant");
      }
      scanner.Skip(next->end - next->begin);
      next = std::find_if(next + 1, pieces.end(), [](const Piece& p) { return p.is_placeholder(); });
    } else {
      const SqlPiece piece = scanner.Next();
      if (next != pieces.end() && next->begin < scanner.position()) {
        return Misplaced(*next, "inside quotes or a comment");
      }
      if (piece.span == SqlSpan::kUnterminated) {
        return BadTemplate("a quote or comment does not end");
      }
      if (piece.span == SqlSpan::kBlank) {
        continue;
      }
      is_string = piece.span == SqlSpan::kString;
      if (is_string && after_string) {
        return BadTemplate("two string constants stand side by side");
      }
    }
    after_string = is_string;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Piece>> ParseSqlTemplate(std::string_view text) {
  PGC_ASSIGN_OR_RETURN(std::vector<Piece> pieces, ParseTemplate(text));
  PGC_RETURN_IF_ERROR(CheckPlacement(text, pieces));
  return pieces;
}

absl::StatusOr<std::vector<Piece>> ParseTextTemplate(std::string_view text) {
  PGC_ASSIGN_OR_RETURN(std::vector<Piece> pieces, ParseTemplate(text));
  for (const Piece& piece : pieces) {
    if (piece.form == Form::kIdent) {
      return BadTemplate("{" + piece.name + ":ident} is for SQL only");
    }
  }
  return pieces;
}

absl::StatusOr<std::string> ValueOf(const Piece& piece, const Values& values) {
  const auto it = values.find(piece.name);
  if (it == values.end()) {
    return InputError("PGC-PLAN-PLACEHOLDER", "there is no value for {" + piece.name + "}",
                      "give every project an attribute of this name, in the registry or in the CSV");
  }
  return it->second;
}

absl::StatusOr<std::string> QuoteWith(std::string_view text, char quote) {
  if (!IsUtf8(text)) {
    return InputError("PGC-SQL-QUOTE", Quoted(text) + " is not valid UTF-8 or holds a NUL");
  }
  std::string out(1, quote);
  for (const char c : text) {
    out += c;
    if (c == quote) {
      out += c;
    }
  }
  out += quote;
  return out;
}

absl::Status BadQualified(std::string_view name, size_t parts) {
  return InputError("PGC-SQL-NAME", Quoted(name) + " is not a name of " + std::to_string(parts) + " parts",
                    parts == 3 ? "write schema.table.column; quote a part that holds a dot"
                               : "write schema.table; quote a part that holds a dot");
}

// Takes one part off the front of `rest`; nothing when it is malformed.
std::optional<std::string> TakePart(std::string_view& rest) {
  std::string part;
  if (!rest.starts_with('"')) {
    const size_t end = std::min(rest.find('.'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(end);
    const bool bad = part.find_first_of("\" \t\r\n") != std::string::npos;
    return bad ? std::nullopt : std::optional(part);
  }
  rest.remove_prefix(1);
  while (!rest.empty()) {
    const bool doubled = rest.starts_with("\"\"");
    if (rest[0] == '"' && !doubled) {
      rest.remove_prefix(1);
      return part;
    }
    part += rest[0];
    rest.remove_prefix(doubled ? 2 : 1);
  }
  return std::nullopt;
}

}  // namespace

bool IsPlaceholderName(std::string_view name) {
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && is_lower(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return is_lower(c) || (c >= '0' && c <= '9') || c == '_';
  });
}

absl::StatusOr<std::vector<std::string>> PlaceholdersIn(std::string_view text) {
  PGC_ASSIGN_OR_RETURN(const std::vector<Piece> pieces, ParseTemplate(text));
  std::vector<std::string> names;
  for (const Piece& piece : pieces) {
    if (piece.is_placeholder() && std::find(names.begin(), names.end(), piece.name) == names.end()) {
      names.push_back(piece.name);
    }
  }
  return names;
}

absl::Status CheckSqlTemplate(std::string_view text) { return ParseSqlTemplate(text).status(); }

absl::Status CheckSqlExpression(std::string_view text) {
  SqlScanner scanner(text);
  int depth = 0;
  bool closed = true;
  while (!scanner.done()) {
    const SqlPiece piece = scanner.Next();
    closed = piece.span != SqlSpan::kUnterminated && !piece.text.starts_with("--");
    if (piece.span == SqlSpan::kCode) {
      depth += piece.text == "(" ? 1 : piece.text == ")" ? -1 : 0;
      if (depth < 0 || piece.text == ";") {
        return NoExpression(depth < 0 ? "a ) has no (" : "a condition may not hold a ;");
      }
    }
  }
  if (!closed) {
    return NoExpression("a quote or comment reaches the end");
  }
  return depth == 0 ? absl::OkStatus() : NoExpression("a ( is not closed");
}

absl::Status CheckTextTemplate(std::string_view text) { return ParseTextTemplate(text).status(); }

absl::StatusOr<std::string> RenderSql(std::string_view text, const Values& values) {
  PGC_ASSIGN_OR_RETURN(const std::vector<Piece> pieces, ParseSqlTemplate(text));
  std::string sql;
  for (const Piece& piece : pieces) {
    if (!piece.is_placeholder()) {
      sql += piece.text;
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const std::string value, ValueOf(piece, values));
    PGC_ASSIGN_OR_RETURN(const std::string quoted,
                         piece.form == Form::kIdent ? QuoteIdent(value) : QuoteLiteral(value));
    sql += quoted;
  }
  return sql;
}

absl::StatusOr<std::string> RenderText(std::string_view text, const Values& values) {
  PGC_ASSIGN_OR_RETURN(const std::vector<Piece> pieces, ParseTextTemplate(text));
  std::string out;
  for (const Piece& piece : pieces) {
    if (!piece.is_placeholder()) {
      out += piece.text;
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const std::string value, ValueOf(piece, values));
    out += value;
  }
  return out;
}

absl::StatusOr<std::string> RenderName(std::string_view text, const Values& values) {
  PGC_ASSIGN_OR_RETURN(std::string name, RenderText(text, values));
  PGC_RETURN_IF_ERROR(CheckName(name));
  return name;
}

absl::Status CheckName(std::string_view name) {
  const auto bad = [&](std::string_view why) {
    return InputError("PGC-PLAN-NAME", "the name " + Quoted(name) + " " + std::string(why),
                      "change the name template or the project's attributes");
  };
  if (name.empty() || name.size() > kMaxNameBytes) {
    return bad("has " + std::to_string(name.size()) + " bytes; PostgreSQL allows 1 to 63");
  }
  if (!IsUtf8(name)) {
    return bad("is not valid UTF-8 or holds a NUL");
  }
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower.starts_with("pg_") ||
      std::find(kReservedNames.begin(), kReservedNames.end(), lower) != kReservedNames.end()) {
    return bad("is reserved");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> QuoteLiteral(std::string_view value) { return QuoteWith(value, '\''); }

absl::StatusOr<std::string> QuoteIdent(std::string_view name) {
  if (name.empty()) {
    return InputError("PGC-SQL-QUOTE", "an identifier may not be empty");
  }
  return QuoteWith(name, '"');
}

absl::StatusOr<std::vector<std::string>> SplitQualified(std::string_view name, size_t parts) {
  std::vector<std::string> split;
  std::string_view rest = name;
  do {
    if (!split.empty()) {
      rest.remove_prefix(1);  // the dot
    }
    const std::optional<std::string> part = TakePart(rest);
    if (!part.has_value() || part->empty() || part->size() > kMaxNameBytes || !IsUtf8(*part)) {
      return BadQualified(name, parts);
    }
    split.push_back(*part);
  } while (rest.starts_with('.'));
  if (!rest.empty() || split.size() != parts) {
    return BadQualified(name, parts);
  }
  return split;
}

absl::StatusOr<std::string> QuoteQualified(std::string_view name) {
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> parts, SplitQualified(name, 2));
  PGC_ASSIGN_OR_RETURN(const std::string schema, QuoteIdent(parts[0]));
  PGC_ASSIGN_OR_RETURN(const std::string table, QuoteIdent(parts[1]));
  return schema + "." + table;
}

}  // namespace pgconvoy::plan
