#include <stdexcept>

#include "tests/bench/benchmarks.h"
#include "tests/bench/peers.h"
#include "tests/bench/rig.h"
#include "tests/integration/relocation.h"

namespace pgconvoy::bench {
namespace {

constexpr char kVerified[] = "pgconvoy";
constexpr char kUnverified[] = "pgconvoy, counts only";
constexpr char kPgcopydb[] = "pgcopydb";
constexpr char kPipe[] = "COPY pipe and indexes";

// $TABLES and $ROWS: how many tables, and how many rows in each, of 100 bytes with their header.
constexpr char kSeed[] = R"sh(
for i in $(seq 1 "$TABLES"); do
  psql -XqAt -v ON_ERROR_STOP=1 -d "$OLD dbname=vision_big" <<SQL
SET ROLE legacy_app;
SET synchronous_commit = off;
CREATE TABLE app.big$i (id bigint, owner int NOT NULL, at timestamptz NOT NULL, amount numeric(12,2), note text);
INSERT INTO app.big$i SELECT n, n % 9973, '2025-01-01'::timestamptz + n * interval '1 second', n / 7.0, md5(n::text)
FROM generate_series(1, $ROWS) n;
ALTER TABLE app.big$i ADD PRIMARY KEY (id);
CREATE INDEX ON app.big$i (owner);
CREATE INDEX ON app.big$i (at, amount);
SQL
done
psql -XqAt -d "$OLD dbname=vision_big" -c "VACUUM ANALYZE"
)sh";

constexpr char kPgcopydbScript[] = R"sh(
psql -XqAt -d "$NEW dbname=postgres" -c "CREATE DATABASE vision_big TEMPLATE template0 OWNER legacy_app"
pgcopydb clone --source "$OLD dbname=vision_big" --target "$NEW dbname=vision_big" --dir "$PWD/work" \
  --table-jobs 4 --index-jobs 4 --split-tables-larger-than 200MB >"$PWD/log" 2>&1 || { cat "$PWD/log" >&2; exit 1; }
)sh";

// Two tables at a time; of a table's indexes two at a time.
constexpr char kPipeScript[] = R"sh(
psql -XqAt -d "$NEW dbname=postgres" -c "CREATE DATABASE vision_big TEMPLATE template0 OWNER legacy_app"
psql -XqAt -d "$NEW dbname=vision_big" -c "CREATE SCHEMA app AUTHORIZATION legacy_app"
export PGOPTIONS='-c synchronous_commit=off'
on_new() { psql -XqAt -v ON_ERROR_STOP=1 -d "$NEW dbname=vision_big" "$@"; }
one() {
  on_new -c "SET ROLE legacy_app" -c "CREATE TABLE app.big$1 (
    id bigint, owner int NOT NULL, at timestamptz NOT NULL, amount numeric(12,2), note text)"
  psql -XqAt -d "$OLD dbname=vision_big" -c "COPY app.big$1 TO STDOUT" | on_new -c "COPY app.big$1 FROM STDIN"
  on_new -c "ALTER TABLE app.big$1 ADD PRIMARY KEY (id)"
  on_new -c "CREATE INDEX ON app.big$1 (owner)" &
  on_new -c "CREATE INDEX ON app.big$1 (at, amount)"
  wait $!
}
export -f on_new one
seq 1 "$TABLES" | xargs -P 2 -I{} bash -c 'set -euo pipefail; one {}'
)sh";

// A database with nothing but large tables, on an old server.
class LargeDatabase : public testing::Relocation {
 public:
  LargeDatabase() : Relocation({.projects = 0, .lease_ttl = "30s", .durable = true}) {
    old_server().Exec("postgres", "CREATE DATABASE vision_big OWNER legacy_app");
    old_server().Exec("vision_big", "CREATE SCHEMA app AUTHORIZATION legacy_app");
    old_server().Exec("registry",
                      "INSERT INTO public.projects (ref, name, server, database_name, database_user) VALUES ('big', "
                      "'Project', 'old', 'vision_big', 'legacy_app')");
    AddProject("big", {{"server", "old"}, {"database_name", "vision_big"}});
    plan().clear_checks();
    plan().clear_links();
  }
};

class Bench {
 public:
  Bench(Report& report, int tables, int64_t rows) : report_(report), tables_(tables), rows_(rows) {
    XargsScript(kSeed, Env()).Run({"once"}, 1);
    database_.StartCoordinator();
    database_.StartWorker("bench", "", 2);
  }

  void Describe() {
    report_.Setting("database",
                    database_.old_server().QueryValue(
                        "vision_big",
                        "SELECT pg_size_pretty(sum(pg_table_size(oid))) || ' in ' || count(*) || ' table(s) "
                        "with a key and two indexes of ' || pg_size_pretty(sum(pg_indexes_size(oid))) FROM "
                        "pg_class WHERE relname ~ '^big[0-9]+$'"));
    report_.Setting("servers", "PostgreSQL 15, defaults, fsync on, TCP and SCRAM");
  }

  Contestant Ours(const std::string& name, v1::Verification::Level level) {
    return {name, [this, name, level] {
              Clean();
              database_.plan().mutable_verification()->set_level(level);
              const double seconds = RunMigration(database_, Cpu(name));
              Check();
              return seconds;
            }};
  }

  Contestant Peer(const std::string& name, const char* script) {
    return {name, [this, name, script] {
              Clean();
              CpuMeter& cpu = Cpu(name);
              cpu.Start();
              const double seconds = XargsScript(script, Env()).Run({"once"}, 1);
              cpu.Stop();
              Check();
              return seconds;
            }};
  }

  void SayCpu(int rounds) {
    for (const auto& [name, meter] : cpu_) {
      report_.Setting("CPU, " + name, meter.PerUnit(rounds));
    }
  }

 private:
  CpuMeter& Cpu(const std::string& contestant) {
    const auto [at, added] = cpu_.try_emplace(contestant);
    if (added) {
      at->second.Watch("old", Postmaster(database_.old_server()));
      at->second.Watch("new", Postmaster(database_.new_server()));
      if (contestant.starts_with("pgconvoy")) {
        at->second.Watch("worker", database_.worker("bench").pid());
      } else {
        at->second.WatchEndedChildren("clients");
      }
    }
    return at->second;
  }

  std::map<std::string, std::string> Env() {
    return {{"OLD", Superuser(database_.old_server())},
            {"NEW", Superuser(database_.new_server())},
            {"TABLES", std::to_string(tables_)},
            {"ROWS", std::to_string(rows_)}};
  }

  void Clean() {
    // Few large files: room counts for more than the file system's memory of what was deleted.
    database_.new_server().Exec("postgres", "DROP DATABASE IF EXISTS vision_big WITH (FORCE)");
    SetAside(database_.new_server(), "vision_");
    database_.old_server().Exec("registry",
                                "UPDATE public.projects SET server = 'old', database_user = 'legacy_app', "
                                "password_verifier = NULL, maintenance = false");
    database_.old_server().Exec("postgres", "CHECKPOINT");
    SetAsideBackups(database_);
  }

  void Check() {
    for (int i = 1; i <= tables_; ++i) {
      const std::string found = database_.new_server().QueryValue(
          "vision_big",
          "SELECT count(*) || ' ' || sum(id) || ' ' || sum(owner) || ' ' || count(DISTINCT note) FROM "
          "app.big" +
              std::to_string(i));
      const std::string expected = database_.old_server().QueryValue(
          "vision_big",
          "SELECT count(*) || ' ' || sum(id) || ' ' || sum(owner) || ' ' || count(DISTINCT note) FROM "
          "app.big" +
              std::to_string(i));
      const std::string indexes = database_.new_server().QueryValue(
          "vision_big", "SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = 'app.big" + std::to_string(i) +
                            "'::regclass");
      if (found != expected || indexes != "3") {
        throw std::runtime_error("app.big" + std::to_string(i) + " has " + found + " with " + indexes + " indexes");
      }
    }
  }

  Report& report_;
  const int tables_;
  const int64_t rows_;
  LargeDatabase database_;
  std::map<std::string, CpuMeter> cpu_;
};

void RunLargeWith(Report& report, int tables) {
  const int64_t rows = (report.options().quick ? 60'000 : 10'000'000) / tables;
  Bench bench(report, tables, rows);
  bench.Describe();
  const std::string suffix = ", " + std::to_string(tables) + (tables == 1 ? " table" : " tables");
  const std::string verified = kVerified + suffix;
  const std::string unverified = kUnverified + suffix;
  const std::string pgcopydb = kPgcopydb + suffix;
  const std::string pipe = kPipe + suffix;
  std::vector<Contestant> contestants = {bench.Ours(verified, v1::Verification::CHECKSUM),
                                         bench.Ours(unverified, v1::Verification::COUNTS)};
  if (HasProgram("pgcopydb") && report.TakesPart(kPgcopydb)) {
    contestants.push_back(bench.Peer(pgcopydb, kPgcopydbScript));
  }
  if (report.TakesPart(kPipe)) {
    contestants.push_back(bench.Peer(pipe, kPipeScript));
  }
  report.Compare("in all", report.RoundsOr(5), contestants);
  bench.SayCpu(report.RoundsOr(5));
  report.Judge({{verified, pgcopydb, 0.85}, {unverified, pipe, 1.15}});
}

}  // namespace

void RunLarge(Report& report) {
  RunLargeWith(report, 1);
  RunLargeWith(report, 12);
}

void RunVerify(Report& report) {
  Bench bench(report, 4, report.options().quick ? 10'000 : 500'000);
  bench.Describe();
  const std::string verified = kVerified;
  const std::string unverified = kUnverified;
  report.Compare(
      "in all", report.RoundsOr(7),
      {bench.Ours(verified, v1::Verification::CHECKSUM), bench.Ours(unverified, v1::Verification::COUNTS)});
  bench.SayCpu(report.RoundsOr(7));
  report.Judge({{verified, unverified, 1.15}});
}

}  // namespace pgconvoy::bench
