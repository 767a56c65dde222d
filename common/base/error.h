// The one error type: absl::Status with a verdict, a stable code and a remedy attached.
//
// Every error that leaves a function of this project carries a code of the form PGC-<AREA>-<NAME>. The verdict
// says what the caller does about it; see reliability rules in docs/architecture.md. Messages never contain a
// secret or a tenant's row data: whoever turns a foreign error into one of ours strips them.
//
// Thread safety: all functions are pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy {

enum class Verdict {
  // Retry with capped backoff.
  kTransient,
  // An error of the project or of the input: stop at once.
  kPermanent,
  // COMMIT was sent and the answer is lost: ask the database what happened, then decide.
  kInDoubt,
  // Another attempt has taken over: stop, touch nothing.
  kFenced,
  // Neither direction is safe without a person.
  kOperator,
  // Given up at a safe point because it was asked for.
  kAbandoned,
};

// "TRANSIENT", "PERMANENT", …
std::string_view VerdictName(Verdict verdict);

// Makes an error. `code` must be PGC-…; `message` says what and where; `remedy` how to fix it, may be empty.
// The absl code follows from the verdict: kTransient Unavailable, kPermanent FailedPrecondition, kInDoubt
// Unknown, kFenced Aborted, kOperator FailedPrecondition, kAbandoned Cancelled.
absl::Status MakeError(Verdict verdict,
                       std::string_view code,
                       std::string_view message,
                       std::string_view remedy = {});

// An error of the caller's input: kPermanent with absl code InvalidArgument.
absl::Status InputError(std::string_view code, std::string_view message, std::string_view remedy = {});

// The same status with another absl code; verdict, code and remedy are kept.
absl::Status WithStatusCode(absl::StatusCode code, const absl::Status& status);

// The verdict of any status. A status without one is kPermanent, except Unavailable, DeadlineExceeded and
// Cancelled, which are kTransient. Must not be called with OK.
Verdict VerdictOf(const absl::Status& status);

// The code, or "PGC-INTERNAL" for a status that carries none, or "" for OK.
std::string CodeOf(const absl::Status& status);

// The remedy, or "".
std::string RemedyOf(const absl::Status& status);

// The message alone, as std::string.
std::string MessageOf(const absl::Status& status);

// "PGC-X-Y: message; remedy", for people.
std::string Describe(const absl::Status& status);

// The same status with `prefix` and ": " before its message; verdict, code and remedy are kept.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

}  // namespace pgconvoy

#define PGC_CONCAT_INNER(a, b) a##b
#define PGC_CONCAT(a, b) PGC_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` is not OK.
#define PGC_RETURN_IF_ERROR(expr)                             \
  do {                                                        \
    if (absl::Status pgc_status = (expr); !pgc_status.ok()) { \
      return pgc_status;                                      \
    }                                                         \
  } while (false)

// PGC_ASSIGN_OR_RETURN(auto x, Compute()); leaves the enclosing function when Compute() failed.
#define PGC_ASSIGN_OR_RETURN(lhs, expr) PGC_ASSIGN_OR_RETURN_IMPL(PGC_CONCAT(pgc_statusor_, __LINE__), lhs, expr)
#define PGC_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                              \
  if (!var.ok()) {                                \
    return var.status();                          \
  }                                               \
  lhs = *std::move(var)
