#include <unistd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>

#include "tests/bench/bare_loop.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/cpu.h"
#include "tests/bench/peers.h"
#include "tests/bench/rig.h"
#include "tests/integration/fleet.h"

namespace pgconvoy::bench {
namespace {

constexpr char kOurs[] = "pgconvoy";
constexpr char kBare[] = "bare libpq loop";
constexpr char kPsql[] = "psql script";
constexpr char kDump[] = "pg_dump | psql -1";
constexpr char kPgcopydb[] = "pgcopydb";

constexpr char kTemplate[] = "bench_template";
constexpr char kTemplateOwner[] = "bench_template_owner";

constexpr char kRows[] =
    "SELECT (SELECT count(*) FROM auth.users) || '/' || (SELECT count(*) FROM auth.sessions) || '/' || (SELECT "
    "count(*) FROM auth.refresh_tokens) || '/' || (SELECT count(*) FROM storage.buckets) || '/' || (SELECT count(*) "
    "FROM storage.objects)";
constexpr char kReferenceRows[] = "150/45/90/10/500";

// What people write by hand: one psql for each step.
constexpr char kPsqlScript[] = R"sh(
ref=$1
name=project_$ref
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
on_target() { psql -XqAt -v ON_ERROR_STOP=1 -d "$TARGET dbname=$1" "${@:2}"; }
on_source() { psql -XqAt -v ON_ERROR_STOP=1 -d "$SOURCE" "$@"; }
on_target postgres <<SQL
CREATE ROLE "$name" LOGIN PASSWORD '$password';
SQL
on_target postgres -c "CREATE DATABASE \"$name\" TEMPLATE bench_template OWNER \"$name\""
on_target "$name" -c "REASSIGN OWNED BY bench_template_owner TO \"$name\""
copy() {
  on_source -c "COPY (SELECT $2 FROM $1 WHERE project_ref = '$ref') TO STDOUT" |
    on_target "$name" -c "COPY $1 ($2) FROM STDIN"
}
while read -r table columns; do
  copy "$table" "$columns" </dev/null
done <"$COLUMNS"
on_source <<SQL
UPDATE public.projects SET database_name = '$name', database_user = '$name', credential_status = 'active'
WHERE ref = '$ref';
SQL
)sh";

// Each project has a database of its own already, so this is less work than ours.
constexpr char kDumpScript[] = R"sh(
name=project_$1
psql -XqAt -d "$TARGET dbname=postgres" -c "CREATE DATABASE \"$name\" TEMPLATE template0"
pg_dump -d "$SERVER dbname=one_$1" |
  PGOPTIONS='-c synchronous_commit=off' psql -Xq1 -v ON_ERROR_STOP=1 -o /dev/null -d "$TARGET dbname=$name"
)sh";

constexpr char kPgcopydbScript[] = R"sh(
name=project_$1
psql -XqAt -d "$TARGET dbname=postgres" -c "CREATE DATABASE \"$name\" TEMPLATE template0"
pgcopydb clone --source "$SERVER dbname=one_$1" --target "$TARGET dbname=$name" --dir "$PWD/$1" \
  --table-jobs 2 --index-jobs 2 >"$PWD/$1.log" 2>&1 || { cat "$PWD/$1.log" >&2; exit 1; }
)sh";

// Without the platform's triggers, which stay behind, and without what would stop an owner from loading its tables.
constexpr char kCopyDefinitions[] = R"sh(
pg_dump --schema-only --no-owner --no-acl -n auth -n storage -d "$FROM" |
  sed '/refuse_frozen/d; /FORCE ROW LEVEL SECURITY/d' |
  psql -Xq1 -v ON_ERROR_STOP=1 -o /dev/null -d "$TO"
)sh";

// Leaves a list behind, of each table its name and the columns that are not computed.
constexpr char kCopyReference[] = R"sh(
psql -XqAt -d "$FROM" -F ' ' >"$COLUMNS" <<'SQL'
SELECT t.name, string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum)
FROM unnest(ARRAY['auth.users', 'auth.sessions', 'auth.refresh_tokens', 'storage.buckets', 'storage.objects'])
     WITH ORDINALITY t (name, n)
JOIN pg_attribute a ON a.attrelid = t.name::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY t.name, t.n ORDER BY t.n
SQL
while read -r table columns; do
  psql -XqAt -d "$FROM" -c "COPY (SELECT $columns FROM $table WHERE project_ref = '$1') TO STDOUT" </dev/null |
    psql -XqAt -v ON_ERROR_STOP=1 -d "$TO" -c "COPY $table ($columns) FROM STDIN"
done <"$COLUMNS"
)sh";

constexpr char kGiveToTemplateOwner[] = R"sql(
ALTER SCHEMA auth OWNER TO bench_template_owner;
ALTER SCHEMA storage OWNER TO bench_template_owner;
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN
    SELECT 'TABLE ' || oid::regclass AS what FROM pg_class
    WHERE relnamespace IN ('auth'::regnamespace, 'storage'::regnamespace) AND relkind = 'r'
    UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
    WHERE pronamespace IN ('auth'::regnamespace, 'storage'::regnamespace)
    UNION ALL SELECT 'TYPE ' || oid::regtype FROM pg_type
    WHERE typnamespace IN ('auth'::regnamespace, 'storage'::regnamespace) AND typtype = 'e'
  LOOP
    EXECUTE 'ALTER ' || given.what || ' OWNER TO bench_template_owner';
  END LOOP;
END $$
)sql";

class Bench {
 public:
  explicit Bench(Report& report)
      : report_(report),
        projects_(report.options().quick ? 6 : 200),
        fleet_({.projects = projects_, .lease_ttl = "30s", .durable = true, .alike = true}),
        // Each of their projects takes so long that a part of them says enough.
        few_(fleet_.refs().begin(), fleet_.refs().begin() + (report.options().quick ? 4 : 40)) {
    MakeTemplate();
    MakeDatabases();
    fleet_.StartCoordinator();
    for (CpuMeter* const meter : {&our_cpu_, &bare_cpu_}) {
      meter->Watch("source", Postmaster(source()));
      meter->Watch("target", Postmaster(target()));
    }
    our_cpu_.Watch("store", Postmaster(fleet_.store()));
    our_cpu_.Watch("coordinator", fleet_.coordinator().pid());
    bare_cpu_.Watch("loop", getpid());
  }

  void Run() {
    report_.Setting("projects",
                    std::to_string(projects_) + " of 150 users, 45 sessions, 90 tokens, 10 buckets, 500 objects");
    report_.Setting("projects of psql, pg_dump, pgcopydb", std::to_string(few_.size()));
    report_.Setting("servers", "PostgreSQL 15, defaults, fsync on: source, target and status store, TCP and SCRAM");
    report_.Setting("pgconvoy", "one worker; backup, sealed credentials, digests, durable status");
    const int slots = Best(kOurs, [this](int n) { return Ours(n); });
    std::vector<Contestant> contestants = {{kOurs, [this, slots] { return Ours(slots); }}};
    if (report_.TakesPart(kBare)) {
      const int threads = Best(kBare, [this](int n) { return Bare(n); });
      contestants.push_back({kBare, [this, threads] { return Bare(threads); }});
    }
    AddPeer(contestants, kPsql, kPsqlScript);
    AddPeer(contestants, kDump, kDumpScript);
    if (HasProgram("pgcopydb")) {
      AddPeer(contestants, kPgcopydb, kPgcopydbScript);
    } else {
      report_.Setting(kPgcopydb, "is not installed and does not take part");
    }
    report_.Compare("for each project", report_.RoundsOr(5), contestants);
    report_.Setting("CPU for each project, pgconvoy", our_cpu_.PerUnit(our_runs_ * projects_));
    if (bare_runs_ > 0) {
      report_.Setting("CPU for each project, bare loop", bare_cpu_.PerUnit(bare_runs_ * projects_));
    }
    report_.Judge(
        {{kOurs, kBare, 1.25}, {kOurs, kPsql, 1 / 4.0}, {kOurs, kDump, 1 / 2.0}, {kOurs, kPgcopydb, 1 / 6.0}});
  }

 private:
  testing::PgCluster& source() { return fleet_.source(); }
  testing::PgCluster& target() { return fleet_.target(); }

  void MakeTemplate() {
    target().Exec("postgres", std::string("CREATE ROLE ") + kTemplateOwner);
    target().Exec("postgres", std::string("CREATE DATABASE ") + kTemplate);
    Pipe(kCopyDefinitions, source().SocketConninfo("platform"), target().SocketConninfo(kTemplate));
    target().Exec(kTemplate, kGiveToTemplateOwner);
  }

  // The projects as pg_dump and pgcopydb find them: each in a database of its own, on the source.
  void MakeDatabases() {
    source().Exec("postgres", "CREATE DATABASE one");
    Pipe(kCopyDefinitions, source().SocketConninfo("platform"), source().SocketConninfo("one"));
    Pipe(kCopyReference, source().SocketConninfo("platform"), source().SocketConninfo("one"));
    source().Exec("one", "VACUUM ANALYZE");
    for (const std::string& ref : few_) {
      source().Exec("postgres", "CREATE DATABASE \"one_" + ref + "\" TEMPLATE one");
    }
  }

  void Pipe(const std::string& text, const std::string& from, const std::string& to) {
    XargsScript(text, {{"FROM", from}, {"TO", to}, {"COLUMNS", fleet_.folder() + "/columns"}})
        .Run({fleet_.refs()[0]}, 1);
  }

  // Everything as before the first round.
  void Clean() {
    SetAside(target(), "project_");
    source().Exec("platform",
                  "UPDATE public.projects SET database_name = NULL, database_user = NULL, database_password_hash = "
                  "NULL, credential_status = 'fallback', writes_frozen = false");
    source().Exec("platform", "VACUUM public.projects");
    source().Exec("postgres", "CHECKPOINT");
    SetAsideBackups(fleet_);
  }

  double Ours(int slots) {
    Clean();
    UseSlots(slots);
    const double seconds = RunMigration(fleet_, our_cpu_);
    ++our_runs_;
    for (size_t i = 0; i < fleet_.refs().size(); i += 1 + fleet_.refs().size() / 10) {
      if (const std::string why = fleet_.WhyNotIsolated(fleet_.refs()[i]); !why.empty()) {
        throw std::runtime_error(why);
      }
    }
    CheckRows(fleet_.refs());
    return seconds / projects_;
  }

  void UseSlots(int slots) {
    if (slots != slots_) {
      slots_ = slots;
      our_cpu_.Watch("worker", fleet_.StartWorker("bench", "", slots).pid());
    }
  }

  double Bare(int threads) {
    Clean();
    const BareLoop loop = {Superuser(source()) + " dbname=platform", Superuser(target()),
                           Superuser(source()) + " dbname=platform", kTemplate, kTemplateOwner};
    bare_cpu_.Start();
    const double seconds = RunBareLoop(loop, fleet_.refs(), threads);
    bare_cpu_.Stop();
    ++bare_runs_;
    CheckRows(fleet_.refs());
    return seconds / projects_;
  }

  double Peer(const char* script, int parallel) {
    Clean();
    const XargsScript peer(script, {{"SOURCE", Superuser(source()) + " dbname=platform"},
                                    {"SERVER", Superuser(source())},
                                    {"TARGET", Superuser(target())},
                                    {"COLUMNS", fleet_.folder() + "/columns"}});
    const double seconds = peer.Run(few_, parallel);
    CheckRows(few_);
    return seconds / static_cast<double>(few_.size());
  }

  void AddPeer(std::vector<Contestant>& contestants, const char* name, const char* script) {
    if (report_.TakesPart(name)) {
      const int parallel = Best(name, [this, script](int n) { return Peer(script, n); });
      contestants.push_back({name, [this, script, parallel] { return Peer(script, parallel); }});
    }
  }

  // How many at a time suit this contestant best.
  int Best(const std::string& name, const std::function<double(int)>& run) {
    int best = 2;
    double least = std::numeric_limits<double>::max();
    for (const int candidate : {2, 3, 4, 6}) {
      if (report_.options().quick && candidate != best) {
        continue;
      }
      const double seconds = run(candidate);
      if (seconds < least) {
        least = seconds;
        best = candidate;
      }
    }
    report_.Setting(name, std::to_string(best) + " at a time, the best of 2, 3, 4 and 6");
    return best;
  }

  void CheckRows(const std::vector<std::string>& refs) {
    for (const std::string& ref : refs) {
      if (const std::string rows = target().QueryValue("project_" + ref, kRows); rows != kReferenceRows) {
        throw std::runtime_error("project " + ref + " has " + rows + " rows");
      }
    }
  }

  Report& report_;
  const int projects_;
  // Of the worker that runs; 0: none does.
  int slots_ = 0;
  CpuMeter our_cpu_;
  CpuMeter bare_cpu_;
  int our_runs_ = 0;
  int bare_runs_ = 0;
  testing::Fleet fleet_;
  const std::vector<std::string> few_;
};

}  // namespace

void RunFleet(Report& report) { Bench(report).Run(); }

}  // namespace pgconvoy::bench
