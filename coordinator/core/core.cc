#include "coordinator/core/core.h"

#include <utility>

#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {

bool Writes::Empty() const {
  return new_migrations.empty() && new_batches.empty() && new_projects.empty() && migrations.empty() &&
         batches.empty() && projects.empty() && attempts.empty() && intents.empty() && results.empty() &&
         result_marks.empty() && workers.empty() && events.empty() && !counters.has_value();
}

std::string_view Name(WaitCause cause) {
  switch (cause) {
    case WaitCause::kNone: return "";
    case WaitCause::kPausedByUser: return "PAUSED_BY_USER";
    case WaitCause::kRetryBackoff: return "RETRY_BACKOFF";
    case WaitCause::kSourceTokens: return "SOURCE_TOKENS";
    case WaitCause::kTargetTokens: return "TARGET_TOKENS";
    case WaitCause::kNoWorker: return "NO_WORKER";
    case WaitCause::kBatchOrder: return "BATCH_ORDER";
  }
  return "UNKNOWN";
}

Core::Core(const Settings& settings, uint64_t seed) : impl_(std::make_unique<Impl>(settings, seed)) {}
Core::~Core() = default;

void Core::Load(Snapshot snapshot, TimePoint now) { impl_->Load(std::move(snapshot), now); }
void Core::Apply(const Event& event, TimePoint now, Output& out) { impl_->Apply(event, now, out); }
void Core::Schedule(TimePoint now, Output& out) { impl_->Schedule(now, out); }
std::optional<MonotonicMs> Core::NextDeadline() const { return impl_->NextDeadline(); }
bool Core::Holds(MigrationId migration) const { return impl_->Holds(migration); }
WaitCause Core::WhyWaiting(MigrationId migration, const std::string& ref, TimePoint now) const {
  return impl_->WhyWaiting(migration, ref, now);
}
std::string Core::CheckInvariants() const { return impl_->CheckInvariants(); }

void Core::Impl::Apply(const Event& event, TimePoint now, Output& out) {
  Step step(now, out);
  std::visit([&](const auto& body) { On(step, body); }, event);
  EndMigrations(step);
}

}  // namespace pgconvoy::core
