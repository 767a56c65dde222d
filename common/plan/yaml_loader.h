// From a YAML tree to the JSON of v1.Plan, led by the protobuf descriptor: keys, types, enum names and nesting are
// the message's own, so that a field added to plan.proto can be written in a file at once.
//
// Thread safety: pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/plan/problem_list.h"
#include "common/plan/yaml_tree.h"

namespace google::protobuf {
class Descriptor;
}

namespace pgconvoy::plan {

struct LoadedYaml {
  // JSON for JsonStringToMessage; what has a problem is left out.
  std::string json;
  // Field path ("tables[2].where") -> where its value stands.
  std::map<std::string, Place> places;
  // Paths whose problem has been reported; later checks need not say that they are missing.
  std::vector<std::string> reported;

  // The place of `field`, else of the nearest thing around it, else nothing.
  Place PlaceOf(std::string field) const;
  // True when `field`, something in it or something around it has been reported.
  bool IsReported(const std::string& field) const;
};

// Adds PGC-PLAN-UNKNOWN-KEY, -NULL, -TYPE, -RANGE, -ENUM. Every number of a plan is at least 1: a 0 could not be told
// from an absent key, and would silently become the default.
LoadedYaml LoadYaml(const YamlNode& root,
                    const google::protobuf::Descriptor& message,
                    const std::string& file,
                    ProblemList& problems);

}  // namespace pgconvoy::plan
