#include "common/plan/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "common/plan/input_file.h"

namespace pgconvoy::plan {
namespace {

// Thrown by the handler through yaml-cpp to end the parse; its problem has been added already.
struct StopParsing {};

constexpr char kAnchorRemedy[] = "write the value out; a plan uses no &, * or <<";

// YAML takes a lone CR as a line break, but yaml-cpp does not count it as one.
std::string WithLineFeeds(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool before_lf = i + 1 < text.size() && text[i + 1] == '\n';
    if (text[i] != '\r') {
      out += text[i];
    } else if (!before_lf) {
      out += '\n';
    }
  }
  return out;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, const std::string& file, ProblemList& problems)
      : text_(text), lines_(SplitLines(text)), file_(file), problems_(problems) {}

  void OnDocumentStart(const YAML::Mark& mark) override;
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override;
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override;
  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t anchor,
                const std::string& value) override;
  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override;
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override;
  void OnMapEnd() override { Close(); }

  void AddSyntaxError(const YAML::Exception& error);
  std::optional<YamlNode> TakeRoot();

 private:
  // A list or mapping that is still open.
  struct Frame {
    YamlNode node;
    // In a mapping: the key whose value comes next.
    std::optional<YamlEntry> key;
    // That key occurred before: its value is read and dropped.
    bool drop = false;
  };

  void Add(Place place, std::string_view code, std::string message, std::string_view remedy);
  void Check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor);
  bool IndentedWithTab(int line) const;
  bool ExpectsKey() const;
  void TakeKey(const YamlNode& node);
  void Deliver(YamlNode node);
  void Open(YamlNode::Kind kind, Place place);
  void Close();

  std::string_view text_;
  std::vector<std::string_view> lines_;
  const std::string& file_;
  ProblemList& problems_;
  std::vector<Frame> open_;
  std::optional<YamlNode> root_;
  int documents_ = 0;
};

Place PlaceOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

void TreeBuilder::Add(Place place, std::string_view code, std::string message, std::string_view remedy) {
  problems_.Add(
      {file_, place.line, place.column, "", std::string(code), std::move(message), std::string(remedy), false});
  if (problems_.full()) {
    throw StopParsing();
  }
}

bool TreeBuilder::IndentedWithTab(int line) const {
  const auto index = static_cast<size_t>(line - 1);
  if (line < 1 || index >= lines_.size()) {
    return false;
  }
  const std::string_view text = lines_[index];
  return text.substr(0, std::min(text.find_first_not_of(" \t"), text.size())).find('\t') != std::string_view::npos;
}

void TreeBuilder::Check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
  const Place place = PlaceOf(mark);
  if (IndentedWithTab(place.line)) {
    Add(place, "PGC-PLAN-TAB", "the line is indented with a tab", "use spaces");
    throw StopParsing();
  }
  if (anchor != YAML::NullAnchor) {
    Add(place, "PGC-PLAN-ANCHOR", "anchors are not allowed", kAnchorRemedy);
  }
  // yaml-cpp says "?" for plain and "!" for quoted text, but "!" also for the tag that is written so.
  const auto at = static_cast<size_t>(mark.pos);
  const bool written = at < text_.size() && text_[at] == '!';
  if (written || (!tag.empty() && tag != "?" && tag != "!")) {
    Add(place, "PGC-PLAN-TAG", "tags are not allowed", "remove the word that begins with !");
  }
}

bool TreeBuilder::ExpectsKey() const {
  return !open_.empty() && open_.back().node.kind == YamlNode::Kind::kMapping && !open_.back().key.has_value();
}

void TreeBuilder::TakeKey(const YamlNode& node) {
  Frame& frame = open_.back();
  const auto before = std::find_if(frame.node.entries.begin(), frame.node.entries.end(),
                                   [&](const YamlEntry& entry) { return entry.key == node.text; });
  frame.drop = before != frame.node.entries.end();
  if (node.kind != YamlNode::Kind::kScalar) {
    Add(node.place, "PGC-PLAN-KEY", "a key must be a word", "");
    frame.drop = true;
  } else if (!node.quoted && node.text == "<<") {
    Add(node.place, "PGC-PLAN-ANCHOR", "merge keys are not allowed", kAnchorRemedy);
    frame.drop = true;
  } else if (frame.drop) {
    Add(node.place, "PGC-PLAN-DUPLICATE-KEY",
        "the key \"" + node.text + "\" of line " + std::to_string(before->place.line) + " occurs again in line " +
            std::to_string(node.place.line),
        "remove one of them");
  }
  frame.key = YamlEntry{node.text, node.place, {}};
}

void TreeBuilder::Deliver(YamlNode node) {
  if (ExpectsKey()) {
    TakeKey(node);
    return;
  }
  if (open_.empty()) {
    root_ = std::move(node);
    return;
  }
  Frame& frame = open_.back();
  if (frame.node.kind == YamlNode::Kind::kSequence) {
    frame.node.items.push_back(std::move(node));
    return;
  }
  if (node.kind == YamlNode::Kind::kNull) {
    node.place = frame.key->place;  // yaml-cpp gives the place of what comes after the gap
  }
  if (!frame.drop) {
    frame.key->value = std::move(node);
    frame.node.entries.push_back(*std::move(frame.key));
  }
  frame.key.reset();
}

void TreeBuilder::Open(YamlNode::Kind kind, Place place) {
  if (open_.size() == kMaxDepth) {
    Add(place, "PGC-PLAN-DEPTH", "nested more than " + std::to_string(kMaxDepth) + " levels deep", "");
    throw StopParsing();
  }
  Frame frame;
  frame.node.kind = kind;
  frame.node.place = place;
  open_.push_back(std::move(frame));
}

void TreeBuilder::Close() {
  YamlNode node = std::move(open_.back().node);
  open_.pop_back();
  Deliver(std::move(node));
}

void TreeBuilder::OnDocumentStart(const YAML::Mark& mark) {
  if (++documents_ > 1) {
    Add(PlaceOf(mark), "PGC-PLAN-DOCUMENTS", "a second document begins here", "one file holds one plan");
    throw StopParsing();
  }
}

void TreeBuilder::OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) {
  if (anchor != YAML::NullAnchor) {
    Check(mark, "", anchor);
  }
  YamlNode node;
  node.place = PlaceOf(mark);
  Deliver(std::move(node));
}

void TreeBuilder::OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) {
  Add(PlaceOf(mark), "PGC-PLAN-ANCHOR", "aliases are not allowed", kAnchorRemedy);
  YamlNode node;
  node.kind = YamlNode::Kind::kRefused;
  node.place = PlaceOf(mark);
  Deliver(std::move(node));
}

void TreeBuilder::OnScalar(const YAML::Mark& mark,
                           const std::string& tag,
                           YAML::anchor_t anchor,
                           const std::string& value) {
  Check(mark, tag, anchor);
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.place = PlaceOf(mark);
  node.text = value;
  node.quoted = tag != "?";
  if (value.find('\0') != std::string::npos) {
    Add(node.place, "PGC-PLAN-ENCODING", "the text holds a NUL", "");
  }
  Deliver(std::move(node));
}

void TreeBuilder::OnSequenceStart(const YAML::Mark& mark,
                                  const std::string& tag,
                                  YAML::anchor_t anchor,
                                  YAML::EmitterStyle::value /*style*/) {
  Check(mark, tag, anchor);
  Open(YamlNode::Kind::kSequence, PlaceOf(mark));
}

void TreeBuilder::OnMapStart(const YAML::Mark& mark,
                             const std::string& tag,
                             YAML::anchor_t anchor,
                             YAML::EmitterStyle::value /*style*/) {
  Check(mark, tag, anchor);
  Open(YamlNode::Kind::kMapping, PlaceOf(mark));
}

void TreeBuilder::AddSyntaxError(const YAML::Exception& error) {
  const Place place = PlaceOf(error.mark);
  Problem problem{file_, std::max(place.line, 0), std::max(place.column, 0), "", "PGC-PLAN-SYNTAX", error.msg, "",
                  false};
  if (IndentedWithTab(place.line)) {
    problem.code = "PGC-PLAN-TAB";
    problem.message = "the line is indented with a tab";
    problem.remedy = "use spaces";
  } else if (error.msg == YAML::ErrorMsg::UNKNOWN_ANCHOR) {
    problem.code = "PGC-PLAN-ANCHOR";
    problem.message = "aliases are not allowed";
    problem.remedy = std::string(kAnchorRemedy) + ", or quote a text that begins with *";
  }
  problems_.Add(std::move(problem));
}

std::optional<YamlNode> TreeBuilder::TakeRoot() {
  const bool empty = !root_.has_value() || root_->kind == YamlNode::Kind::kNull;
  if (!empty && root_->kind == YamlNode::Kind::kMapping) {
    return std::move(root_);
  }
  const Place place = empty ? Place{} : root_->place;
  problems_.Add({file_, place.line, place.column, "", empty ? "PGC-PLAN-EMPTY" : "PGC-PLAN-ROOT",
                 empty ? "the plan is empty" : "the plan must be a mapping of keys to values",
                 empty ? "start from plans/isolate-projects.yaml" : "begin with \"version: 1\"", false});
  return std::nullopt;
}

// Everything that must be right before yaml-cpp sees the text: it stops silently at a byte 4, for example.
bool AcceptText(std::string_view text, const std::string& file, ProblemList& problems) {
  if (text.size() > kMaxPlanBytes) {
    problems.Add({file, 0, 0, "", "PGC-PLAN-TOO-LARGE", "the plan is larger than 1 MiB",
                  "a plan describes one project; the list of projects is a CSV file", false});
    return false;
  }
  if (auto fault = FindEncodingFault(text)) {
    problems.Add({file, fault->line, 0, "", "PGC-PLAN-ENCODING", fault->message, fault->remedy, false});
    return false;
  }
  return true;
}

}  // namespace

std::optional<YamlNode> ParseYaml(std::string_view text, const std::string& file, ProblemList& problems) {
  if (!AcceptText(text, file, problems)) {
    return std::nullopt;
  }
  const std::string clean = WithLineFeeds(WithoutBom(text));
  TreeBuilder builder(clean, file, problems);
  try {
    std::istringstream in(clean);
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const StopParsing&) {
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    builder.AddSyntaxError(error);
    return std::nullopt;
  }
  return builder.TakeRoot();
}

}  // namespace pgconvoy::plan
