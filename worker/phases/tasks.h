// Work that belongs to no attempt: reading the registry, describing what a plan would do, checking a backup, and
// removing what dead attempts left.
#pragma once

#include <functional>
#include <string>

#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/schema.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

// Runs a task to its end. `send` is called any number of times, last with `done` or `error` set. Never throws.
void RunTask(const v1::Task& task,
             const std::string& store_id,
             SessionPool& pool,
             SchemaCache& schemas,
             const std::function<void(const v1::TaskResult&)>& send);

}  // namespace pgconvoy::worker
