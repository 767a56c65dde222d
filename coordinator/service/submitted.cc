#include "coordinator/service/submitted.h"

#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/service/views.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy::service {
namespace {

absl::Status CheckSame(store::StoreReader& reader, const core::MigrationRow& migration, const Submitted& submitted) {
  PGC_ASSIGN_OR_RETURN(const std::string refs_digest, reader.GetRefsDigest(migration.id));
  if (migration.spec.plan_hash == submitted.plan_hash && refs_digest == submitted.refs_digest) {
    return absl::OkStatus();
  }
  return WithStatusCode(absl::StatusCode::kAlreadyExists,
                        InputError("PGC-RPC-REUSED-ID",
                                   "migration " + std::to_string(migration.id.value) +
                                       " has this request id, with another plan or other projects",
                                   "take a new request id for a new migration"));
}

absl::StatusOr<v1::Migration> Find(store::StoreReader& reader,
                                   MigrationId id,
                                   bool existed,
                                   const Submitted& submitted) {
  PGC_ASSIGN_OR_RETURN(const core::MigrationRow row, reader.GetMigration(id));
  if (existed) {
    PGC_RETURN_IF_ERROR(CheckSame(reader, row, submitted));
  }
  return ToWire(row, false);
}

}  // namespace

Submitted WhatIsSubmitted(const core::SubmitMigration& submit) {
  std::vector<std::string_view> refs;
  refs.reserve(submit.projects.size());
  for (const core::ProjectInput& project : submit.projects) {
    refs.emplace_back(project.ref);
  }
  return {submit.spec.plan_hash, store::RefsDigest(std::move(refs))};
}

void FindSubmitted(const Backend& backend,
                   const core::Reply& reply,
                   Submitted submitted,
                   std::function<void(absl::StatusOr<v1::Migration>)> done) {
  if (!reply.status.ok()) {
    done(reply.status);
    return;
  }
  const bool taken =
      backend.pool.Run([backend, id = reply.migration, existed = reply.existed, submitted = std::move(submitted),
                        done] { done(Find(*backend.reader, id, existed, submitted)); });
  if (!taken) {
    // The request id makes it safe to ask again.
    done(Overloaded());
  }
}

}  // namespace pgconvoy::service
