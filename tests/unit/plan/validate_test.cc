#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/crypto/crypto.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Case {
  const char* old_text;
  const char* new_text;
  const char* code;
  // Text whose line must be named; empty when the problem concerns the whole file.
  const char* at;
  const char* field;
};

void ExpectOnly(const Case& bad, bool warning) {
  const std::string text = SampleWith(bad.old_text, bad.new_text);
  const ParsedPlan parsed = ParsePlan(text, "plan.yaml");
  EXPECT_THAT(Brief(parsed.problems),
              ElementsAre(bad.code + (":" + std::to_string(LineOf(text, bad.at))) + " " + bad.field))
      << bad.new_text << "\n"
      << FormatAll(parsed.problems);
  EXPECT_EQ(parsed.ok(), warning) << bad.new_text;
}

constexpr char kCheckLines[] =
    "  - name: has-users\n    stage: POST\n    place: TARGET\n"
    "    sql: SELECT count(*) > 0 FROM auth.users WHERE project_ref = {ref}\n";
constexpr char kFreezeLines[] =
    "freeze:\n  apply:\n    - UPDATE public.projects SET frozen = true WHERE ref = {ref}\n"
    "  undo:\n    - UPDATE public.projects SET frozen = false WHERE ref = {ref}\n";
constexpr char kUndoLines[] = "  undo:\n    - UPDATE public.projects SET frozen = false WHERE ref = {ref}\n";
constexpr char kBackupLines[] = "backup:\n  directory: /var/backups/pgconvoy\n  compression_level: 3\n";
constexpr char kCutoverLines[] = "    database_name: \"{database}\"\n    password_hash: \"{verifier}\"\n";

TEST(ValidatePlan, RequiresWhatEveryPlanNeeds) {
  const Case table[] = {
      {"version: 1\n", "", "PGC-PLAN-REQUIRED", "", "version"},
      {"version: 1", "version: 2", "PGC-PLAN-VERSION", "version", "version"},
      {"name: sample\n", "", "PGC-PLAN-REQUIRED", "", "name"},
      {"name: sample", "name: \" \"", "PGC-PLAN-REQUIRED", "name:", "name"},
      {"name: sample", "name: Sample", "PGC-PLAN-NAME", "Sample", "name"},
      {"name: sample", "name: sample plan", "PGC-PLAN-NAME", "sample plan", "name"},
      {"    conninfo: host=db2\n", "", "PGC-PLAN-REQUIRED", "    provisioner:", "servers.isolated.conninfo"},
      {"      user: provisioner", "      password: ${env:P}", "PGC-PLAN-REQUIRED", "${env:P}",
       "servers.isolated.provisioner.user"},
      {"source:\n  server: shared\n  database: platform\n", "", "PGC-PLAN-REQUIRED", "", "source"},
      {"source:\n  server: shared\n", "source:\n", "PGC-PLAN-REQUIRED", "  database: platform\nregistry",
       "source.server"},
      {"  database: platform\nregistry", "registry", "PGC-PLAN-REQUIRED", "  server: shared\nregistry",
       "source.database"},
      {kBackupLines, "", "PGC-PLAN-REQUIRED", "", "backup"},
      {"  directory: /var/backups/pgconvoy\n", "", "PGC-PLAN-REQUIRED", "  compression_level", "backup.directory"},
      {"  schemas: [auth, storage]\n", "  schemas: []\n", "PGC-PLAN-REQUIRED", "schemas", "target.schemas"},
      {"  ref_column: ref\n", "", "PGC-PLAN-REQUIRED", "  server: shared\n  database: platform\n  table",
       "registry.ref_column"},
      {kUndoLines, "", "PGC-PLAN-REQUIRED", "  apply:", "freeze.undo"},
      {"  recipient: ${env:RECIPIENT}\n", "", "PGC-PLAN-REQUIRED", "  user: project_{ref}", "credentials.recipient"},
      {"    stage: POST\n", "", "PGC-PLAN-REQUIRED", "  - name: has-users", "checks[0].stage"},
      {"    place: TARGET\n", "", "PGC-PLAN-REQUIRED", "  - name: has-users", "checks[0].place"},
      {kCutoverLines, "    {}\n", "PGC-PLAN-REQUIRED", "    {}", "cutover.set"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, ChecksServersAndTheirLogins) {
  const Case table[] = {
      {"source:\n  server: shared", "source:\n  server: sharde", "PGC-PLAN-SERVER", "sharde", "source.server"},
      {"target:\n  server: isolated", "target:\n  server: nowhere", "PGC-PLAN-SERVER", "nowhere", "target.server"},
      {"    reader:\n      user: reader\n      password: ${env:READER}\n", "", "PGC-PLAN-LOGIN",
       "    conninfo: host=db1", "servers.shared.reader"},
      {"    provisioner:\n      user: provisioner\n", "", "PGC-PLAN-LOGIN", "    conninfo: host=db2",
       "servers.isolated.provisioner"},
      {"    registrar:\n      user: registrar\n      password: ${file:/run/secrets/registrar}\n", "",
       "PGC-PLAN-LOGIN", "    conninfo: host=db1", "servers.shared.registrar"},
      {"${env:READER}", "hunter2", "PGC-PLAN-SECRET-LITERAL", "hunter2", "servers.shared.reader.password"},
      {"${env:READER}", "${vault:x}", "PGC-PLAN-SECRET-LITERAL", "vault", "servers.shared.reader.password"},
      {"${env:READER}", "${env:}", "PGC-PLAN-SECRET-LITERAL", "${env:}", "servers.shared.reader.password"},
      {"host=db2", "host=db2 user=me", "PGC-PLAN-CONNINFO", "user=me", "servers.isolated.conninfo"},
      {"host=db2", "host=db2 port=70000", "PGC-PLAN-CONNINFO", "70000", "servers.isolated.conninfo"},
      {"host=db2", "${env:A} port=1", "PGC-PLAN-CONNINFO", "${env:A}", "servers.isolated.conninfo"},
      {"    conninfo: host=db2", "    conninfo: host=db2\n    max_projects: 10001", "PGC-PLAN-RANGE", "10001",
       "servers.isolated.max_projects"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, ChecksTemplatesAndPlaceholders) {
  const Case table[] = {
      {"target:\n  server: isolated\n  database: project_{ref}", "target:\n  server: isolated\n  database: projects",
       "PGC-PLAN-PLACEHOLDER", "projects\n  schemas", "target.database"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: everybody", "PGC-PLAN-PLACEHOLDER", "everybody",
       "credentials.user"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: pg_{ref}", "PGC-PLAN-NAME", "pg_{ref}",
       "credentials.user"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: \"{ref:ident}\"", "PGC-PLAN-TEMPLATE", "ident",
       "credentials.user"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: a_name_that_leaves_no_room_{ref}",
       "PGC-PLAN-NAME", "a_name", "credentials.user"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: project_{reff}", "PGC-PLAN-PLACEHOLDER",
       "{reff}", "credentials.user"},
      {"credentials:\n  user: project_{ref}", "credentials:\n  user: project_{ref", "PGC-PLAN-TEMPLATE",
       "project_{ref\n", "credentials.user"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = '{ref}'\n", "PGC-PLAN-TEMPLATE", "'{ref}'",
       "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {}\n", "PGC-PLAN-TEMPLATE", "{}",
       "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {owner_i}\n", "PGC-PLAN-PLACEHOLDER",
       "{owner_i}", "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {database}\n", "PGC-PLAN-PLACEHOLDER",
       "= {database}", "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {ref}; DELETE FROM x\n", "PGC-PLAN-TEMPLATE",
       "DELETE", "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {ref}) OR (true\n", "PGC-PLAN-TEMPLATE",
       "OR (true", "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: \"\"\n", "PGC-PLAN-REQUIRED", "where: \"\"",
       "tables[0].where"},
      {"    - UPDATE public.projects SET frozen = true WHERE ref = {ref}",
       "    - UPDATE public.projects SET x = '{ref}'", "PGC-PLAN-TEMPLATE", "'{ref}'", "freeze.apply[0]"},
      {"status = 'active'", "status = 'active", "PGC-PLAN-TEMPLATE", "'active", "registry.where"},
      {"coalesce(size, 0)", "coalesce(size, 0", "PGC-PLAN-TEMPLATE", "coalesce", "registry.estimated_bytes"},
      {"\"{database}\"", "\"{databse}\"", "PGC-PLAN-PLACEHOLDER", "{databse}", "cutover.set.database_name"},
      {"\"{database}\"", "\"{ref:ident}\"", "PGC-PLAN-TEMPLATE", "ident", "cutover.set.database_name"},
      {"    database_name:", "    ref:", "PGC-PLAN-TABLE", "    ref:", "cutover.set.ref"},
      {"[owner_id]", "[Owner, owner_id]", "PGC-PLAN-NAME", "Owner", "registry.attribute_columns[0]"},
      {"[owner_id]", "[owner_id, verifier]", "PGC-PLAN-NAME", "[owner_id, verifier]",
       "registry.attribute_columns[1]"},
      {"[owner_id]", "[owner_id, owner_id]", "PGC-PLAN-DUPLICATE", "owner_id,", "registry.attribute_columns[1]"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, ChecksTablesLinksAndDatabases) {
  const Case table[] = {
      {"table: auth.users", "table: users", "PGC-PLAN-TABLE", "table: users", "tables[0].table"},
      {"table: storage.objects", "table: a.storage.objects", "PGC-PLAN-TABLE", "a.storage", "tables[1].table"},
      {"  - table: auth.users", "  - table: auth.users\n    where: id = {ref}\n  - table: '\"auth\".\"users\"'",
       "PGC-PLAN-DUPLICATE", "'\"auth\"", "tables[1].table"},
      {"[auth, storage]", "[auth]", "PGC-PLAN-TABLE", "table: storage.objects", "tables[1].table"},
      {"[auth, storage]", "[auth, storage, auth]", "PGC-PLAN-DUPLICATE", "[auth, storage", "target.schemas[2]"},
      {"to: auth.users.id", "to: auth.users", "PGC-PLAN-TABLE", "to: auth.users\n", "links[0].to"},
      {"to: auth.users.id", "to: auth.accounts.id", "PGC-PLAN-LINK", "accounts", "links[0].to"},
      {"table: public.projects", "table: projects", "PGC-PLAN-TABLE", "table: projects", "registry.table"},
      {"/var/backups/pgconvoy", "backups", "PGC-PLAN-DIRECTORY", "backups", "backup.directory"},
      {"/var/backups/pgconvoy", "../../etc", "PGC-PLAN-DIRECTORY", "../../etc", "backup.directory"},
      {"/var/backups/pgconvoy", "/var/../etc", "PGC-PLAN-DIRECTORY", "/var/../etc", "backup.directory"},
      {"/var/backups/pgconvoy", "/var/..", "PGC-PLAN-DIRECTORY", "/var/..", "backup.directory"},
      {"${env:RECIPIENT}", "bm90IGEga2V5", "PGC-PLAN-RECIPIENT", "bm90", "credentials.recipient"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, ChecksChecks) {
  const std::string twice =
      std::string(kCheckLines) + "  - {name: has-users, stage: POST, place: TARGET, sql: SELECT true}\n";
  const Case table[] = {
      {kCheckLines, twice.c_str(), "PGC-PLAN-DUPLICATE", "{name: has-users", "checks[1].name"},
      {"stage: POST", "stage: PRE", "PGC-PLAN-CHECK", "place: TARGET", "checks[0].place"},
      {"name: has-users", "name: Has Users", "PGC-PLAN-NAME", "Has Users", "checks[0].name"},
      {"SELECT count(*) > 0", "SELECT '", "PGC-PLAN-TEMPLATE", "SELECT '", "checks[0].sql"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, ChecksRanges) {
  const Case table[] = {
      {"compression_level: 3", "compression_level: 20", "PGC-PLAN-RANGE", "20", "backup.compression_level"},
      {"compression_level: 3", "retention_days: 36501", "PGC-PLAN-RANGE", "36501", "backup.retention_days"},
      {"compression_level: 3", "chunk_bytes: 65535", "PGC-PLAN-RANGE", "65535", "backup.chunk_bytes"},
      {"compression_level: 3", "chunk_bytes: 268435457", "PGC-PLAN-RANGE", "268435457", "backup.chunk_bytes"},
      {"batch_size: 10", "batch_size: 10001", "PGC-PLAN-RANGE", "10001", "execution.batch_size"},
      {"batch_size: 10", "max_attempts: 101", "PGC-PLAN-RANGE", "101", "execution.max_attempts"},
      {"batch_size: 10", "jobs: 65", "PGC-PLAN-RANGE", "65", "execution.jobs"},
      {"batch_size: 10", "phase_timeout_ms: 86400001", "PGC-PLAN-RANGE", "86400001", "execution.phase_timeout_ms"},
      {"batch_size: 10", "initial_backoff_ms: 30001", "PGC-PLAN-RANGE", "30001", "execution.initial_backoff_ms"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, false);
  }
}

TEST(ValidatePlan, WarnsAboutWhatIsUnusualButAllowed) {
  const Case table[] = {
      {kFreezeLines, "", "PGC-PLAN-NO-FREEZE", "", "freeze"},
      {"    where: project_ref = {ref}\n", "    where: is_public\n", "PGC-PLAN-PLACEHOLDER", "is_public",
       "tables[0].where"},
      {"    where: project_ref = {ref}\n", "    where: project_ref = {ref} AND z = {shard}\n", "PGC-PLAN-PLACEHOLDER",
       "{shard}", "tables[0].where"},
  };
  for (const Case& odd : table) {
    ExpectOnly(odd, true);
  }
}

TEST(ValidatePlan, TakesTheOperatorsWordAsAFreeze) {
  const ParsedPlan parsed = ParsePlan(SampleWith(kFreezeLines, "freeze:\n  confirmed_by_operator: true\n"), "p.yaml");
  EXPECT_EQ(FormatAll(parsed.problems), "");
}

TEST(ValidatePlan, RefusesOneDatabaseAsSourceAndTarget) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.mutable_source()->set_database("project_{ref}");
  EXPECT_THAT(ValidatePlan(plan), IsEmpty());
  // The same server under another name.
  (*plan.mutable_servers())["isolated"].set_conninfo(plan.servers().at("shared").conninfo());
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-SAME-DATABASE:0 target.database"));
}

TEST(ValidatePlan, NeedsNoConditionWhereEachProjectHasADatabase) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.mutable_source()->set_database("tenant_{ref}");
  plan.mutable_tables(0)->clear_where();
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
}

TEST(ValidatePlan, ChecksWhatSectionsNeedOfEachOther) {
  const v1::Plan sample = ParsePlan(kSamplePlan, "p.yaml").plan;
  v1::Plan plan = sample;
  plan.clear_registry();
  EXPECT_THAT(Brief(ValidatePlan(plan)), Contains("PGC-PLAN-REQUIRED:0 registry"));
  plan = sample;
  plan.clear_credentials();
  EXPECT_THAT(Brief(ValidatePlan(plan)),
              ElementsAre("PGC-PLAN-REQUIRED:0 credentials", "PGC-PLAN-PLACEHOLDER:0 cutover.set.password_hash"));
  plan = sample;
  plan.clear_target();
  EXPECT_THAT(Brief(ValidatePlan(plan)),
              ElementsAre("PGC-PLAN-LOGIN:0 servers.shared.provisioner", "PGC-PLAN-REQUIRED:0 credentials.schemas",
                          "PGC-PLAN-CHECK:0 checks[0].place"));
  plan = sample;
  plan.mutable_servers()->clear();
  EXPECT_THAT(Brief(ValidatePlan(plan)), Contains("PGC-PLAN-REQUIRED:0 servers"));
}

// The sample without what moves rows.
v1::Plan OnlyCredentials() {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.clear_target();
  plan.clear_tables();
  plan.clear_links();
  plan.clear_backup();
  plan.clear_checks();
  *(*plan.mutable_servers())["shared"].mutable_provisioner() = plan.servers().at("isolated").provisioner();
  plan.mutable_source()->set_database("tenant_{ref}");
  plan.mutable_credentials()->add_schemas("app");
  v1::Fallback* const fallback = plan.mutable_credentials()->mutable_fallback();
  fallback->set_user("fallback");
  fallback->set_password("${env:FALLBACK}");
  return plan;
}

TEST(ValidatePlan, TakesCredentialsWithoutATarget) {
  v1::Plan plan = OnlyCredentials();
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
  plan.clear_freeze();
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "") << "no row moves, so none must be kept from changing";
}

TEST(ValidatePlan, ChecksWhatALoginWithoutATargetIsGiven) {
  v1::Plan plan = OnlyCredentials();
  plan.mutable_credentials()->add_schemas("app");
  plan.mutable_credentials()->add_schemas("");
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-DUPLICATE:0 credentials.schemas[1]",
                                                     "PGC-PLAN-REQUIRED:0 credentials.schemas[2]"));
  plan = OnlyCredentials();
  plan.mutable_credentials()->clear_schemas();
  plan.mutable_credentials()->mutable_fallback()->clear_user();
  plan.mutable_credentials()->mutable_fallback()->set_password("in plain text");
  EXPECT_THAT(Brief(ValidatePlan(plan)),
              ElementsAre("PGC-PLAN-REQUIRED:0 credentials.schemas", "PGC-PLAN-REQUIRED:0 credentials.fallback.user",
                          "PGC-PLAN-SECRET-LITERAL:0 credentials.fallback.password"));
  plan = OnlyCredentials();
  plan.clear_cutover();
  plan.mutable_credentials()->mutable_fallback()->set_revoke_connect(true);
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-REQUIRED:0 credentials.fallback.revoke_connect"));
}

TEST(ValidatePlan, RefusesOneDatabaseForAllWhereItsOwnerOrItsLoginsChange) {
  v1::Plan plan = OnlyCredentials();
  plan.mutable_source()->set_database("platform");
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-PLACEHOLDER:0 credentials.fallback"));
  plan.mutable_credentials()->clear_fallback();
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
  plan.mutable_credentials()->set_permissions(v1::Credentials::OWNER);
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-PLACEHOLDER:0 credentials.permissions"));
}

TEST(ValidatePlan, RefusesPermissionsAndAFallbackBesideATarget) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  *plan.mutable_credentials()->mutable_fallback() = OnlyCredentials().credentials().fallback();
  plan.mutable_credentials()->set_permissions(v1::Credentials::READ_ONLY);
  plan.mutable_credentials()->add_schemas("app");
  EXPECT_THAT(Brief(ValidatePlan(plan)),
              ElementsAre("PGC-PLAN-CHECK:0 credentials.permissions", "PGC-PLAN-CHECK:0 credentials.schemas",
                          "PGC-PLAN-CHECK:0 credentials.fallback"));
}

TEST(ValidatePlan, ChecksTheStatementsOfTheCutover) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  v1::Step* const step = plan.mutable_cutover()->add_statements();
  step->set_apply("INSERT INTO log VALUES ({ref}, {user}, {database})");
  step->set_undo("DELETE FROM log WHERE ref = {ref}");
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
  plan.mutable_cutover()->clear_set();
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
  step->set_apply("INSERT INTO log VALUES ({verifier})");
  step->clear_undo();
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-PLACEHOLDER:0 cutover.statements[0].apply",
                                                     "PGC-PLAN-REQUIRED:0 cutover.statements[0].undo"));
}

// The problems of the sample with only this check.
std::vector<std::string> BriefOfCheck(const v1::Check& check) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.clear_checks();
  *plan.add_checks() = check;
  return Brief(ValidatePlan(plan));
}

v1::Check SampleCheck() {
  v1::Check check;
  check.set_name("c");
  check.set_stage(v1::Check::POST);
  return check;
}

TEST(ValidatePlan, TakesEveryKindOfCheck) {
  v1::Check check = SampleCheck();
  check.add_environment("A_VARIABLE");
  EXPECT_THAT(BriefOfCheck(check), IsEmpty());
  check = SampleCheck();
  check.mutable_http()->set_url("https://{ref}.example/{user}");
  (*check.mutable_http()->mutable_headers())["Authorization"] = "${env:TOKEN}";
  EXPECT_THAT(BriefOfCheck(check), IsEmpty());
  check.mutable_http()->set_url("${env:URL}");
  EXPECT_THAT(BriefOfCheck(check), IsEmpty());
  check = SampleCheck();
  check.set_stage(v1::Check::INTEGRITY);
  check.set_place(v1::Check::TARGET);
  check.mutable_connection()->set_user("app_{ref}");
  EXPECT_THAT(BriefOfCheck(check), IsEmpty());
  check = SampleCheck();
  check.set_place(v1::Check::TARGET);
  check.set_sql("SELECT {user}");
  check.mutable_equals()->set_place(v1::Check::SOURCE);
  check.mutable_equals()->set_sql("SELECT {user}");
  EXPECT_THAT(BriefOfCheck(check), IsEmpty());
}

TEST(ValidatePlan, RefusesChecksThatSayNothingOrTooMuch) {
  v1::Check check = SampleCheck();
  EXPECT_THAT(BriefOfCheck(check),
              ElementsAre("PGC-PLAN-REQUIRED:0 checks[0].place", "PGC-PLAN-REQUIRED:0 checks[0].sql"));
  check.set_sql("SELECT true");
  check.add_environment("A");
  EXPECT_THAT(BriefOfCheck(check), ElementsAre("PGC-PLAN-CHECK:0 checks[0]"));
  check.clear_sql();
  check.set_place(v1::Check::SOURCE);
  check.add_environment("A-B");
  EXPECT_THAT(BriefOfCheck(check),
              ElementsAre("PGC-PLAN-CHECK:0 checks[0].place", "PGC-PLAN-NAME:0 checks[0].environment[1]"));
  check = SampleCheck();
  check.set_place(v1::Check::SOURCE);
  check.set_sql("SELECT 1; SELECT 2");
  check.mutable_equals()->set_place(v1::Check::TARGET);
  EXPECT_THAT(BriefOfCheck(check),
              ElementsAre("PGC-PLAN-TEMPLATE:0 checks[0].sql", "PGC-PLAN-REQUIRED:0 checks[0].equals.sql"));
  check = SampleCheck();
  check.set_place(v1::Check::SOURCE);
  check.mutable_connection()->set_password("in plain text");
  EXPECT_THAT(BriefOfCheck(check), ElementsAre("PGC-PLAN-REQUIRED:0 checks[0].connection.user",
                                               "PGC-PLAN-SECRET-LITERAL:0 checks[0].connection.password"));
}

TEST(ValidatePlan, ChecksWhatAnHttpCheckAsks) {
  v1::Check check = SampleCheck();
  v1::Check::Http* const http = check.mutable_http();
  http->set_url("ftp://example/{nobody_knows}");
  http->set_expect_status(99);
  http->set_timeout_ms(600'001);
  (*http->mutable_headers())["X Y"] = "text";
  (*http->mutable_headers())["authorization"] = "Bearer in plain text";
  EXPECT_THAT(BriefOfCheck(check),
              ElementsAre("PGC-PLAN-PLACEHOLDER:0 checks[0].http.url", "PGC-PLAN-CHECK:0 checks[0].http.url",
                          "PGC-PLAN-RANGE:0 checks[0].http.expect_status",
                          "PGC-PLAN-RANGE:0 checks[0].http.timeout_ms", "PGC-PLAN-NAME:0 checks[0].http.headers.X Y",
                          "PGC-PLAN-SECRET-LITERAL:0 checks[0].http.headers.authorization"));
}

TEST(ValidatePlan, RefusesNegativeNumbersFromTheApi) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.mutable_execution()->set_batch_size(-1);
  plan.mutable_execution()->set_phase_timeout_ms(-1);
  (*plan.mutable_servers())["shared"].set_max_projects(-1);
  EXPECT_THAT(Brief(ValidatePlan(plan)),
              ElementsAre("PGC-PLAN-RANGE:0 servers.shared.max_projects", "PGC-PLAN-RANGE:0 execution.batch_size",
                          "PGC-PLAN-RANGE:0 execution.phase_timeout_ms"));
}

TEST(ValidatePlan, TakesALiteralPublicKey) {
  v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  plan.mutable_credentials()->set_recipient(GenerateKeyPair().public_key);
  EXPECT_EQ(FormatAll(ValidatePlan(plan)), "");
}

constexpr char kWholeSchemas[] = "  schemas: [\"*\"]\n";
constexpr char kUsersTable[] = "  - table: auth.users\n    where: project_ref = {ref}\n";

TEST(ValidatePlan, TakesPatternsOfTablesAndWholeDatabases) {
  EXPECT_EQ(FormatAll(ParsePlan(SampleWith("  schemas: [auth, storage]\n", kWholeSchemas), "p.yaml").problems), "");
  const std::string pattern = "  - table: auth.*\n    except: [auth.log_*]\n    where: project_ref = {ref}\n";
  EXPECT_EQ(FormatAll(ParsePlan(SampleWith(kUsersTable, pattern), "p.yaml").problems), "");
}

TEST(ValidatePlan, ChecksPatternsAndListsOfColumns) {
  const Case table[] = {
      {"schemas: [auth, storage]", "schemas: [auth, storage, \"*\"]", "PGC-PLAN-TABLE",
       "schemas:", "target.schemas[2]"},
      {kUsersTable, "  - table: auth.users\n    except: [auth.x]\n    where: project_ref = {ref}\n", "PGC-PLAN-TABLE",
       "except:", "tables[0].except"},
      {kUsersTable, "  - table: auth.*\n    except: [x]\n    where: project_ref = {ref}\n", "PGC-PLAN-TABLE",
       "except:", "tables[0].except[0]"},
      {kUsersTable, "  - table: auth.*\n    only_columns: [id]\n    where: project_ref = {ref}\n", "PGC-PLAN-TABLE",
       "  - table: auth.*", "tables[0].table"},
      {"exclude_columns: [cache]", "exclude_columns: [cache]\n    only_columns: [owner]", "PGC-PLAN-TABLE",
       "    only_columns", "tables[1].only_columns"},
      {"exclude_columns: [cache]", "only_columns: [owner, owner]", "PGC-PLAN-DUPLICATE", "    only_columns",
       "tables[1].only_columns[1]"},
      {"to: auth.users.id", "to: auth.log.id", "PGC-PLAN-LINK", "to: auth.log.id", "links[0].to"},
  };
  for (const Case& bad : table) {
    ExpectOnly(bad, /*warning=*/false);
  }
}

TEST(ValidatePlan, TakesServersThatAProjectsAttributesName) {
  const std::string sources = SampleWith("source:\n  server: shared", "source:\n  server: \"{owner_id}\"");
  EXPECT_EQ(FormatAll(ParsePlan(sources, "p.yaml").problems), "");
  const std::string targets = SampleWith("target:\n  server: isolated", "target:\n  server: \"{owner_id}\"");
  EXPECT_EQ(FormatAll(ParsePlan(targets, "p.yaml").problems), "");
  v1::Plan plan = ParsePlan(targets, "p.yaml").plan;
  (*plan.mutable_servers())["isolated"].clear_provisioner();
  EXPECT_THAT(Brief(ValidatePlan(plan)), ElementsAre("PGC-PLAN-LOGIN:0 servers"));
}

TEST(ValidatePlan, RefusesWhatOnlyTheCoordinatorMakesOfAnOlderPlan) {
  for (const char* const line : {"mode: ROTATE_CREDENTIALS", "mode: REVOKE_CREDENTIALS", "credentials_of: 7"}) {
    const std::string text = SampleWith("batch_size: 10", line);
    EXPECT_THAT(FormatAll(ParsePlan(text, "p.yaml").problems), ::testing::HasSubstr("PGC-PLAN-MODE")) << line;
  }
}

TEST(ValidatePlan, ReportsManyProblemsOfAnEmptyPlan) {
  EXPECT_THAT(Brief(ValidatePlan(v1::Plan())),
              ElementsAre("PGC-PLAN-REQUIRED:0 version", "PGC-PLAN-REQUIRED:0 name", "PGC-PLAN-REQUIRED:0 servers",
                          "PGC-PLAN-REQUIRED:0 source"));
}

}  // namespace
}  // namespace pgconvoy::plan
