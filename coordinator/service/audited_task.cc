#include "coordinator/service/audited_task.h"

#include <functional>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "coordinator/runtime/runtime.h"

namespace pgconvoy::service {
namespace {

// How the worker's lines about what is gone begin.
constexpr char kRemoved[] = "removed ";

core::Command NoteCommand(const Audit& audit) {
  core::Command command;
  command.kind = core::CommandKind::kNote;
  command.actor = audit.actor;
  return command;
}

core::Note NoteOf(const Audit& audit, const std::string& kind) {
  core::Note note;
  note.migration = audit.migration;
  note.project_ref = audit.project_ref;
  note.kind = kind;
  return note;
}

class AuditSink : public TaskSink, public std::enable_shared_from_this<AuditSink> {
 public:
  AuditSink(const Backend& backend, Audit audit, std::shared_ptr<TaskSink> sink)
      : backend_(backend), audit_(std::move(audit)), sink_(std::move(sink)) {}

  void OnItems(const v1::TaskResult& result) override {
    core::Command command = NoteCommand(audit_);
    const auto add = [&](const std::string& object) {
      command.notes.push_back(NoteOf(audit_, audit_.item_kind));
      command.notes.back().object = object;
    };
    for (const std::string& line : result.lines()) {
      if (line.starts_with(kRemoved)) {
        add(line.substr(sizeof(kRemoved) - 1));
      }
    }
    for (const v1::ProjectInspection& inspection : result.inspections()) {
      for (const v1::CheckResult& check : inspection.checks()) {
        if (check.passed()) {
          add(check.name() + ": " + check.message());
        }
      }
    }
    sink_->OnItems(result);
    if (!command.notes.empty()) {
      Record(std::move(command), [](const absl::Status&) {});
    }
  }

  void OnEnd(const absl::Status& status) override {
    const std::string& kind = status.ok() ? audit_.done_kind : audit_.failed_kind;
    core::Command command = NoteCommand(audit_);
    if (!kind.empty()) {
      command.notes.push_back(NoteOf(audit_, kind));
      command.notes.back().reason = status.ok() ? "" : Describe(status);
    }
    // Even without a note: what was recorded before is then known to be durable.
    Record(std::move(command), [this, self = shared_from_this(), status](const absl::Status& first_failure) {
      sink_->OnEnd(status.ok() ? first_failure : status);
    });
  }

 private:
  // `then` is given the first failure of all that was recorded until then.
  void Record(core::Command command, std::function<void(const absl::Status&)> then) {
    backend_.runtime.Run(std::move(command),
                         [this, self = shared_from_this(), then = std::move(then)](const core::Reply& reply) {
                           absl::Status first;
                           {
                             const MutexLock lock(mutex_);
                             failure_.Update(reply.status);
                             first = failure_;
                           }
                           then(first.ok() ? first : Annotate(first, "done, and not recorded in the event log"));
                         });
  }

  const Backend backend_;
  const Audit audit_;
  const std::shared_ptr<TaskSink> sink_;
  Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void StartAudited(
    const Backend& backend, TaskBroker& broker, v1::Task task, Audit audit, std::shared_ptr<TaskSink> sink) {
  core::Command command = NoteCommand(audit);
  if (!audit.begun_kind.empty()) {
    command.notes.push_back(NoteOf(audit, audit.begun_kind));
    command.notes.back().reason = audit.reason;
  }
  auto audited = std::make_shared<AuditSink>(backend, std::move(audit), sink);
  if (command.notes.empty()) {
    broker.Start(std::move(task), std::move(audited));
    return;
  }
  backend.runtime.Run(std::move(command), [&broker, task = std::move(task), audited = std::move(audited),
                                           sink = std::move(sink)](const core::Reply& reply) {
    if (reply.status.ok()) {
      broker.Start(task, audited);
    } else {
      sink->OnEnd(reply.status);
    }
  });
}

}  // namespace pgconvoy::service
