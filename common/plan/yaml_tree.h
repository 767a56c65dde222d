// YAML text as a tree of nodes that know their places. Stricter than yaml-cpp, which accepts duplicate keys, later
// documents, tags, anchors that refer to themselves and much more: those are problems here. Sizes are bounded by
// kMaxPlanBytes and kMaxDepth, so no input can make the tree large.
//
// Thread safety: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/plan/problem_list.h"

namespace pgconvoy::plan {

// Deepest nesting of lists and mappings. A plan needs five.
inline constexpr size_t kMaxDepth = 32;

// Both from 1, in bytes.
struct Place {
  int line = 0;
  int column = 0;
};

struct YamlEntry;

struct YamlNode {
  // kRefused: an alias; its problem has been added, and there is nothing more to say about it.
  enum class Kind { kNull, kScalar, kSequence, kMapping, kRefused };
  Kind kind = Kind::kNull;
  Place place;
  // kScalar: the text; `quoted` unless it was plain.
  std::string text;
  bool quoted = false;
  // kSequence.
  std::vector<YamlNode> items;
  // kMapping, in order, without the entries whose key occurred before.
  std::vector<YamlEntry> entries;
};

struct YamlEntry {
  std::string key;
  Place place;
  YamlNode value;
};

// The root mapping, or nothing when the text is too broken to go on. Problems are added either way: codes
// PGC-PLAN-EMPTY, -ENCODING, -TOO-LARGE, -TAB, -SYNTAX, -ANCHOR, -TAG, -DOCUMENTS, -ROOT, -DEPTH, -DUPLICATE-KEY and
// -KEY.
std::optional<YamlNode> ParseYaml(std::string_view text, const std::string& file, ProblemList& problems);

}  // namespace pgconvoy::plan
