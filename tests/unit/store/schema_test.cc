#include "coordinator/store/schema.h"

#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include "tests/unit/store/store_fixture.h"

namespace pgconvoy::store {
namespace {

class SchemaTest : public StoreFixture {
 protected:
  absl::Status Check(std::span<const SchemaFile> files) {
    pqxx::connection connection(Conninfo());
    pqxx::work tx(connection);
    return CheckSchema(tx, files);
  }
};

TEST_F(SchemaTest, NumbersItsFilesFromOneWithoutGaps) {
  int version = 0;
  for (const SchemaFile& file : SchemaFiles()) {
    EXPECT_EQ(file.version, ++version) << file.name;
  }
  EXPECT_GE(version, 1);
}

TEST_F(SchemaTest, AppliesOnlyWhatIsMissing) {
  const SchemaFile first{1, "0001_first", "CREATE TABLE pgconvoy.one (a int)"};
  const SchemaFile second{2, "0002_second", "CREATE TABLE pgconvoy.two (a int)"};
  pqxx::connection connection(Conninfo());
  for (const auto& files : {std::vector{first}, std::vector{first, second}, std::vector{first, second}}) {
    pqxx::work tx(connection);
    ASSERT_TRUE(MigrateSchema(tx, files).ok());
    tx.commit();
  }
  EXPECT_EQ(Query("SELECT string_agg(name, ',' ORDER BY version) FROM pgconvoy.schema_migration"),
            "0001_first,0002_second");
}

TEST_F(SchemaTest, KeepsTheResultsOfAStoreInWhichEachHadARowOfItsOwn) {
  pqxx::connection connection(Conninfo());
  constexpr size_t kBefore = 4;
  {
    pqxx::work tx(connection);
    ASSERT_TRUE(MigrateSchema(tx, SchemaFiles().subspan(0, kBefore)).ok());
    tx.exec(R"sql(
      INSERT INTO pgconvoy.phase_result (project_id, direction, phase, fence, migration_id, end_time, payload)
      VALUES (7, 'FORWARD', 'BACKUP', 3, 1, '2026-01-01', '{"phase":"BACKUP","fence":"3","n":1}'),
             (7, 'FORWARD', 'COPY', 3, 1, '2026-01-02', '{"phase":"COPY","fence":"3"}'),
             (7, 'ROLLBACK', 'CLEANUP', 4, 1, '2026-01-03', '{"phase":"CLEANUP","fence":"4"}');
      CREATE VIEW public.mine AS SELECT * FROM pgconvoy.phase_result)sql");
    tx.commit();
  }
  pqxx::work tx(connection);
  ASSERT_TRUE(MigrateSchema(tx, SchemaFiles()).ok());
  tx.commit();
  EXPECT_EQ(Query("SELECT string_agg(concat_ws(' ', project_id, direction, phase, fence, end_time::date), ', ' "
                  "ORDER BY end_time) FROM pgconvoy.phase_result"),
            "7 FORWARD BACKUP 3 2026-01-01, 7 FORWARD COPY 3 2026-01-02, 7 ROLLBACK CLEANUP 4 2026-01-03");
  EXPECT_EQ(Query("SELECT payload->>'n' FROM pgconvoy.backup_result WHERE fence = 3"), "1");
}

TEST_F(SchemaTest, RefusesAStoreOfANewerVersionAndLeavesItsLeaderAlone) {
  auto leader = Open();
  ASSERT_TRUE(leader->Lead(std::nullopt).ok());
  Exec("INSERT INTO pgconvoy.schema_migration (version, name, sha256) VALUES (9999, '9999_future', 'x')");
  EXPECT_EQ(CodeOf(Open()->Lead(std::nullopt).status()), "PGC-STORE-NEWER");
  EXPECT_TRUE(leader->Commit(SomeFleet(1, 1)).ok());
}

TEST_F(SchemaTest, RefusesAStoreMadeFromAnotherFile) {
  ASSERT_TRUE(Open()->Lead(std::nullopt).ok());
  Exec("UPDATE pgconvoy.schema_migration SET sha256 = 'x' WHERE version = 1");
  EXPECT_EQ(CodeOf(Open()->Lead(std::nullopt).status()), "PGC-STORE-ALTERED");
}

TEST_F(SchemaTest, AcceptsAnEmptyDatabase) { EXPECT_TRUE(Check(SchemaFiles()).ok()); }

TEST_F(SchemaTest, SaysOfEveryColumnWhenItIsSet) {
  ASSERT_TRUE(Open()->Lead(std::nullopt).ok());
  EXPECT_EQ(Query("SELECT coalesce(string_agg(c.relname || '.' || a.attname, ', '), '') "
                  "FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
                  "WHERE c.relnamespace = 'pgconvoy'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 "
                  "AND col_description(c.oid, a.attnum) IS NULL"),
            "");
}

}  // namespace
}  // namespace pgconvoy::store
