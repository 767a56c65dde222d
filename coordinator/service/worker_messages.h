// The stream of a worker: its messages as the core's types, what the core and the runtime send as messages.
//
// Thread safety: pure.
// Errors: InvalidArgument with PGC-API-… codes that name the field.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/worker_stream.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {

inline constexpr int kMaxSlots = 256;
// Of an error's message or remedy; longer ones are cut.
inline constexpr size_t kMaxMessageBytes = 8000;
// One intent or phase result: a dozen of them must fit into a grant.
inline constexpr size_t kMaxPayloadBytes = 1 << 20;
// Of an attempt; what comes after them is passed over.
inline constexpr int kMaxWarnings = 100;
inline constexpr int kMaxReportsInBatch = 1000;
// Even refused with the longest of messages they fit into one of gRPC's.
inline constexpr size_t kMaxAcksInBatch = 400;

absl::StatusOr<core::WorkerHello> ToHello(const v1::Hello& hello, core::StreamId stream);
absl::StatusOr<core::WorkerReport> ToReport(const v1::Report& report, core::StreamId stream);
absl::StatusOr<core::WorkerRelease> ToRelease(const v1::Release& release, core::StreamId stream);
// The answer to a report that cannot be understood.
v1::CoordinatorMessage RefusalOf(const v1::Report& report, const absl::Status& why);

// More than one message for a grant that is too large for one, and for acknowledgements, which a worker must have said
// that it takes as batches.
std::vector<v1::CoordinatorMessage> ToWire(const runtime::Outbound& outbound, bool ack_batches);
// Joins the grants that `queue` begins with, as many as fit, into one message; for workers that take those. With limits
// for each server a group commit makes many small grants, and a message costs more than what is in it.
void JoinGrants(std::deque<v1::CoordinatorMessage>& queue);
// A project whose attempts are over, with what they left; the fence is the one that is given.
v1::ProjectGrant ToGrant(const store::ProjectDetail& detail, Fence fence);

}  // namespace pgconvoy::service
