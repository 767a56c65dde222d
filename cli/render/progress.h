// Progress of a migration as text: a block that is redrawn on a terminal, and a line where nothing can be. Pure.
//
// State, progress and estimate are separate fields. Percentages never exceed 100 and reach it only at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/render/text.h"
#include "common/model/model.h"

namespace pgconvoy::render {

struct ProgressView {
  std::string id;
  std::string name;
  MigrationState state = MigrationState::kRunning;
  int64_t total = 0;
  int64_t pending = 0;
  int64_t waiting = 0;
  int64_t running = 0;
  int64_t succeeded = 0;
  int64_t warned = 0;
  int64_t failed = 0;
  int64_t rolled_back = 0;
  int64_t cancelled = 0;
  int64_t skipped = 0;
  int64_t need_operator = 0;
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  // 0: unknown.
  int64_t estimated_bytes = 0;
  int64_t now_ms = 0;
  // Since the migration was submitted.
  int64_t elapsed_ms = 0;
  // Unset before they mean anything.
  std::optional<double> projects_per_second;
  std::optional<double> bytes_per_second;
  std::optional<int64_t> eta_ms;
};

int64_t EndedProjects(const ProgressView& view);
// 0..1000, rounded down.
int Permille(int64_t part, int64_t whole);

// Some lines, each ended, for a terminal of style.width (80 when unlimited).
std::string ProgressBlock(const ProgressView& view, const Style& style);
// One line of key=value, ended.
std::string ProgressLine(const ProgressView& view);
// What a migration came to, for the end of wait and watch: one line, ended.
std::string OutcomeLine(const ProgressView& view, const Style& style);

}  // namespace pgconvoy::render
