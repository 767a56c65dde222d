#include "tests/bench/graphile_peer.h"

#include <cstdio>
#include <stdexcept>

#include "tests/integration/installation.h"
#include "tests/support/process.h"

namespace pgconvoy::bench {
namespace {

// Processes and concurrent jobs: the best of what was tried on two cores, once each (batched 1 and 24, 2 and 24, 1 and
// 100; plain 1 and 24, 2 and 10). The differences are small.
constexpr char kBatchedSettings[] = " 1 24 batched";
constexpr char kPlainSettings[] = " 2 10 plain";

testing::Finished Shell(const std::string& command, const std::map<std::string, std::string>& env) {
  return testing::RunToEnd({.argv = {"/bin/bash", "-c", command}, .env = env}, std::chrono::minutes(5));
}

}  // namespace

std::unique_ptr<GraphilePeer> GraphilePeer::Create() {
  const testing::Finished fetched = Shell(testing::SourceFile("tests/bench/graphile/fetch.sh"), {});
  if (fetched.exit_code != 0) {
    std::fprintf(stderr, "graphile-worker does not take part: %s\n", fetched.err.c_str());
    return nullptr;
  }
  return std::unique_ptr<GraphilePeer>(new GraphilePeer(fetched.out.substr(0, fetched.out.find('\n'))));
}

GraphilePeer::GraphilePeer(std::string modules) : server_({.durable = true}), modules_(std::move(modules)) {
  Run("setup");
}

std::string GraphilePeer::Run(const std::string& arguments) {
  const testing::Finished done =
      Shell("exec node " + testing::SourceFile("tests/bench/graphile/drain.cjs") + " " + arguments,
            {{"PGHOST", server_.QueryValue("postgres", "SHOW unix_socket_directories")},
             {"PGPORT", std::to_string(server_.port())},
             {"PGUSER", "postgres"},
             {"PGDATABASE", "postgres"},
             {"GRAPHILE_MODULES", modules_}});
  if (done.exit_code != 0) {
    throw std::runtime_error("graphile-worker: " + done.err);
  }
  return done.out;
}

double GraphilePeer::Drain(int64_t jobs, bool batched) {
  server_.Exec("postgres",
               "DO $$ BEGIN PERFORM graphile_worker.add_jobs(array(SELECT json_populate_record("
               "null::graphile_worker.job_spec, json_build_object('identifier', 'bench', 'payload', "
               "json_build_object('id', i))) FROM generate_series(1, " +
                   std::to_string(jobs) + ") AS i)); END $$");
  server_.Exec("postgres", "VACUUM ANALYZE graphile_worker._private_jobs");
  const double seconds =
      std::stod(Run("drain " + std::to_string(jobs) + (batched ? kBatchedSettings : kPlainSettings)));
  if (server_.QueryValue("postgres", "SELECT count(*) FROM graphile_worker._private_jobs") != "0") {
    throw std::runtime_error("graphile-worker left jobs undone");
  }
  return seconds;
}

}  // namespace pgconvoy::bench
