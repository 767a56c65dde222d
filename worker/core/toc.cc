#include "worker/core/toc.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::worker {
namespace {

constexpr std::array<std::string_view, 42> kLaidFirst = {
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DOMAIN",
    "ENCODING",
    "EXTENSION",
    "FUNCTION",
    "INDEX ATTACH",
    "INDEX",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "OPERATOR",
    "PROCEDURE",
    "RULE",
    "SCHEMA",
    "SEARCHPATH",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SEQUENCE",
    "SHELL TYPE",
    "STATISTICS",
    "STDSTRINGS",
    "TABLE ATTACH",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TYPE",
    "VIEW",
    "DATABASE",
    "BLOB METADATA",
    "LANGUAGE",
    "PROCEDURAL LANGUAGE",
    "DEFAULT ACL",
};
// CHECK CONSTRAINT: only those that were never validated have an entry of their own, and old rows may break them.
constexpr std::array<std::string_view, 5> kAddedLast = {"CHECK CONSTRAINT", "FK CONSTRAINT", "POLICY", "ROW SECURITY",
                                                        "TRIGGER"};
// The catalog of triggers, for the entries whose object oid is a trigger's.
constexpr int64_t kPgTriggerOid = 2620;

// The longest, because one may begin another ("TABLE" and "TABLE ATTACH").
template <typename Types>
std::string_view MatchType(std::string_view text, const Types& types) {
  std::string_view best;
  for (const std::string_view type : types) {
    const bool whole = text.size() == type.size() || (text.size() > type.size() && text[type.size()] == ' ');
    if (text.starts_with(type) && whole && type.size() > best.size()) {
      best = type;
    }
  }
  return best;
}

// A comment goes with its object; one too many in the second part does no harm, as by then every object exists.
bool IsAddedLast(const TocEntry& entry) {
  if (entry.type == "COMMENT") {
    const auto names = [&entry](const char* kind) { return entry.line.find(kind) != std::string::npos; };
    return names(" TRIGGER ") || names(" POLICY ") || names(" CONSTRAINT ");
  }
  return std::find(kAddedLast.begin(), kAddedLast.end(), entry.type) != kAddedLast.end();
}

absl::StatusOr<TocEntry> ParseLine(std::string_view line) {
  const auto malformed = [line] {
    return MakeError(Verdict::kPermanent, "PGC-SCHEMA-TOC",
                     "the source's schema holds something that cannot be carried: " + Printable(line),
                     "leave it out of target.schemas or drop it");
  };
  TocEntry entry;
  entry.line = std::string(line);
  const size_t semicolon = line.find("; ");
  if (semicolon == std::string_view::npos) {
    return malformed();
  }
  std::string_view rest = line.substr(semicolon + 2);
  const size_t first_space = rest.find(' ');
  const size_t second_space = first_space == std::string_view::npos ? first_space : rest.find(' ', first_space + 1);
  if (second_space == std::string_view::npos) {
    return malformed();
  }
  const auto dump_id = ParseDecimal(line.substr(0, semicolon));
  const auto catalog = ParseDecimal(rest.substr(0, first_space));
  const auto object = ParseDecimal(rest.substr(first_space + 1, second_space - first_space - 1));
  const std::string_view tail = rest.substr(second_space + 1);
  const std::string_view last = MatchType(tail, kAddedLast);
  const std::string_view type = last.empty() ? MatchType(tail, kLaidFirst) : last;
  if (!dump_id || !catalog || !object || type.empty()) {
    return malformed();
  }
  entry.dump_id = *dump_id;
  entry.catalog_oid = *catalog;
  entry.object_oid = *object;
  entry.type = std::string(type);
  return entry;
}

void EraseLine(std::string& text, const std::string& line) {
  if (const size_t at = text.find(line); at != std::string::npos) {
    text.erase(at, line.size());
  }
}

}  // namespace

absl::StatusOr<std::vector<TocEntry>> ParseToc(std::string_view listing) {
  std::vector<TocEntry> entries;
  while (!listing.empty()) {
    const size_t end = listing.find('\n');
    const std::string_view line = listing.substr(0, end);
    listing.remove_prefix(end == std::string_view::npos ? listing.size() : end + 1);
    if (line.empty() || line[0] == ';') {
      continue;
    }
    PGC_ASSIGN_OR_RETURN(TocEntry entry, ParseLine(line));
    entries.push_back(std::move(entry));
  }
  return entries;
}

SplitToc Split(const std::vector<TocEntry>& entries, const std::set<int64_t>& skipped_triggers) {
  SplitToc split;
  bool skipped = false;
  for (const TocEntry& entry : entries) {
    // pg_dump writes an object's comment right behind it; without the object it could not be restored.
    const bool of_skipped = skipped && entry.type == "COMMENT";
    skipped = of_skipped || (entry.catalog_oid == kPgTriggerOid && skipped_triggers.contains(entry.object_oid));
    if (!skipped && entry.type != "FK CONSTRAINT") {
      (IsAddedLast(entry) ? split.added_last : split.laid_first) += entry.line + "\n";
    }
  }
  return split;
}

std::string BodyOfScript(std::string_view script, std::string_view restrict_key) {
  std::string text(script);
  EraseLine(text, "\\restrict " + std::string(restrict_key) + "\n");
  EraseLine(text, "\\unrestrict " + std::string(restrict_key) + "\n");
  const size_t first_object = text.find("--\n-- Name: ");
  return first_object == std::string::npos ? "" : text.substr(first_object);
}

}  // namespace pgconvoy::worker
