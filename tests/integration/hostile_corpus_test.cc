// The hostile tenant: the owner of a database, or of rows in shared tables, who tries to gain from being migrated.
// tests/integration/hostile has what it leaves behind. What it reaches is judged by what no rollback takes back: the
// servers' logs, roles, memberships, settings, and canaries in other databases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "tests/integration/phases_fixture.h"
#include "tests/integration/relocation.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::StartsWith;

// One run of the tenant's code, as evil.strike reports it.
struct Strike {
  std::string vector;
  std::string session_user;
  std::string current_user;
  bool superuser = false;
  bool read_only = false;
  // The blows that the server did not refuse.
  std::string landed;
};

std::string Shown(const Strike& strike) {
  return strike.vector + " as " + strike.session_user + "/" + strike.current_user +
         (strike.superuser ? " SUPERUSER" : "") + (strike.read_only ? " read-only" : "") + strike.landed;
}

std::vector<Strike> StrikesIn(const std::string& log) {
  std::vector<Strike> strikes;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("LOG:  HOSTILE|");
    if (at == std::string::npos) {
      continue;
    }
    std::vector<std::string> fields;
    std::istringstream rest(line.substr(at));
    for (std::string field; std::getline(rest, field, '|');) {
      fields.push_back(field);
    }
    fields.resize(7);
    strikes.push_back({fields[1], fields[2], fields[3], fields[4] == "on", fields[5] == "on", fields[6]});
  }
  return strikes;
}

// What a server says about who may do what, and what came into databases that are not the tenant's.
std::set<std::string> Standing(PgCluster& cluster) {
  std::set<std::string> lines;
  for (const auto& row : cluster.QueryRows("postgres", R"sql(
      SELECT 'role ' || rolname || ' ' || concat_ws(',', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
             rolreplication, rolbypassrls, rolconnlimit) || ' ' || coalesce(rolpassword, '') FROM pg_authid
      UNION ALL SELECT 'member ' || roleid::regrole || ' ' || member::regrole || ' ' || admin_option FROM pg_auth_members
      UNION ALL SELECT 'setting ' || coalesce(d.datname, '') || ' ' || s.setrole::regrole || ' ' || s.setconfig::text
        FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
      UNION ALL SELECT 'database ' || datname || ' ' || datdba::regrole || ' ' || coalesce(datacl::text, '')
        FROM pg_database
      UNION ALL SELECT 'canary ' || what FROM canary
      UNION ALL SELECT 'file ' || sourcefile || ' ' || name || ' ' || setting FROM pg_file_settings
        WHERE sourcefile ~ 'auto.conf'
    )sql")) {
    lines.insert(row[0]);
  }
  return lines;
}

void PlantCanary(PgCluster& cluster) {
  cluster.Exec("postgres", "CREATE TABLE canary (what text)");
  // The current folder of whatever the server starts.
  std::ofstream(cluster.QueryValue("postgres", "SHOW data_directory") + "/canary.conninfo")
      << cluster.SocketConninfo("postgres");
}

std::set<std::string> Minus(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::set<std::string> left;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(left, left.end()));
  return left;
}

class HostileOwner : public PhasesOn<Relocation> {
 protected:
  explicit HostileOwner(int projects = 2) : PhasesOn({.projects = projects}) {
    PlantCanary(fleet_.old_server());
    PlantCanary(fleet_.new_server());
    tenant_password_ = fleet_.env()["PGCONVOY_DEMO_TENANT_PASSWORD"];
  }

  // By a login of its own: a superuser who has only changed its role could change back.
  std::unique_ptr<pg::Connection> OpenTenant() {
    auto session =
        pg::Connection::Open(fleet_.old_server().EndpointFor("legacy_app", tenant_password_, fleet_.database(ref_)), {});
    if (!session.ok()) {
      throw std::runtime_error(Describe(session.status()));
    }
    return *std::move(session);
  }
  void AsTenant(const std::string& sql) {
    if (const absl::Status done = OpenTenant()->ExecScript(sql); !done.ok()) {
      throw std::runtime_error(Describe(done));
    }
  }
  // What it makes runs its own code, too, which has changed the tenant's own password since.
  void Plant(const std::string& file) {
    AsTenant(ReadFile(SourceFile("tests/integration/hostile/" + file)));
    fleet_.old_server().Exec("postgres", "ALTER ROLE legacy_app PASSWORD '" + tenant_password_ +
                                             "'; ALTER ROLE legacy_app RESET ALL");
  }
  // From here on, everything that happens is the migration's doing.
  void Watch() {
    old_standing_ = Standing(fleet_.old_server());
    new_standing_ = Standing(fleet_.new_server());
    old_log_ = fleet_.old_server().log().size();
    new_log_ = fleet_.new_server().log().size();
  }
  std::vector<Strike> OldStrikes() { return StrikesIn(fleet_.old_server().log().substr(old_log_)); }
  std::vector<Strike> NewStrikes() { return StrikesIn(fleet_.new_server().log().substr(new_log_)); }

  absl::Status RunTo(worker::Attempt& attempt, Phase last) {
    for (const Phase phase : kForward) {
      if (absl::Status status = Run(attempt, phase); !status.ok() || phase == last) {
        return status;
      }
    }
    return absl::OkStatus();
  }
  absl::Status Migrate() { return RunAll(*NewAttempt(), kForward); }

  // Nothing but what the plan promises: the project's role and database on the new server.
  void ExpectNothingGained() {
    EXPECT_THAT(Minus(Standing(fleet_.old_server()), old_standing_), IsEmpty());
    EXPECT_THAT(Minus(old_standing_, Standing(fleet_.old_server())), IsEmpty());
    EXPECT_THAT(Minus(new_standing_, Standing(fleet_.new_server())), IsEmpty());
    const std::string user = "vision_" + ref_;
    for (const std::string& line : Minus(Standing(fleet_.new_server()), new_standing_)) {
      EXPECT_THAT(line, AnyOf(StartsWith("role " + user + " f,t,f,f,t,f,f,-1 SCRAM-SHA-256$"),
                              StartsWith("setting " + fleet_.database(ref_) + " - "),
                              StartsWith("database " + fleet_.database(ref_) + " " + user + " {" + user + "="),
                              StartsWith("database pgconvoy pgconvoy_provisioner {pgconvoy_provisioner="),
                              // Of the template: it owns nothing that is the platform's and cannot log in.
                              StartsWith("role pgc_tmplo_"), StartsWith("database pgc_tmpl_"),
                              StartsWith("member pgc_tmplo_")));
    }
  }

  std::string tenant_password_;
  std::set<std::string> old_standing_;
  std::set<std::string> new_standing_;
  size_t old_log_ = 0;
  size_t new_log_ = 0;
};

// The corpus can do harm: whoever loads these rows as a superuser has made the tenant one.
TEST_F(HostileOwner, WinsWhereASuperuserTouchesItsTables) {
  Plant("strike.sql");
  Plant("vectors.sql");
  Watch();
  fleet_.OnSource(ref_, "SET ROLE legacy_app; INSERT INTO evil.checked VALUES (4)");
  const std::vector<Strike> strikes = OldStrikes();
  ASSERT_EQ(strikes.size(), 1U);
  EXPECT_TRUE(strikes[0].superuser) << Shown(strikes[0]);
  const std::set<std::string> gained = Minus(Standing(fleet_.old_server()), old_standing_);
  EXPECT_THAT(gained, ::testing::Contains(StartsWith("role evil_admin t,")));
  EXPECT_THAT(gained, ::testing::Contains("canary program"));
  fleet_.OnSource(ref_, "SELECT FROM evil.partial");
  EXPECT_EQ(OldStrikes().back().vector, "index predicate") << "the planner does not run it";
}

TEST_F(HostileOwner, GainsNothingFromBeingMigrated) {
  Plant("strike.sql");
  Plant("vectors.sql");
  Plant("shadows.sql");
  AsTenant("ALTER DATABASE " + fleet_.database(ref_) + " SET search_path = evil, public, pg_catalog");
  Watch();
  const absl::Status moved = Migrate();
  EXPECT_EQ(Describe(moved), "OK");
  ExpectNothingGained();
  std::set<std::string> run;
  for (const Strike& strike : OldStrikes()) {
    ADD_FAILURE() << "on the old server: " << Shown(strike);
  }
  for (const Strike& strike : NewStrikes()) {
    EXPECT_FALSE(strike.superuser) << Shown(strike);
    EXPECT_THAT(strike.session_user, AnyOf(StartsWith("pgc_a_"), StartsWith("pgc_tmplo_"))) << Shown(strike);
    run.insert(strike.vector);
  }
  EXPECT_THAT(run, ::testing::IsSupersetOf({"check", "domain", "index expression", "security definer"}));
  EXPECT_EQ(fleet_.Leftovers(), "");
  // Last: this is a superuser who touches the tables.
  EXPECT_EQ(fleet_.Dump("old", ref_), fleet_.Dump("new", ref_));
}

}  // namespace
}  // namespace pgconvoy::testing
