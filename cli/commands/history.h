// What finished migrations say about time. Reads whole pages of projects with their attempts, never one by one.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "cli/commands/session.h"

namespace pgconvoy::cli {

// Every project of a migration with its history, by ref.
absl::Status EachProjectWithHistory(Session& session,
                                    const std::string& migration_id,
                                    const std::function<void(const v1::Project&)>& take);

// From the first attempt's begin to the end of the last; 0 before that.
int64_t DurationMs(const v1::Project& project);

}  // namespace pgconvoy::cli
