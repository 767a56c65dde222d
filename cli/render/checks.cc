#include "cli/render/checks.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "cli/render/marks.h"
#include "cli/render/table.h"
#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

// Projects named in one group.
constexpr size_t kMaxNamed = 5;

Mark MarkOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPassed: return {"✔", "+", "ok", Tone::kGood};
    case Verdict::kWarning: return {"⚠", "~", "warning", Tone::kWarn};
    case Verdict::kFailed: return {"✖", "x", "FAILED", Tone::kBad};
  }
  return {"?", "?", "UNKNOWN", Tone::kBad};
}

// Those that passed differ in nothing that matters.
auto KeyOf(const CheckView& check) {
  const bool passed = check.verdict == Verdict::kPassed;
  return std::tuple(-static_cast<int>(check.verdict), check.name, passed ? "" : check.message,
                    passed ? "" : check.remedy);
}

std::string Found(const CheckView& check) {
  std::string text = check.verdict == Verdict::kPassed ? "" : check.message;
  if (!check.measured.empty()) {
    text += (text.empty() ? "" : ": ") + check.measured;
  }
  return check.needed.empty() ? text : text + (text.empty() ? "needed " : ", needed ") + check.needed;
}

Cell VerdictCell(const CheckView& check, const Style& style) {
  const Mark mark = MarkOf(check.verdict);
  return {Text(mark, style), mark.tone};
}

std::string Whom(const CheckGroup& group) {
  if (group.refs.empty()) {
    return "";
  }
  const bool more = static_cast<size_t>(group.count) > group.refs.size();
  return " (" + Join(group.refs, ", ") + (more ? ", …" : "") + ")";
}

std::string Advice(const std::vector<CheckGroup>& groups) {
  std::string text;
  for (const CheckGroup& group : groups) {
    if (group.check.verdict != Verdict::kPassed && !group.check.remedy.empty()) {
      text += Printable(group.check.name + Whom(group) + ": " + group.check.remedy) + "\n";
    }
  }
  return text.empty() ? "" : "\n" + text;
}

std::string Counts(const std::vector<CheckView>& checks) {
  std::map<Verdict, int64_t> counts;
  std::set<std::string> refs;
  for (const CheckView& check : checks) {
    ++counts[check.verdict];
    refs.insert(check.ref);
  }
  refs.erase("");
  const auto projects = static_cast<int64_t>(refs.size());
  return "\n" + Count(projects) + (projects == 1 ? " project: " : " projects: ") + Count(counts[Verdict::kPassed]) +
         " checks ok, " + Count(counts[Verdict::kWarning]) + " warnings, " + Count(counts[Verdict::kFailed]) +
         " FAILED\n";
}

}  // namespace

std::vector<CheckGroup> GroupChecks(const std::vector<CheckView>& checks) {
  std::map<decltype(KeyOf(CheckView())), CheckGroup> groups;
  for (const CheckView& check : checks) {
    CheckGroup& group = groups[KeyOf(check)];
    if (group.count++ == 0) {
      group.check = check;
      group.check.ref.clear();
    }
    group.check.measured = group.check.measured == check.measured ? check.measured : "";
    group.check.needed = group.check.needed == check.needed ? check.needed : "";
    if (!check.ref.empty() && group.refs.size() < kMaxNamed) {
      group.refs.push_back(check.ref);
    }
  }
  std::vector<CheckGroup> sorted;
  for (auto& [key, group] : groups) {
    sorted.push_back(std::move(group));
  }
  return sorted;
}

std::string DrawChecks(const std::vector<CheckView>& checks, const Style& style) {
  const std::vector<CheckGroup> groups = GroupChecks(checks);
  Table table{{{"VERDICT"}, {"CHECK"}, {"TIMES", true}, {"FOUND", false, false, true}}, {}};
  for (const CheckGroup& group : groups) {
    table.rows.push_back(
        {VerdictCell(group.check, style), {group.check.name}, {Count(group.count)}, {Found(group.check)}});
  }
  return Draw(table, false, style) + Advice(groups) + Counts(checks);
}

std::string DrawEachCheck(const std::vector<CheckView>& checks, const Style& style) {
  Table table{{{"PROJECT"}, {"VERDICT"}, {"CHECK"}, {"FOUND", false, false, true}}, {}};
  for (const CheckView& check : checks) {
    table.rows.push_back(
        {{check.ref.empty() ? "-" : check.ref}, VerdictCell(check, style), {check.name}, {Found(check)}});
  }
  return Draw(table, false, style) + Advice(GroupChecks(checks)) + Counts(checks);
}

}  // namespace pgconvoy::render
