#include "coordinator/service/choose_credential.h"

#include <map>
#include <string>

#include "common/base/error.h"
#include "coordinator/service/payload.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {
namespace {

// What the results and intents of a project say about its credentials.
struct CredentialRecord {
  // By fence; the intent comes before the result and holds the same.
  std::map<int64_t, v1::CredentialsResult> by_fence;
  std::string database;
  // 0: the registry does not hold one of ours.
  int64_t delivered_fence = 0;
};

CredentialRecord ReadCredentials(const store::ProjectDetail& detail) {
  CredentialRecord record;
  for (const std::string& json : detail.intents_json) {
    if (const auto intent = FromJson<v1::Intent>(json); intent.ok() && intent->has_credentials()) {
      record.by_fence[intent->fence()] = intent->credentials();
    }
  }
  for (const std::string& json : detail.results_json) {
    const auto result = FromJson<v1::PhaseResult>(json);
    if (!result.ok()) {
      continue;
    }
    const bool forward = result->direction() != v1::ROLLBACK;
    if (result->has_credentials()) {
      record.by_fence[result->fence()] = result->credentials();
    } else if (result->has_provision() && forward) {
      record.database = result->provision().database();
    } else if (result->phase() == v1::CUTOVER) {
      // A rollback puts the old values back, so that the registry holds none of ours.
      record.delivered_fence = forward ? result->cutover().credentials_fence() : 0;
    }
  }
  return record;
}

}  // namespace

absl::StatusOr<v1::SealedCredential> ChooseCredential(const store::ProjectDetail& detail) {
  const std::string& ref = detail.project.row.ref;
  const CredentialRecord record = ReadCredentials(detail);
  auto chosen = record.by_fence.find(record.delivered_fence);
  const bool delivered = chosen != record.by_fence.end();
  if (!delivered) {
    if (record.by_fence.empty()) {
      return WithStatusCode(absl::StatusCode::kNotFound, MakeError(Verdict::kPermanent, "PGC-API-NOT-FOUND",
                                                                   "project " + ref + " has no credential"));
    }
    chosen = std::prev(record.by_fence.end());
  }
  if (record.by_fence.rbegin()->second.revoked()) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-REVOKED",
                     "login " + record.by_fence.rbegin()->second.user() + " was revoked and has no password",
                     "`pgconvoy credentials rotate` gives it a new one");
  }
  v1::SealedCredential out;
  out.set_project_ref(ref);
  out.set_user(chosen->second.user());
  out.set_database(record.database);
  out.set_sealed_password(chosen->second.sealed_password());
  out.set_recipient(chosen->second.recipient());
  out.set_delivered(delivered);
  return out;
}

}  // namespace pgconvoy::service
