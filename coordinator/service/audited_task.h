// Tasks that change something on servers for an operator leave their trace in the event log: who asked, before anything
// is touched; what was removed or mended, as the worker tells it; and how it ended.
#pragma once

#include <memory>
#include <string>

#include "coordinator/service/backend.h"
#include "coordinator/service/task_broker.h"

namespace pgconvoy::service {

struct Audit {
  // "operator:<name>" or "coordinator".
  std::string actor = {};
  // Unset, "": none.
  MigrationId migration = {};
  std::string project_ref = {};
  // For what was begun, and for how that ended, well or not; "": not worth an event.
  std::string begun_kind = {};
  std::string done_kind = {};
  std::string failed_kind = {};
  // For each thing that a result says was done.
  std::string item_kind = {};
  // What was asked for, in words.
  std::string reason = {};
};

// Starts the task once it is recorded that it begins. The sink hears what the task says, and its end once everything is
// recorded; PGC-STORE-UNAVAILABLE and the like when it could not be.
void StartAudited(
    const Backend& backend, TaskBroker& broker, v1::Task task, Audit audit, std::shared_ptr<TaskSink> sink);

}  // namespace pgconvoy::service
