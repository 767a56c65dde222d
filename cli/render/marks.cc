#include "cli/render/marks.h"

namespace pgconvoy::render {

Mark MarkOf(ProjectState state) {
  const std::string_view word = Name(state);
  switch (state) {
    case ProjectState::kPending: return {"·", ".", word, Tone::kFaint};
    case ProjectState::kWaiting: return {"⧗", "o", word, Tone::kPlain};
    case ProjectState::kRunning: return {"▶", ">", word, Tone::kBusy};
    case ProjectState::kSucceeded: return {"✔", "+", word, Tone::kGood};
    case ProjectState::kSucceededWithWarnings: return {"⚠", "~", word, Tone::kWarn};
    case ProjectState::kFailed: return {"✖", "x", word, Tone::kBad};
    case ProjectState::kRolledBack: return {"↺", "<", word, Tone::kWarn};
    case ProjectState::kCancelled: return {"⊘", "/", word, Tone::kWarn};
    case ProjectState::kSkipped: return {"»", "-", word, Tone::kFaint};
    case ProjectState::kNeedsOperator: return {"!", "!", word, Tone::kBad};
  }
  return {"?", "?", "UNKNOWN", Tone::kBad};
}

Mark MarkOf(MigrationState state) {
  const std::string_view word = Name(state);
  switch (state) {
    case MigrationState::kRunning: return {"▶", ">", word, Tone::kBusy};
    case MigrationState::kPaused: return {"‖", "=", word, Tone::kWarn};
    case MigrationState::kCancelling: return {"⊘", "/", word, Tone::kWarn};
    case MigrationState::kRollingBack: return {"↺", "<", word, Tone::kWarn};
    case MigrationState::kSucceeded: return {"✔", "+", word, Tone::kGood};
    case MigrationState::kSucceededWithWarnings: return {"⚠", "~", word, Tone::kWarn};
    case MigrationState::kFailed: return {"✖", "x", word, Tone::kBad};
    case MigrationState::kRolledBack: return {"↺", "<", word, Tone::kWarn};
    case MigrationState::kCancelled: return {"⊘", "/", word, Tone::kWarn};
  }
  return {"?", "?", "UNKNOWN", Tone::kBad};
}

Mark MarkOf(BatchState state) {
  const std::string_view word = Name(state);
  switch (state) {
    case BatchState::kWaiting: return {"⧗", "o", word, Tone::kPlain};
    case BatchState::kLeased: return {"▶", ">", word, Tone::kBusy};
    case BatchState::kDone: return {"✔", "+", word, Tone::kGood};
  }
  return {"?", "?", "UNKNOWN", Tone::kBad};
}

Mark MarkOfWorker(std::string_view state) {
  if (state == "connected" || state == "running") {
    return {"✔", "+", state, Tone::kGood};
  }
  if (state == "draining") {
    return {"⧗", "o", state, Tone::kWarn};
  }
  if (state == "drained") {
    return {"–", "-", state, Tone::kPlain};
  }
  return {"✖", "x", state, Tone::kBad};
}

std::string Text(const Mark& mark, const Style& style) {
  return std::string(style.ascii ? mark.ascii : mark.glyph) + " " + std::string(mark.word);
}

}  // namespace pgconvoy::render
