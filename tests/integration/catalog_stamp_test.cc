// That no definition can change behind the stamp, and that clones are only taken for equal when they are.
#include "worker/phases/catalog_stamp.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "common/base/error.h"
#include "tests/support/pg_cluster.h"

namespace pgconvoy::testing {
namespace {

constexpr char kDefinitions[] = R"sql(
CREATE SCHEMA app;
CREATE TYPE app.state AS ENUM ('new', 'old');
CREATE DOMAIN app.email AS text CHECK (VALUE LIKE '%@%');
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TABLE app.users (id serial PRIMARY KEY, email app.email DEFAULT 'a@b', state app.state, n int CHECK (n > 0));
CREATE INDEX users_n ON app.users (n) WHERE n > 5;
CREATE TABLE app.notes (id int PRIMARY KEY, user_id int, parts int GENERATED ALWAYS AS (id * 2) STORED);
CREATE VIEW app.both AS SELECT u.id, t.parts FROM app.users u JOIN app.notes t ON t.user_id = u.id;
COMMENT ON TABLE app.users IS 'people';
)sql";

// What VERIFY adds to a clone.
constexpr char kAdded[] = R"sql(
ALTER TABLE app.notes ADD CONSTRAINT notes_user FOREIGN KEY (user_id) REFERENCES app.users (id);
CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE POLICY own ON app.users USING (n = 7);
ALTER TABLE app.users ENABLE ROW LEVEL SECURITY;
)sql";

// One at a time; each is a difference that a migration must not overlook.
const char* const kChanges[] = {
    "ALTER TABLE app.users ADD COLUMN more int",
    "ALTER TABLE app.users ALTER COLUMN state TYPE text",
    "ALTER TABLE app.users ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE app.users ALTER COLUMN n SET DEFAULT 9",
    "ALTER TABLE app.users RENAME COLUMN n TO m",
    "ALTER TABLE app.users DROP CONSTRAINT users_n_check",
    "DROP INDEX app.users_n",
    "CREATE INDEX ON app.users (state)",
    "CREATE TABLE app.third ()",
    "DROP VIEW app.both",
    "CREATE OR REPLACE VIEW app.both AS SELECT u.id, t.parts FROM app.users u LEFT JOIN app.notes t ON t.user_id = "
    "u.id",
    "CREATE OR REPLACE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
    "ALTER FUNCTION app.touch() SECURITY DEFINER",
    "ALTER TYPE app.state ADD VALUE 'lost'",
    "ALTER DOMAIN app.email DROP CONSTRAINT email_check",
    "ALTER TABLE app.notes DROP CONSTRAINT notes_user",
    "ALTER TABLE app.users DISABLE TRIGGER touch",
    "DROP TRIGGER touch ON app.users",
    "ALTER POLICY own ON app.users USING (n = 8)",
    "DROP POLICY own ON app.users",
    "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE app.users FORCE ROW LEVEL SECURITY",
    "ALTER SEQUENCE app.users_id_seq INCREMENT 5",
    "COMMENT ON TABLE app.users IS 'others'",
    "CREATE SEQUENCE app.numbers",
    "CREATE STATISTICS app.more ON n, state FROM app.users",
};

class CatalogStampTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<PgCluster>(); }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    for (const char* const database : {"fresh", "first", "second"}) {
      server_->Exec("postgres", std::string("DROP DATABASE IF EXISTS ") + database);
    }
    server_->Exec("postgres", "CREATE DATABASE fresh");
    server_->Exec("fresh", kDefinitions);
  }

  // Two clones, to both of which the same was added; things made in between give the second one other numbers.
  void Clone() {
    server_->Exec("postgres", "CREATE DATABASE first TEMPLATE fresh");
    server_->Exec("postgres", "CREATE DATABASE second TEMPLATE fresh");
    server_->Exec("second", "CREATE SCHEMA pgconvoy; CREATE TABLE pgconvoy.ledger (a text PRIMARY KEY)");
    server_->Exec("first", kAdded);
    server_->Exec("second", kAdded);
  }

  using Read = absl::StatusOr<std::string> (*)(pg::Connection&);

  static std::string Require(const absl::StatusOr<std::string>& answer) {
    if (!answer.ok()) {
      throw std::runtime_error(Describe(answer.status()));
    }
    return *answer;
  }

  static std::unique_ptr<pg::Connection> Open(const std::string& database) {
    auto session = pg::Connection::Open(server_->Superuser(database), {});
    if (!session.ok()) {
      throw std::runtime_error(Describe(session.status()));
    }
    return *std::move(session);
  }

  static std::string Stamp(const std::string& database) { return Require(worker::CatalogStamp(*Open(database))); }
  static std::string Signature(const std::string& database) {
    return Require(worker::CloneSignature(*Open(database)));
  }

  // Each change is made and taken back.
  static void ExpectEachChangeToShow(const std::string& database, Read read) {
    const auto session = Open(database);
    const std::string before = Require(read(*session));
    for (const char* const change : kChanges) {
      ASSERT_TRUE(session->Begin().ok());
      const absl::Status changed = session->ExecScript(change);
      EXPECT_TRUE(changed.ok()) << change << Describe(changed);
      EXPECT_NE(Require(read(*session)), before) << change;
      session->Rollback();
      EXPECT_EQ(Require(read(*session)), before) << change;
    }
  }

  static inline std::unique_ptr<PgCluster> server_;
};

TEST_F(CatalogStampTest, RowsAndStatisticsDoNotChangeIt) {
  const std::string before = Stamp("fresh");
  server_->Exec("fresh", "INSERT INTO app.users (n) SELECT i FROM generate_series(1, 1000) i; DELETE FROM app.users");
  server_->Exec("fresh", "SELECT setval('app.users_id_seq', 99)");
  server_->Exec("fresh", "VACUUM ANALYZE app.users");
  EXPECT_EQ(Stamp("fresh"), before);
}

TEST_F(CatalogStampTest, EveryChangeOfADefinitionChangesIt) {
  server_->Exec("fresh", kAdded);
  ExpectEachChangeToShow("fresh", worker::CatalogStamp);
}

TEST_F(CatalogStampTest, PrivilegesAndSettingsOfTheDatabaseAreAmongTheDefinitions) {
  for (const char* const change :
       {"GRANT SELECT ON app.users TO PUBLIC", "GRANT USAGE ON SCHEMA app TO PUBLIC",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC", "GRANT SELECT (n) ON app.users TO PUBLIC",
        "ALTER DATABASE fresh SET search_path = app"}) {
    const std::string before = Stamp("fresh");
    server_->Exec("fresh", change);
    EXPECT_NE(Stamp("fresh"), before) << change;
  }
}

TEST_F(CatalogStampTest, ATransactionSeesTheStampOfItsSnapshot) {
  const auto session = Open("fresh");
  ASSERT_TRUE(session->Begin("ISOLATION LEVEL REPEATABLE READ").ok());
  const std::string before = Require(worker::CatalogStamp(*session));
  server_->Exec("fresh", "CREATE TABLE app.later ()");
  EXPECT_EQ(Require(worker::CatalogStamp(*session)), before);
  ASSERT_TRUE(session->Commit().ok());
  EXPECT_NE(Require(worker::CatalogStamp(*session)), before);
}

TEST_F(CatalogStampTest, ClonesWithTheSameAdditionsHaveOneSignature) {
  Clone();
  EXPECT_EQ(Signature("first"), Signature("second"));
  server_->Exec("second", "CREATE ROLE somebody; ALTER TABLE app.notes OWNER TO somebody");
  EXPECT_EQ(Signature("first"), Signature("second")) << "whoever owns them";
}

TEST_F(CatalogStampTest, ACloneThatDiffersInAnythingHasAnotherSignature) {
  Clone();
  ASSERT_EQ(Signature("first"), Signature("second"));
  ExpectEachChangeToShow("first", worker::CloneSignature);
}

}  // namespace
}  // namespace pgconvoy::testing
