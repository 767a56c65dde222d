// A plan that uses every section and has no problem, for tests to break one thing of.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/plan/plan.h"

namespace pgconvoy::plan {

inline constexpr char kSamplePlan[] = R"(version: 1
name: sample
servers:
  shared:
    conninfo: host=db1 port=5432
    reader:
      user: reader
      password: ${env:READER}
    registrar:
      user: registrar
      password: ${file:/run/secrets/registrar}
  isolated:
    conninfo: host=db2
    provisioner:
      user: provisioner
source:
  server: shared
  database: platform
registry:
  server: shared
  database: platform
  table: public.projects
  ref_column: ref
  attribute_columns: [owner_id]
  where: status = 'active'
  estimated_bytes: coalesce(size, 0)
target:
  server: isolated
  database: project_{ref}
  schemas: [auth, storage]
freeze:
  apply:
    - UPDATE public.projects SET frozen = true WHERE ref = {ref}
  undo:
    - UPDATE public.projects SET frozen = false WHERE ref = {ref}
credentials:
  user: project_{ref}
  recipient: ${env:RECIPIENT}
tables:
  - table: auth.users
    where: project_ref = {ref}
  - table: storage.objects
    where: project_ref = {ref} AND owner = {owner_id}
    exclude_columns: [cache]
links:
  - from: storage.objects.owner
    to: auth.users.id
backup:
  directory: /var/backups/pgconvoy
  compression_level: 3
cutover:
  set:
    database_name: "{database}"
    password_hash: "{verifier}"
checks:
  - name: has-users
    stage: POST
    place: TARGET
    sql: SELECT count(*) > 0 FROM auth.users WHERE project_ref = {ref}
execution:
  batch_size: 10
)";

// The sample with the first `old` replaced; fails the test when there is none.
inline std::string SampleWith(const std::string& old, const std::string& replacement) {
  std::string text = kSamplePlan;
  const size_t at = text.find(old);
  EXPECT_NE(at, std::string::npos) << old;
  return at == std::string::npos ? text : text.replace(at, old.size(), replacement);
}

// Line of the first occurrence of `needle`; 0 for an empty needle.
inline int LineOf(const std::string& text, const std::string& needle) {
  const size_t at = text.find(needle);
  EXPECT_NE(at, std::string::npos) << needle;
  return needle.empty() ? 0
                        : 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

// "PGC-X:7 field" for each problem.
inline std::vector<std::string> Brief(const std::vector<Problem>& problems) {
  std::vector<std::string> brief;
  for (const Problem& problem : problems) {
    brief.push_back(problem.code + ":" + std::to_string(problem.line) + (problem.field.empty() ? "" : " ") +
                    problem.field);
  }
  return brief;
}

inline std::string FormatAll(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& problem : problems) {
    text += Format(problem) + "\n";
  }
  return text;
}

}  // namespace pgconvoy::plan
