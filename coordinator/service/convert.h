// The one place where the wire meets the core's types. Everything that comes in is validated here.
//
// Thread safety: pure.
// Errors: InvalidArgument with PGC-API-… codes that name the field.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/worker_stream.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration.pb.h"
#include "pgconvoy/v1/migration_service.pb.h"
#include "pgconvoy/v1/plan.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {

// ---- limits of what comes in -----------------------------------------------------------------------------------

inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;
inline constexpr int kMaxSlots = 256;
// Names of workers, actors and the like.
inline constexpr size_t kMaxNameBytes = 128;
inline constexpr size_t kMaxReasonBytes = 1000;
inline constexpr size_t kMaxMessageBytes = 8000;
inline constexpr size_t kMaxAttributeBytes = 64 << 10;
inline constexpr int kMaxAttributes = 200;
// One intent or phase result: a dozen of them must fit into a grant.
inline constexpr size_t kMaxPayloadBytes = 1 << 20;
inline constexpr int kMaxWarnings = 100;
inline constexpr size_t kMaxSubmittedProjects = 1'000'000;
inline constexpr int kMaxProjectsInChunk = 1000;
// Projects that one DescribePlan call may name.
inline constexpr int kMaxDescribedProjects = 1000;
inline constexpr int kMaxReportsInBatch = 1000;
// Even refused with the longest of messages they fit into one of gRPC's.
inline constexpr size_t kMaxAcksInBatch = 400;
// Projects on one page with their history.
inline constexpr int kMaxHistoryPageSize = 200;

// ---- from the worker -------------------------------------------------------------------------------------------

absl::StatusOr<core::WorkerHello> ToHello(const v1::Hello& hello, core::StreamId stream);
absl::StatusOr<core::WorkerReport> ToReport(const v1::Report& report, core::StreamId stream);
absl::StatusOr<core::WorkerRelease> ToRelease(const v1::Release& release, core::StreamId stream);
// The answer to a report that cannot be understood.
v1::CoordinatorMessage RefusalOf(const v1::Report& report, const absl::Status& why);

// ---- to the worker ---------------------------------------------------------------------------------------------

// More than one message for a grant that is too large for one, and for acknowledgements, which a worker must have said
// that it takes as batches.
std::vector<v1::CoordinatorMessage> ToWire(const runtime::Outbound& outbound, bool ack_batches);
// Joins the grants that `queue` begins with, as many as fit, into one message; for workers that take those. With limits
// for each server a group commit makes many small grants, and a message costs more than what is in it.
void JoinGrants(std::deque<v1::CoordinatorMessage>& queue);

// ---- from the operator -----------------------------------------------------------------------------------------

absl::StatusOr<MigrationId> ToMigrationId(const std::string& text);
absl::StatusOr<store::PageRequest> ToPage(int32_t page_size, const std::string& page_token);
absl::StatusOr<std::vector<ProjectState>> ToStates(const google::protobuf::RepeatedField<int>& states);
// "" is allowed when `optional`.
absl::Status CheckRef(const std::string& ref, bool optional);
absl::StatusOr<core::Command> ToCommand(core::CommandKind kind,
                                        const std::string& migration_id,
                                        const std::string& ref,
                                        const std::string& actor,
                                        const std::string& reason);
absl::Status CheckProject(const v1::ProjectSpec& project);
absl::Status CheckRequestId(const std::string& request_id);
// Who asks, "unknown" when they did not say.
absl::StatusOr<std::string> ToActor(const std::string& name);

// What the plan means to the core. The plan has been validated and has its defaults.
core::MigrationSpec ToSpec(const v1::Plan& plan, const v1::SubmitHeader& header);
// PGC-PLAN-SERVER as in common/plan/server_choice.h.
absl::StatusOr<core::ProjectInput> ToInput(const v1::ProjectSpec& project, const v1::Plan& plan);

// ---- to the operator -------------------------------------------------------------------------------------------

v1::Migration ToWire(const core::MigrationRow& row, bool with_plan);
v1::Batch ToWire(const core::BatchRow& row);
v1::Project ToWire(const store::ProjectView& view);
v1::Project ToWire(const store::ProjectDetail& detail);
v1::Attempt ToWire(const core::AttemptRow& row);
v1::Worker ToWire(const core::WorkerRow& row, int running);
v1::Event ToWire(const store::EventView& view);
// Passes over what a restore has adopted: it is listed where it was made.
absl::Status AddBackup(const store::BackupView& view, v1::ListBackupsResponse& response);
// The backup's result with a mark: pruned at `prune_time`, or also removed.
absl::StatusOr<core::BackupMark> MarkPruned(const store::BackupView& view, WallMs prune_time);
absl::StatusOr<core::BackupMark> MarkRemoved(const store::BackupView& view);
// A project whose attempts are over, with what they left; the fence is the one that is given.
v1::ProjectGrant ToGrant(const store::ProjectDetail& detail, Fence fence);

}  // namespace pgconvoy::service
