// What an attempt must wait for, and how it ends towards the coordinator.
//
// Thread safety: all functions are pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/error.h"
#include "common/model/model.h"

namespace pgconvoy::worker {

inline constexpr char kLeaseLostCode[] = "PGC-LEASE-LOST";

// After these phases the next one may only begin once the result is durable: the backup is sealed by the store's
// digest, a rollback compares with the verification, and nothing may follow a cutover that the store has not heard of.
bool MustBeDurable(Phase phase);

// Before this phase all earlier results must be durable: whoever takes over behind the switch must know what the
// registry points to, above all which credentials, or it would make others.
bool NeedsDurableResults(Phase phase);

// An error as far as these rules are concerned.
struct Cause {
  Verdict verdict = Verdict::kPermanent;
  std::string_view code;
};

// Whether `stop`, why the attempt had to stop by then, is what led to `failure`. A lost lease is why the rest went
// wrong: whoever took over ends sessions and logins first.
bool StopLeads(const Cause& failure, const Cause& stop);

enum class Ending : uint8_t {
  // Without a word but a release: another attempt goes on.
  kGiveBack,
  kReport,
  kReportAndWait,
};
Ending EndingOf(const Cause& error);

// What the coordinator is told: it knows no doubt, as the next attempt asks the database what became of it.
Verdict ReportedVerdict(Verdict verdict);

}  // namespace pgconvoy::worker
