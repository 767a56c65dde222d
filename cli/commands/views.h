// The wire's messages as what cli/render draws. The only place where both meet.
#pragma once

#include "cli/render/describe.h"
#include "cli/render/progress.h"
#include "cli/render/table.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace pgconvoy::cli {

int64_t ToMs(const google::protobuf::Timestamp& time);
bool HasEnded(const v1::Migration& migration);

render::ProgressView ProgressOf(const v1::Migration& migration, int64_t now_ms);
render::MigrationView ViewOf(const v1::Migration& migration, int64_t now_ms);
render::ProjectView ViewOf(const v1::Project& project);

render::Table TableOf(const v1::ListMigrationsResponse& list, const render::Style& style, int64_t now_ms);
render::Table TableOf(const v1::ListBatchesResponse& list, const render::Style& style);
render::Table TableOf(const v1::ListProjectsResponse& list, const render::Style& style);
render::Table TableOf(const v1::ListWorkersResponse& list, const render::Style& style, int64_t now_ms);
render::Table TableOf(const v1::ListEventsResponse& list);
render::Table TableOf(const v1::ListBackupsResponse& list);

}  // namespace pgconvoy::cli
