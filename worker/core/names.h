// The names of everything that an attempt makes outside the store. They are built from hashes and the fence, stay
// under PostgreSQL's 63 bytes, and carry in themselves whose they are: what an old attempt still manages to do, it
// does to a name that nobody else will ever use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgconvoy::worker {

// 16 hex digits that stand for a project of a store.
std::string ProjectHash(std::string_view store_id, std::string_view ref);

struct AttemptNames {
  AttemptNames(std::string_view store_id, std::string_view ref, int64_t fence);

  std::string project_hash;
  // The attempt's own login: pgc_a_<hash>_<fence>.
  std::string login;
  // The database while it is being made: pgc_t_<hash>_<fence>.
  std::string temporary_database;
  // What DROP DATABASE may be told: pgc_d_<hash>_<fence>[_<n>], only after a fence-checked rename.
  std::string DoomedDatabase(int n) const;
  // What a rollback with --discard-writes keeps: pgc_kept_<hash>_<fence>.
  std::string kept;
  // application_name of every session of the attempt: pgc:<hash>:<fence>.
  std::string application_name;
  // Prefixes that find those of every attempt of the project.
  std::string login_prefix;
  std::string temporary_prefix;
  std::string doomed_prefix;
  std::string application_prefix;

 private:
  int64_t fence_;
};

// The fence in a name of one of the forms above; nothing if `name` does not start with `prefix` or has no number there.
std::optional<int64_t> FenceInName(std::string_view name, std::string_view prefix);

// Whose a role or database is. What another migration of the same project made is not ours: it may be in use.
struct Owner {
  std::string store_id;
  std::string ref;
  std::string migration_id;
};
// COMMENT of a role or database of ours: a JSON object that names store, project, migration and fence.
std::string OwnerComment(const Owner& owner, int64_t fence);
// True when `comment` was made by OwnerComment for this owner.
bool IsOwnComment(std::string_view comment, const Owner& owner);
// The project that a comment of this store names.
std::optional<std::string> ProjectOfComment(std::string_view comment, std::string_view store_id);

}  // namespace pgconvoy::worker
