// The least that isolating projects can cost: libpq and nothing else. For each project one thread makes a role with a
// SCRAM verifier and a clone of a prepared template, gives the clone to the role, logs in as that role, copies the five
// tables through memory, reads them back, and updates the registry. No backup, no fences, no checks, no record of where
// it was; it cannot be resumed, undone or trusted.
#pragma once

#include <string>
#include <vector>

namespace pgconvoy::bench {

struct BareLoop {
  // Conninfos of logins that may do what is needed, password included. `target` without a database.
  std::string source;
  std::string target;
  std::string registry;
  // On the target: a database with the definitions, all of them owned by the role `template_owner`.
  std::string template_database;
  std::string template_owner;
};

// Moves all projects with so many threads; returns seconds. Throws when one of them fails.
double RunBareLoop(const BareLoop& loop, const std::vector<std::string>& refs, int threads);

}  // namespace pgconvoy::bench
