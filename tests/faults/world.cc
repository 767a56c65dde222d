#include "tests/faults/world.h"

#include "tests/integration/fleet.h"
#include "tests/integration/relocation.h"

namespace pgconvoy::testing {
namespace {

constexpr char kTablesOfDatabase[] =
    "SET search_path = pg_catalog; SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = "
    "c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.oid >= 16384 AND n.nspname !~ "
    "'^pg_'";

void AddRows(PgCluster& server,
             const std::string& database,
             const std::string& table,
             const std::string& where,
             RowCounts& counts) {
  for (const auto& row :
       server.QueryRows(database, "SET search_path = pg_catalog; SELECT md5(t::text) FROM " + table + " t" + where)) {
    ++counts[table + " " + row[0]];
  }
}

class Isolation : public World {
 public:
  explicit Isolation(int projects) : fleet_({.projects = projects}) {}

  Installation& fleet() override { return fleet_; }
  PgCluster& source() override { return fleet_.source(); }
  PgCluster& target() override { return fleet_.target(); }
  void PlaceServers(const std::string& source_conninfo, const std::string& target_conninfo) override {
    fleet_.env()["PGCONVOY_SHARED_CONNINFO"] = source_conninfo;
    fleet_.env()["PGCONVOY_ISOLATED_CONNINFO"] = target_conninfo;
  }
  bool HasLargeTables() const override { return false; }
  std::pair<int, int> WorkerLifeMs() const override { return {2'000, 6'000}; }
  std::string WhyNotMoved(const std::string& ref) override { return fleet_.WhyNotIsolated(ref); }
  std::string WhyNotUntouched(const std::string& ref) override { return fleet_.WhyNotUntouched(ref); }
  RowCounts SourceRows(const std::string& ref) override {
    return Rows(source(), "platform", " WHERE project_ref = '" + ref + "'");
  }
  RowCounts TargetRows(const std::string& ref) override { return Rows(target(), TargetDatabase(ref), ""); }
  std::string TargetDatabase(const std::string& ref) override { return "project_" + ref; }
  std::string SourceState(const std::string& ref) override { return fleet_.SourceHash(ref); }

 private:
  static RowCounts Rows(PgCluster& server, const std::string& database, const std::string& where) {
    RowCounts counts;
    for (const char* const table :
         {"auth.users", "auth.sessions", "auth.refresh_tokens", "storage.buckets", "storage.objects"}) {
      AddRows(server, database, table, where, counts);
    }
    return counts;
  }

  Fleet fleet_;
};

class Relocating : public World {
 public:
  explicit Relocating(int projects) : fleet_({.projects = projects}) {
    // A crash empties what is unlogged, which is no fault of ours.
    for (const std::string& ref : fleet_.refs()) {
      fleet_.OnSource(ref, "ALTER TABLE app.webhook_queue SET LOGGED");
    }
    // So that there is more than one template, and indexes that are made late.
    for (size_t i = 0; i < fleet_.refs().size(); i += 3) {
      const std::string table = "app.only_in_" + fleet_.refs()[i];
      fleet_.OnSource(fleet_.refs()[i],
                      "SET ROLE legacy_app; CREATE TABLE " + table + " (i int PRIMARY KEY, t text); INSERT INTO " +
                          table + " SELECT n, n FROM generate_series(1, 10000) n; CREATE INDEX ON " + table + " (t)");
    }
    // After a crash, sequences stand where the log of the latest checkpoint foresaw them.
    fleet_.old_server().Exec("postgres", "CHECKPOINT");
  }

  Installation& fleet() override { return fleet_; }
  PgCluster& source() override { return fleet_.old_server(); }
  PgCluster& target() override { return fleet_.new_server(); }
  void PlaceServers(const std::string& source_conninfo, const std::string& target_conninfo) override {
    fleet_.env()["PGCONVOY_OLD_CONNINFO"] = source_conninfo;
    fleet_.env()["PGCONVOY_NEW_CONNINFO"] = target_conninfo;
  }
  bool HasLargeTables() const override { return true; }
  // Each worker dumps a definition before it moves anything.
  std::pair<int, int> WorkerLifeMs() const override { return {4'000, 15'000}; }
  std::string WhyNotMoved(const std::string& ref) override { return fleet_.WhyNotRelocated(ref); }
  std::string WhyNotUntouched(const std::string& ref) override { return fleet_.WhyNotUntouched(ref); }
  RowCounts SourceRows(const std::string& ref) override { return Rows(source(), ref); }
  RowCounts TargetRows(const std::string& ref) override { return Rows(target(), ref); }
  std::string TargetDatabase(const std::string& ref) override { return fleet_.database(ref); }
  std::string SourceState(const std::string& ref) override { return fleet_.Dump("old", ref); }

 private:
  RowCounts Rows(PgCluster& server, const std::string& ref) {
    RowCounts counts;
    for (const auto& table : server.QueryRows(fleet_.database(ref), kTablesOfDatabase)) {
      AddRows(server, fleet_.database(ref), table[0], "", counts);
    }
    return counts;
  }

  Relocation fleet_;
};

}  // namespace

std::unique_ptr<World> MakeIsolation(int projects) { return std::make_unique<Isolation>(projects); }

std::unique_ptr<World> MakeRelocation(int projects) { return std::make_unique<Relocating>(projects); }

}  // namespace pgconvoy::testing
