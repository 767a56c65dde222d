// Sorting the table of contents of a `pg_dump -Fc --schema-only` archive into what a template database holds and
// what is added after the rows have been loaded and verified. Pure: text in, lists out.
//
// Touch triggers would rewrite loaded rows and row-level security would hide rows from VERIFY; so these come last.
// Foreign keys, which cannot be deferred during the load, are in neither list: phases/foreign_keys.h adds them.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace pgconvoy::worker {

struct TocEntry {
  // Identifies the entry in a list for pg_restore -L.
  int64_t dump_id = 0;
  // Catalog (for example 2620, pg_trigger) and row of the object; 0 0 for entries without one.
  int64_t catalog_oid = 0;
  int64_t object_oid = 0;
  // "TABLE", "FK CONSTRAINT", …
  std::string type;
  // The whole line, as pg_restore -L wants it back.
  std::string line;
};

// Reads what `pg_restore -l` prints. PGC-SCHEMA-TOC for a line that is none of its forms or a type that we do not
// know, because what is not understood must not be lost silently.
absl::StatusOr<std::vector<TocEntry>> ParseToc(std::string_view listing);

struct SplitToc {
  // Lists for pg_restore -L, in archive order.
  std::string laid_first;
  std::string added_last;
};

// `skipped_triggers`: oids of triggers that are not carried because their function lies outside the moved schemas;
// their comments are not carried either.
SplitToc Split(const std::vector<TocEntry>& entries, const std::set<int64_t>& skipped_triggers);

// The SQL of `pg_restore -f -` without its header (SET statements that would undo our pinned settings) and without the
// \restrict and \unrestrict lines of `restrict_key`.
std::string BodyOfScript(std::string_view script, std::string_view restrict_key);

}  // namespace pgconvoy::worker
