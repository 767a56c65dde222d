// Work of one attempt that is spread over several of its sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/pg/connection.h"

namespace pgconvoy::worker {

// Rows of so many bytes are one task: what a session loads in one transaction.
inline constexpr int64_t kBytesPerTask = 32 << 20;

// How many sessions the work on so many bytes is worth; at least one.
size_t SessionsFor(int64_t bytes);

// Called from any thread; must not use the attempt's own sessions (Attempt::Target and the like).
using SessionTask = std::function<absl::Status(pg::Connection& session)>;

// Runs the tasks in their order, each session taking the next one when it is free; the first session works in the
// calling thread. After an error no session takes another task; the error of the first task that failed is returned
// once all have come to rest.
absl::Status RunOnSessions(const std::vector<pg::Connection*>& sessions, const std::vector<SessionTask>& tasks);

// One of the first list, one of the second and so on, then what is left of the longer one.
std::vector<SessionTask> Alternating(std::vector<SessionTask> first, std::vector<SessionTask> second);

}  // namespace pgconvoy::worker
