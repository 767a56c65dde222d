#include "tests/faults/oracles.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <vector>

#include "tests/integration/relocation.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

constexpr auto kReconcilerTime = std::chrono::seconds(20);

void Compare(const RowCounts& wanted, const RowCounts& found, Damage& damage) {
  for (const auto& [row, count] : wanted) {
    const auto it = found.find(row);
    const int64_t there = it == found.end() ? 0 : it->second;
    damage.rows_lost += std::max<int64_t>(count - there, 0);
    damage.rows_doubled += std::max<int64_t>(there - count, 0);
  }
  for (const auto& [row, count] : found) {
    damage.rows_mixed += wanted.contains(row) ? 0 : count;
  }
}

std::string OrphansOnTarget(World& world) {
  return world.target().QueryValue("postgres",
                                   "SELECT string_agg(name, ', ' ORDER BY name) FROM (SELECT 'role ' || rolname AS "
                                   "name, rolname AS plain FROM pg_roles UNION ALL SELECT 'database ' || datname, "
                                   "datname FROM pg_database UNION ALL SELECT 'transaction ' || gid, 'pgc_' FROM "
                                   "pg_prepared_xacts) n WHERE starts_with(plain, 'pgc_')");
}

// Every folder of a fence is a sealed backup that the store knows, or knows that an attempt was about to make: one that
// died after it had sealed its backup and before it said so leaves one that only an operator removes, because in a
// store that was restored from an old backup it may be the only copy.
std::vector<std::string> OrphanBackups(Installation& fleet) {
  std::vector<std::string> orphans;
  for (const auto& entry : fs::recursive_directory_iterator(fleet.backup_dir())) {
    const std::string folder = entry.path().parent_path();
    const bool is_backup =
        entry.is_directory() && fs::relative(folder, fleet.backup_dir()).string().find('/') != std::string::npos;
    if (!is_backup) {
      continue;
    }
    const std::string fence = entry.path().filename();
    const bool numeric = std::all_of(fence.begin(), fence.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!numeric || !fs::exists(entry.path() / "manifest.json") ||
        fleet.store().QueryValue("postgres",
                                 "SELECT (SELECT count(*) FROM pgconvoy.backup_result WHERE fence = " + fence +
                                     ") + (SELECT count(*) FROM pgconvoy.intent WHERE payload->>'kind' = " +
                                     "'BACKUP' AND fence = " + fence + ")") == "0") {
      orphans.push_back("backup " + entry.path().string());
    }
  }
  return orphans;
}

}  // namespace

void CountRows(World& world, Tally& tally) {
  for (const std::string& ref : world.fleet().refs()) {
    const std::string why = world.WhyNotMoved(ref);
    if (!why.empty()) {
      tally.wrong.push_back(why);
    }
    if (world.target().QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = '" +
                                                  world.TargetDatabase(ref) + "'") == "1") {
      Compare(world.SourceRows(ref), world.TargetRows(ref), tally.damage);
    }
  }
}

void CompareSource(World& world, const std::map<std::string, std::string>& before, Tally& tally) {
  for (const auto& [ref, state] : before) {
    if (const std::string why = world.WhyNotUntouched(ref); !why.empty()) {
      tally.wrong.push_back("after the rollback: " + why);
    }
    if (const std::string now = world.SourceState(ref); now != state) {
      tally.wrong.push_back("after the rollback: " + ref +
                            ": the source has changed: " + FirstLineThatDiffers(state, now));
    }
  }
}

void CountOrphans(World& world, Tally& tally) {
  Installation& fleet = world.fleet();
  const auto tidy = [&world] { return OrphansOnTarget(world).empty(); };
  if (!Eventually(tidy, kReconcilerTime)) {
    const std::string migration = fleet.Submit({fleet.refs()[0]});
    fleet.WaitEnded(migration, 120);
    fleet.Rollback(migration, "", /*discard_writes=*/false);
    fleet.WaitEnded(migration, 120);
    Eventually(tidy, kReconcilerTime);
  }
  std::vector<std::string> orphans = OrphanBackups(fleet);
  if (const std::string names = OrphansOnTarget(world); !names.empty()) {
    orphans.push_back(names);
  }
  for (const std::string& orphan : orphans) {
    ++tally.damage.orphans;
    tally.wrong.push_back("orphan: " + orphan);
  }
}

}  // namespace pgconvoy::testing
