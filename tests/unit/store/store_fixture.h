// A store on a real server: one server for the whole test binary, a fresh database for each test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/error.h"
#include "coordinator/store/store.h"
#include "tests/support/pg_cluster.h"

namespace pgconvoy::store {

class StoreFixture : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<testing::PgCluster>(testing::PgClusterOptions{.durable = true, .settings = {}});
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  StoreFixture() {
    static int next = 0;
    database_ = "store_" + std::to_string(++next);
    cluster_->Exec("postgres", "CREATE DATABASE " + database_);
  }

  std::string Conninfo() const { return cluster_->SocketConninfo(database_); }

  std::unique_ptr<Store> Open() const {
    auto store = Store::Open(Conninfo(), "test:1");
    EXPECT_TRUE(store.ok()) << Describe(store.status());
    return *std::move(store);
  }

  void Exec(const std::string& sql) const { cluster_->Exec(database_, sql); }
  std::string Query(const std::string& sql) const { return cluster_->QueryValue(database_, sql); }

  static std::unique_ptr<testing::PgCluster> cluster_;
  std::string database_;
};

inline std::unique_ptr<testing::PgCluster> StoreFixture::cluster_;

// ---- rows ------------------------------------------------------------------------------------------------------

inline core::MigrationRow SomeMigration(int64_t id) {
  core::MigrationRow row;
  row.id = {id};
  row.spec.name = "isolate \"quoted\" \\ ünï";
  row.spec.request_id = "request-" + std::to_string(id);
  row.spec.plan_json = R"({"name":"a, {b}","note":"line\nbreak"})";
  row.spec.plan_hash = "abc";
  row.spec.phases = {Phase::kFence, Phase::kPreValidation, Phase::kCleanup};
  row.spec.limits = {{"db one", 3}, {"db2", 8}};
  row.spec.batch_size = 7;
  row.spec.batch_bytes = 1'000'000'000'000;
  row.spec.max_attempts = 4;
  row.spec.initial_backoff_ms = 11;
  row.spec.max_backoff_ms = 12;
  row.spec.rollback_on_failure = false;
  row.spec.credentials_of = {id - 1};
  row.create_time = 1'700'000'000'123;
  row.counts[static_cast<size_t>(ProjectState::kPending)] = 2;
  row.rows_copied = 5;
  row.bytes_copied = 6;
  row.estimated_bytes = 9'000'000'000;
  return row;
}

inline core::BatchRow SomeBatch(int64_t id, int64_t migration) {
  core::BatchRow row;
  row.id = {id};
  row.migration = {migration};
  row.source_server = "db one";
  row.target_server = "db2";
  row.projects = 2;
  row.estimated_bytes = 77;
  return row;
}

inline core::ProjectRow SomeProject(int64_t id, int64_t migration, const std::string& ref) {
  core::ProjectRow row;
  row.id = {id};
  row.migration = {migration};
  row.batch = {1};
  row.ref = ref;
  row.attributes_json = R"({"region":"eu, \"west\"","empty":""})";
  row.estimated_bytes = 33;
  return row;
}

inline core::EventRow SomeEvent(const std::string& kind) {
  core::EventRow row;
  row.time = 1'700'000'000'456;
  row.migration = {1};
  row.project_ref = "p-1";
  row.kind = kind;
  row.actor = "worker:w1";
  row.rule = "T-01";
  row.reason = "because: 'quoted', {braces}";
  row.detail_json = R"({"b":1, "a":"x"})";
  return row;
}

// One migration with `projects` projects p-1, p-2, … in one batch.
inline core::Writes SomeFleet(int64_t migration, int projects) {
  core::Writes writes;
  writes.new_migrations = {SomeMigration(migration)};
  writes.new_batches = {SomeBatch(migration, migration)};
  for (int i = 1; i <= projects; ++i) {
    writes.new_projects.push_back(SomeProject(migration * 1000 + i, migration, "p-" + std::to_string(i)));
  }
  writes.events = {SomeEvent("MIGRATION_SUBMITTED")};
  writes.counters = core::Counters{10, migration + 1, migration + 1, migration * 1000 + projects + 1};
  return writes;
}

}  // namespace pgconvoy::store
