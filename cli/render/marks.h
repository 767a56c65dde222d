// How a state looks: a glyph and its word, so that colour is never needed to tell states apart.
#pragma once

#include <string>
#include <string_view>

#include "cli/render/text.h"
#include "common/model/model.h"

namespace pgconvoy::render {

struct Mark {
  std::string_view glyph;
  std::string_view ascii;
  std::string_view word;
  Tone tone = Tone::kPlain;
};

Mark MarkOf(ProjectState state);
Mark MarkOf(MigrationState state);
Mark MarkOf(BatchState state);
// "connected", "draining", "lost"; for processes also "running", "stopped".
Mark MarkOfWorker(std::string_view state);

// "✔ SUCCEEDED", uncoloured: tables colour whole cells.
std::string Text(const Mark& mark, const Style& style);

}  // namespace pgconvoy::render
