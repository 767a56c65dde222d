// What operators and workers ask for, checked before anything else sees it, and in the core's types.
//
// Thread safety: pure.
// Errors: InvalidArgument with PGC-API-… codes that name the field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration.pb.h"
#include "pgconvoy/v1/migration_service.pb.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::service {

inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;
// Names of workers, actors and the like.
inline constexpr size_t kMaxNameBytes = 128;
inline constexpr size_t kMaxReasonBytes = 1000;
inline constexpr size_t kMaxAttributeBytes = 64 << 10;
inline constexpr int kMaxAttributes = 200;
inline constexpr size_t kMaxSubmittedProjects = 1'000'000;
inline constexpr int kMaxProjectsInChunk = 1000;
// Projects that one DescribePlan call may name.
inline constexpr int kMaxDescribedProjects = 1000;
// Projects on one page with their history.
inline constexpr int kMaxHistoryPageSize = 200;

// PGC-API-ARGUMENT: what is wrong with the field.
absl::Status Bad(const std::string& field, const std::string& what);
// UTF-8 of at most `limit` bytes.
absl::Status CheckText(const std::string& field, const std::string& text, size_t limit);
// Not empty, of at most kMaxNameBytes, without control characters.
absl::Status CheckName(const std::string& field, const std::string& text);
// "" is allowed when `optional`.
absl::Status CheckRef(const std::string& ref, bool optional);
absl::Status CheckProject(const v1::ProjectSpec& project);
absl::Status CheckRequestId(const std::string& request_id);

absl::StatusOr<MigrationId> ToMigrationId(const std::string& text);
absl::StatusOr<store::PageRequest> ToPage(int32_t page_size, const std::string& page_token);
absl::StatusOr<std::vector<ProjectState>> ToStates(const google::protobuf::RepeatedField<int>& states);
absl::StatusOr<core::Command> ToCommand(core::CommandKind kind,
                                        const std::string& migration_id,
                                        const std::string& ref,
                                        const std::string& actor,
                                        const std::string& reason);
// Who asks, "unknown" when they did not say.
absl::StatusOr<std::string> ToActor(const std::string& name);

// What the plan means to the core. The plan has been validated and has its defaults.
core::MigrationSpec ToSpec(const v1::Plan& plan, const v1::SubmitHeader& header);
// PGC-PLAN-SERVER as in common/plan/server_choice.h.
absl::StatusOr<core::ProjectInput> ToInput(const v1::ProjectSpec& project, const v1::Plan& plan);

}  // namespace pgconvoy::service
