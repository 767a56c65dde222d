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

// Runs `run(session, task)` for every task from 0 to `tasks` - 1, in this order, each session taking the next one when
// it is free; the first session works in the calling thread. After an error no session takes another task; the error
// of the first task that failed is returned once all have come to rest. `run` is called from as many threads as there
// are sessions and must not use the attempt's own (Attempt::Target and the like).
absl::Status RunOnSessions(const std::vector<pg::Connection*>& sessions,
                           size_t tasks,
                           const std::function<absl::Status(pg::Connection& session, size_t task)>& run);

}  // namespace pgconvoy::worker
