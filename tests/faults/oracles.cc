#include "tests/faults/oracles.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <vector>

#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

constexpr auto kReconcilerTime = std::chrono::seconds(20);

const char* const kTables[] = {"auth.users", "auth.sessions", "auth.refresh_tokens", "storage.buckets",
                               "storage.objects"};

using RowCounts = std::map<std::string, int64_t>;

RowCounts Rows(PgCluster& server, const std::string& database, const std::string& where) {
  RowCounts counts;
  for (const char* const table : kTables) {
    for (const auto& row :
         server.QueryRows(database, "SELECT md5(t::text) FROM " + std::string(table) + " t" + where)) {
      ++counts[std::string(table) + " " + row[0]];
    }
  }
  return counts;
}

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

std::string OrphansOnTarget(Fleet& fleet) {
  return fleet.target().QueryValue("postgres",
                                   "SELECT string_agg(name, ', ' ORDER BY name) FROM (SELECT 'role ' || rolname AS "
                                   "name, rolname AS plain FROM pg_roles UNION ALL SELECT 'database ' || datname, "
                                   "datname FROM pg_database UNION ALL SELECT 'transaction ' || gid, 'pgc_' FROM "
                                   "pg_prepared_xacts) n WHERE starts_with(plain, 'pgc_')");
}

// Every folder of a fence is a sealed backup that the store knows, or knows that an attempt was about to make: one that
// died after it had sealed its backup and before it said so leaves one that only an operator removes, because in a
// store that was restored from an old backup it may be the only copy.
std::vector<std::string> OrphanBackups(Fleet& fleet) {
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

void CountRows(Fleet& fleet, Tally& tally) {
  for (const std::string& ref : fleet.refs()) {
    const std::string why = fleet.WhyNotIsolated(ref);
    if (!why.empty()) {
      tally.wrong.push_back(why);
    }
    const std::string database = "project_" + ref;
    if (fleet.target().QueryValue("postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname = '" + database + "'") == "1") {
      Compare(Rows(fleet.source(), "platform", " WHERE project_ref = '" + ref + "'"),
              Rows(fleet.target(), database, ""), tally.damage);
    }
  }
}

void CountOrphans(Fleet& fleet, Tally& tally) {
  const auto tidy = [&fleet] { return OrphansOnTarget(fleet).empty(); };
  if (!Eventually(tidy, kReconcilerTime)) {
    const std::string migration = fleet.Submit({fleet.refs()[0]});
    fleet.WaitEnded(migration, 120);
    fleet.Rollback(migration, "", /*discard_writes=*/false);
    fleet.WaitEnded(migration, 120);
    Eventually(tidy, kReconcilerTime);
  }
  std::vector<std::string> orphans = OrphanBackups(fleet);
  if (const std::string names = OrphansOnTarget(fleet); !names.empty()) {
    orphans.push_back(names);
  }
  for (const std::string& orphan : orphans) {
    ++tally.damage.orphans;
    tally.wrong.push_back("orphan: " + orphan);
  }
}

}  // namespace pgconvoy::testing
