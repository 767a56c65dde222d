// One project or one migration in full, as text. Pure.
//
// Every description opens with a sentence that says what is happening, why, and what can be done.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/render/progress.h"
#include "cli/render/text.h"
#include "common/model/model.h"

namespace pgconvoy::render {

struct ErrorView {
  std::string verdict;
  std::string code;
  std::string message;
  std::string remedy;
};

struct AttemptView {
  int number = 0;
  int64_t fence = 0;
  Direction direction = Direction::kForward;
  std::string worker;
  int64_t start_ms = 0;
  // 0 while it runs.
  int64_t end_ms = 0;
  std::string phase;
  // Empty while it runs.
  std::string outcome;
  std::optional<ErrorView> error;
};

struct ResultView {
  std::string phase;
  Direction direction = Direction::kForward;
  int64_t fence = 0;
  int64_t duration_ms = 0;
  // "21 tables, 812 rows, 17.0 MiB".
  std::string summary;
};

struct ProjectView {
  std::string ref;
  std::string migration_id;
  std::string batch_id;
  ProjectState state = ProjectState::kPending;
  Direction direction = Direction::kForward;
  std::string phase;
  int64_t fence = 0;
  int attempts = 0;
  std::string worker;
  std::optional<ErrorView> error;
  std::vector<std::string> warnings;
  std::map<std::string, std::string> attributes;
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  int64_t estimated_bytes = 0;
  std::string wait_cause;
  int64_t update_ms = 0;
  std::vector<AttemptView> history;
  std::vector<ResultView> results;
};

struct MigrationView {
  ProgressView progress;
  std::string request_id;
  std::string plan_hash;
  int64_t create_ms = 0;
  // 0 until ended.
  int64_t end_ms = 0;
  std::vector<std::string> phases;
};

// What a wait cause means, "" for an unknown one: "every token of the target server is in use; …".
std::string_view WaitSentence(std::string_view cause);

std::string DescribeProject(const ProjectView& project, const Style& style);
std::string DescribeMigration(const MigrationView& migration, const Style& style);

}  // namespace pgconvoy::render
