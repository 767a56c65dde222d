// What a seed means.
#include <algorithm>

#include "coordinator/core/phase_table.h"
#include "tests/sim/simulation.h"

namespace pgconvoy::sim {
namespace {

// A rate that is absent from most schedules and small in most others.
int64_t Rate(Rng& rng, int64_t highest) {
  if (!rng.PerMille(300)) {
    return 0;
  }
  return rng.PerMille(200) ? rng.Between(1, highest) : rng.Between(1, std::max<int64_t>(highest / 8, 1));
}

int Count(Rng& rng, int64_t chance, int64_t highest) {
  return rng.PerMille(chance) ? static_cast<int>(rng.Between(1, highest)) : 0;
}

Faults MakeFaults(Rng& rng) {
  Faults faults;
  faults.heal_time = rng.Between(2'000, 20'000);
  faults.reply_lost = Rate(rng, 30);
  faults.request_lost = Rate(rng, 30);
  faults.server_error = Rate(rng, 40);
  faults.slow_statement = Rate(rng, 40);
  faults.duplicated = Rate(rng, 300);
  faults.late = Rate(rng, 100);
  faults.commit_failed = Rate(rng, 40);
  faults.commit_in_doubt = Rate(rng, 60);
  faults.commit_slow = Rate(rng, 60);
  faults.streams_cut = Count(rng, 250, 6);
  faults.partitions = Count(rng, 200, 3);
  faults.worker_crashes = Count(rng, 350, 4);
  faults.worker_pauses = Count(rng, 300, 4);
  faults.awkward_stops = Count(rng, 300, 6);
  faults.worker_drains = Count(rng, 150, 2);
  faults.coordinator_crashes = Count(rng, 250, 3);
  faults.coordinator_pauses = Count(rng, 150, 2);
  faults.takeovers = Count(rng, 150, 2);
  faults.server_restarts = Count(rng, 150, 2);
  faults.clock_jumps = Count(rng, 150, 3);
  faults.commands = Count(rng, 250, 8);
  return faults;
}

core::MigrationSpec MakeSpec(Rng& rng, const core::PlanSections& sections) {
  core::MigrationSpec spec;
  spec.name = "sim";
  spec.request_id = "r1";
  spec.phases = core::ForwardPhases(sections);
  const int limit = static_cast<int>(rng.Between(4, 16));
  spec.limits = {{"s", limit * 2}, {"t0", limit}, {"t1", limit}};
  spec.batch_size = static_cast<int>(rng.Between(3, 20));
  spec.max_attempts = static_cast<int>(rng.Between(3, 8));
  spec.initial_backoff_ms = rng.Between(50, 500);
  spec.max_backoff_ms = spec.initial_backoff_ms * rng.Between(1, 8);
  spec.rollback_on_failure = !rng.PerMille(100);
  return spec;
}

}  // namespace

Config MakeConfig(uint64_t seed) {
  Rng rng(seed * 0x9e3779b97f4a7c15ULL + 1);
  Config config;
  config.seed = seed;
  config.faults = MakeFaults(rng);
  config.lease_ttl_ms = rng.Between(3'000, 15'000);
  config.slots = static_cast<int>(rng.Between(1, 4));
  // Most schedules move projects; some only give them logins, change them where they are, or only back them up.
  const int64_t kind = rng.Below(10);
  const bool backup_only = kind == 0;
  config.has_target = kind > 3;
  config.has_transform = kind == 1;
  config.has_credentials = kind > 1 || (config.has_transform && rng.PerMille(500));
  config.has_freeze = !rng.PerMille(200);
  config.has_cutover = !backup_only && !rng.PerMille(100);
  config.has_fallback = config.has_credentials && !config.has_target && !config.has_transform && config.has_cutover;
  core::PlanSections sections;
  sections.target = config.has_target;
  sections.freeze = config.has_freeze;
  sections.credentials = config.has_credentials;
  sections.tables = config.has_target || config.has_transform || backup_only;
  sections.transform = config.has_transform;
  sections.cutover = config.has_cutover;
  sections.backup_only = backup_only;
  config.spec = MakeSpec(rng, sections);
  // A plan's own checks keep what is changed already from being changed again.
  config.migrates_twice = rng.PerMille(config.has_fallback ? 300 : 100) && !config.has_transform;
  return config;
}

}  // namespace pgconvoy::sim
