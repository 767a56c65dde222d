// Whether the projects of a migration fit its plan: each has the attributes that the plan's templates use, each gets
// names that PostgreSQL takes, and no two get the same database or login. Backups and sealed passwords are kept by
// ref, so that distinct refs keep them apart already.
//
// Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "common/plan/template.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::plan {

class ProjectCheck {
 public:
  // `plan` is valid (ValidatePlan) and has its defaults.
  explicit ProjectCheck(const v1::Plan& plan);

  // Once for each project; refs are distinct. InvalidArgument, with the ref or refs in the message:
  //   PGC-PLAN-PLACEHOLDER  an attribute that a template uses is missing
  //   PGC-PLAN-ATTRIBUTE    an attribute has the name of a placeholder that means something else
  //   PGC-PLAN-NAME         a name would be too long, reserved or otherwise impossible
  //   PGC-PLAN-COLLISION    another project would get the same database or login
  absl::Status Add(const std::string& ref, const Values& attributes);

 private:
  // A name template of the plan.
  struct Name {
    std::string field;
    std::string text;
    // What no two projects may share: "database", "login"; empty when they may.
    std::string what;
    // Set when only a look at all the names shows whether they differ.
    bool may_collide = false;
    // Filled when may_collide.
    std::unordered_map<std::string, std::string> ref_of;
  };

  void UseCheck(const std::string& field, const v1::Check& check);
  void Use(const std::string& field, const std::string& text);
  void UseTransform(const v1::Transform& transform);
  void AddName(const std::string& field, const std::string& text, const std::string& what);
  absl::Status CheckAttributes(const std::string& ref, const Values& attributes) const;
  absl::Status Claim(Name& name, const std::string& ref, const Values& values);

  // An attribute and the field that uses it first.
  std::map<std::string, std::string> needed_;
  std::vector<Name> names_;
};

}  // namespace pgconvoy::plan
