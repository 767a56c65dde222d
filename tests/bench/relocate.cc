#include <limits>
#include <stdexcept>

#include "tests/bench/benchmarks.h"
#include "tests/bench/peers.h"
#include "tests/bench/rig.h"
#include "tests/integration/relocation.h"

namespace pgconvoy::bench {
namespace {

constexpr char kOurs[] = "pgconvoy";
constexpr char kDump[] = "pg_dump | psql -1";

constexpr char kDumpScript[] = R"sh(
psql -XqAt -d "$NEW dbname=postgres" -c "CREATE DATABASE vision_$1 TEMPLATE template0 OWNER legacy_app"
pg_dump -d "$OLD dbname=vision_$1" |
  PGOPTIONS='-c synchronous_commit=off' psql -Xq1 -v ON_ERROR_STOP=1 -o /dev/null -d "$NEW dbname=vision_$1"
)sh";

// One application's database and clones of it.
class Databases : public testing::Relocation {
 public:
  Databases(int count, bool quick) : Relocation({.projects = 0, .lease_ttl = "30s", .durable = true}) {
    if (!quick) {
      env()["PGCONVOY_DEMO_IMAGES"] = "5500";
    }
    AddDatabase("old", "v0001", 1);
    old_server().Exec("vision_v0001", "VACUUM ANALYZE");
    for (int n = 2; n <= count; ++n) {
      const std::string number = std::to_string(n);
      Clone("v" + std::string(4 - number.size(), '0') + number);
    }
    plan().mutable_servers()->at("old").set_max_projects(8);
    plan().mutable_servers()->at("new").set_max_projects(8);
  }

 private:
  void Clone(const std::string& ref) {
    old_server().Exec("postgres", "CREATE DATABASE " + database(ref) + " TEMPLATE vision_v0001 OWNER legacy_app");
    old_server().Exec("postgres", "ALTER DATABASE " + database(ref) + " SET search_path = app, public");
    old_server().Exec(
        "registry", "INSERT INTO public.projects (ref, name, server, database_name, database_user) VALUES ('" + ref +
                        "', 'Project', 'old', '" + database(ref) + "', 'legacy_app')");
    AddProject(ref, {{"server", "old"}, {"database_name", database(ref)}});
  }
};

class Bench {
 public:
  explicit Bench(Report& report)
      : report_(report),
        count_(report.options().quick ? 4 : 40),
        databases_(count_, report.options().quick),
        expected_(Tables(databases_.old_server())) {
    databases_.StartCoordinator();
    databases_.StartWorker("bench", "", kSlots);
    for (CpuMeter* const meter : {&cpu_, &dump_cpu_}) {
      meter->Watch("old", Postmaster(databases_.old_server()));
      meter->Watch("new", Postmaster(databases_.new_server()));
    }
    dump_cpu_.WatchEndedChildren("pg_dump and psql");
    cpu_.Watch("store", Postmaster(databases_.store()));
    cpu_.Watch("worker", databases_.worker("bench").pid());
    cpu_.Watch("coordinator", databases_.coordinator().pid());
  }

  void Run() {
    report_.Setting("databases", std::to_string(count_) + " of " + Facts());
    report_.Setting("servers", "PostgreSQL 15, defaults, fsync on: old, new and status store, TCP and SCRAM");
    report_.Setting(kOurs, "one worker, " + std::to_string(kSlots) +
                               " slots; backup, credentials, digests of all rows, objects compared, durable status");
    report_.Compare("for each database", report_.RoundsOr(5),
                    {{kOurs, [this] { return Ours(); }}, {kDump, [this] { return Dump(); }}});
    report_.Setting("CPU for each database, pgconvoy", cpu_.PerUnit(runs_ * count_));
    report_.Setting("CPU for each database, pg_dump", dump_cpu_.PerUnit(runs_ * count_));
    report_.Judge({{kOurs, kDump, 0.7}});
  }

 private:
  static constexpr int kSlots = 4;

  std::string Facts() {
    return databases_.old_server().QueryValue(
        "vision_v0001",
        "SELECT pg_size_pretty(pg_database_size(current_database())) || ', ' || (SELECT count(*) FROM pg_class WHERE "
        "relkind IN ('r', 'p') AND oid >= 16384) || ' tables, ' || (SELECT count(*) FROM pg_index WHERE indexrelid "
        ">= "
        "16384 AND indrelid::regclass::text !~ '^pg_toast') || ' indexes, ' || (SELECT count(*) FROM pg_constraint "
        "WHERE oid >= 16384) || ' constraints, ' || (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) || ' "
        "triggers'");
  }

  // Rows of every table of one of the databases.
  static std::string Tables(testing::PgCluster& cluster) {
    return cluster.QueryValue(
        "vision_v0001",
        "SET search_path = ''; SELECT string_agg(c.oid::regclass || ' ' || (xpath('/row/n/text()', "
        "query_to_xml('SELECT count(*) AS n FROM ' "
        "|| c.oid::regclass, false, true, '')))[1], ', ' ORDER BY c.oid::regclass::text "
        "COLLATE \"C\") FROM pg_class c "
        "WHERE relkind IN ('r', 'p') AND oid >= 16384 AND NOT relispartition");
  }

  void Clean() {
    SetAside(databases_.new_server(), "vision_");
    databases_.old_server().Exec("registry",
                                 "UPDATE public.projects SET server = 'old', database_user = 'legacy_app', "
                                 "password_verifier = NULL, maintenance = false");
    databases_.old_server().Exec("postgres", "CHECKPOINT");
    SetAsideBackups(databases_);
  }

  void Check() {
    if (const std::string found = Tables(databases_.new_server()); found != expected_) {
      throw std::runtime_error("the new database has " + found + " and not " + expected_);
    }
  }

  double Ours() {
    Clean();
    const double seconds = RunMigration(databases_, cpu_);
    ++runs_;
    for (const char* const ref : {"v0001", "v0003"}) {
      if (const std::string why = databases_.WhyNotRelocated(ref); !why.empty()) {
        throw std::runtime_error(why);
      }
    }
    return seconds / count_;
  }

  double Dump() {
    Clean();
    const XargsScript peer(
        kDumpScript, {{"OLD", Superuser(databases_.old_server())}, {"NEW", Superuser(databases_.new_server())}});
    dump_cpu_.Start();
    const double seconds = peer.Run(databases_.refs(), 4);
    dump_cpu_.Stop();
    Check();
    return seconds / count_;
  }

  Report& report_;
  const int count_;
  Databases databases_;
  const std::string expected_;
  CpuMeter cpu_;
  CpuMeter dump_cpu_;
  int runs_ = 0;
};

}  // namespace

void RunRelocate(Report& report) { Bench(report).Run(); }

}  // namespace pgconvoy::bench
