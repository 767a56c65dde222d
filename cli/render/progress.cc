#include "cli/render/progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "cli/render/marks.h"
#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

constexpr size_t kLeastBar = 10;
constexpr size_t kMostBar = 60;
constexpr int kDefaultWidth = 80;

struct StateCount {
  ProjectState state;
  const char* key;
  int64_t count;
};

std::vector<StateCount> Counts(const ProgressView& view) {
  return {{ProjectState::kSucceeded, "succeeded", view.succeeded},
          {ProjectState::kSucceededWithWarnings, "warned", view.warned},
          {ProjectState::kFailed, "failed", view.failed},
          {ProjectState::kRolledBack, "rolled_back", view.rolled_back},
          {ProjectState::kCancelled, "cancelled", view.cancelled},
          {ProjectState::kSkipped, "skipped", view.skipped},
          {ProjectState::kNeedsOperator, "need_operator", view.need_operator},
          {ProjectState::kRunning, "running", view.running},
          {ProjectState::kWaiting, "waiting", view.waiting},
          {ProjectState::kPending, "pending", view.pending}};
}

std::string Percent(int permille) {
  return std::to_string(permille / 10) + "." + std::to_string(permille % 10) + "%";
}

std::string OneDecimal(double value) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%.1f", value);
  return buffer;
}

std::string Bar(int permille, size_t columns, const Style& style) {
  const size_t full = static_cast<size_t>(permille) * columns / 1000;
  std::string done;
  std::string left;
  for (size_t i = 0; i < columns; ++i) {
    (i < full ? done : left) += style.ascii ? (i < full ? "#" : "-") : (i < full ? "█" : "░");
  }
  return Paint(done, Tone::kGood, style) + Paint(left, Tone::kFaint, style);
}

std::string BarLine(const ProgressView& view, size_t width, const Style& style) {
  const int permille = Permille(EndedProjects(view), view.total);
  const std::string head = "done   " + Count(EndedProjects(view)) + "/" + Count(view.total) + " ";
  const std::string tail = " " + Percent(permille);
  const size_t used = Columns(head) + Columns(tail);
  const size_t room = width > used ? width - used : 0;
  if (room < kLeastBar) {
    return head + Percent(permille) + "\n";
  }
  return head + Bar(permille, std::min(room, kMostBar), style) + tail + "\n";
}

// The states that occur, wrapped at `width`.
std::string StateLines(const ProgressView& view, size_t width, const Style& style) {
  std::string text = "state ";
  size_t used = Columns(text);
  for (const StateCount& item : Counts(view)) {
    if (item.count == 0) {
      continue;
    }
    const Mark mark = MarkOf(item.state);
    const std::string part = Text(mark, style) + " " + Count(item.count);
    if (used + 2 + Columns(part) > width) {
      text += "\n      ";
      used = 6;
    }
    text += (used == 6 ? " " : "  ") + Paint(part, mark.tone, style);
    used += Columns(part) + (used == 6 ? 1 : 2);
  }
  return text + "\n";
}

std::string BytesLine(const ProgressView& view) {
  std::string text = "copied " + Bytes(view.bytes_copied);
  if (view.estimated_bytes > view.bytes_copied) {
    text += " of about " + Bytes(view.estimated_bytes);
  }
  text += "  " + Count(view.rows_copied) + " rows";
  if (view.bytes_per_second) {
    text += "  " + Bytes(static_cast<int64_t>(*view.bytes_per_second)) + "/s";
  }
  return text;
}

std::string TimeLine(const ProgressView& view, const Style& style) {
  std::string text = "time   " + Duration(view.elapsed_ms);
  if (view.projects_per_second) {
    text += "  " + OneDecimal(*view.projects_per_second * 60) + " projects/min";
  }
  const char* unknown = style.ascii ? "-" : "–";
  text += "  ETA " + (view.eta_ms ? "in " + Duration(*view.eta_ms) : unknown);
  return text;
}

// The state is never clipped; on a narrow terminal the clock goes first, then the name.
std::string TitleLine(const ProgressView& view, size_t width, const Style& style) {
  const Mark mark = MarkOf(view.state);
  const std::string state = Text(mark, style);
  const std::string title = "migration " + Printable(view.id) + "  " + Printable(view.name) + "  ";
  const std::string clock = "  " + ClockTime(view.now_ms) + " UTC";
  const bool has_clock = Columns(title) + Columns(state) + Columns(clock) <= width;
  const size_t room = width > Columns(state) ? width - Columns(state) : 0;
  return Clip(title, room, style) + Paint(state, mark.tone, style) + (has_clock ? clock : "");
}

}  // namespace

int64_t EndedProjects(const ProgressView& view) {
  const int64_t open = view.pending + view.waiting + view.running;
  return std::clamp<int64_t>(view.total - open, 0, view.total);
}

int Permille(int64_t part, int64_t whole) {
  if (whole <= 0) {
    return 0;
  }
  const auto share = static_cast<int>(static_cast<long double>(part) * 1000 / static_cast<long double>(whole));
  return std::clamp(share, 0, part < whole ? 999 : 1000);
}

std::string ProgressBlock(const ProgressView& view, const Style& style) {
  const auto width = static_cast<size_t>(style.width > 0 ? style.width : kDefaultWidth);
  return TitleLine(view, width, style) + "\n" + BarLine(view, width, style) + StateLines(view, width, style) +
         Clip(BytesLine(view), width, style) + "\n" + Clip(TimeLine(view, style), width, style) + "\n";
}

std::string ProgressLine(const ProgressView& view) {
  std::string line = Time(view.now_ms) + " migration=" + Printable(view.id) +
                     " state=" + std::string(Name(view.state)) + " done=" + std::to_string(EndedProjects(view)) +
                     "/" + std::to_string(view.total) +
                     " percent=" + OneDecimal(Permille(EndedProjects(view), view.total) / 10.0);
  for (const StateCount& item : Counts(view)) {
    if (item.count > 0) {
      line += std::string(" ") + item.key + "=" + std::to_string(item.count);
    }
  }
  line += " rows=" + std::to_string(view.rows_copied) + " bytes=" + std::to_string(view.bytes_copied);
  if (view.projects_per_second) {
    line += " projects_per_min=" + OneDecimal(*view.projects_per_second * 60);
  }
  if (view.eta_ms) {
    line += " eta_s=" + std::to_string(*view.eta_ms / 1000);
  }
  return line + "\n";
}

std::string OutcomeLine(const ProgressView& view, const Style& style) {
  const Mark mark = MarkOf(view.state);
  std::string text = "migration " + Printable(view.id) + " " + Paint(Text(mark, style), mark.tone, style) +
                     " after " + Duration(view.elapsed_ms) + ":";
  for (const StateCount& item : Counts(view)) {
    if (item.count > 0) {
      text += " " + Count(item.count) + " " + std::string(Name(item.state));
    }
  }
  return text + "; " + Count(view.rows_copied) + " rows, " + Bytes(view.bytes_copied) + "\n";
}

}  // namespace pgconvoy::render
