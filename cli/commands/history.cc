#include "cli/commands/history.h"

#include <algorithm>

#include "cli/commands/views.h"
#include "common/base/error.h"

namespace pgconvoy::cli {

absl::Status EachProjectWithHistory(Session& session,
                                    const std::string& migration_id,
                                    const std::function<void(const v1::Project&)>& take) {
  constexpr int kPageSize = 200;
  v1::ListProjectsRequest request;
  request.set_migration_id(migration_id);
  request.set_page_size(kPageSize);
  request.set_with_history(true);
  do {
    PGC_ASSIGN_OR_RETURN(const v1::ListProjectsResponse page, session.client().Call(request));
    for (const v1::Project& project : page.projects()) {
      take(project);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

int64_t DurationMs(const v1::Project& project) {
  int64_t begin = 0;
  int64_t end = 0;
  for (const v1::Attempt& attempt : project.attempt_history()) {
    const int64_t start = ToMs(attempt.start_time());
    begin = begin == 0 ? start : std::min(begin, start);
    end = attempt.has_end_time() ? std::max(end, ToMs(attempt.end_time())) : end;
  }
  return std::max<int64_t>(0, end - begin);
}

}  // namespace pgconvoy::cli
