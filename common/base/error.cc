#include "common/base/error.h"

#include <optional>

#include "absl/strings/cord.h"

namespace pgconvoy {
namespace {

// Payloads of absl::Status are keyed by a URL; these three are ours alone.
constexpr char kVerdictUrl[] = "pgconvoy.dev/verdict";
constexpr char kCodeUrl[] = "pgconvoy.dev/code";
constexpr char kRemedyUrl[] = "pgconvoy.dev/remedy";

absl::StatusCode CodeFor(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTransient: return absl::StatusCode::kUnavailable;
    case Verdict::kPermanent:
    case Verdict::kOperator: return absl::StatusCode::kFailedPrecondition;
    case Verdict::kInDoubt: return absl::StatusCode::kUnknown;
    case Verdict::kFenced: return absl::StatusCode::kAborted;
    case Verdict::kAbandoned: return absl::StatusCode::kCancelled;
  }
  return absl::StatusCode::kInternal;
}

absl::Cord ToCord(std::string_view text) { return absl::Cord(absl::string_view(text.data(), text.size())); }

absl::Status WithPayloads(absl::StatusCode status_code,
                          Verdict verdict,
                          std::string_view code,
                          std::string_view message,
                          std::string_view remedy) {
  absl::Status status(status_code, absl::string_view(message.data(), message.size()));
  status.SetPayload(kVerdictUrl, ToCord(VerdictName(verdict)));
  status.SetPayload(kCodeUrl, ToCord(code));
  if (!remedy.empty()) {
    status.SetPayload(kRemedyUrl, ToCord(remedy));
  }
  return status;
}

std::optional<std::string> Payload(const absl::Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  if (!payload.has_value()) {
    return std::nullopt;
  }
  return std::string(*payload);
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTransient: return "TRANSIENT";
    case Verdict::kPermanent: return "PERMANENT";
    case Verdict::kInDoubt: return "IN_DOUBT";
    case Verdict::kFenced: return "FENCED";
    case Verdict::kOperator: return "OPERATOR";
    case Verdict::kAbandoned: return "ABANDONED";
  }
  return "UNKNOWN";
}

absl::Status MakeError(Verdict verdict, std::string_view code, std::string_view message, std::string_view remedy) {
  return WithPayloads(CodeFor(verdict), verdict, code, message, remedy);
}

absl::Status InputError(std::string_view code, std::string_view message, std::string_view remedy) {
  return WithPayloads(absl::StatusCode::kInvalidArgument, Verdict::kPermanent, code, message, remedy);
}

absl::Status WithStatusCode(absl::StatusCode code, const absl::Status& status) {
  absl::Status changed(code, status.message());
  status.ForEachPayload(
      [&changed](absl::string_view url, const absl::Cord& payload) { changed.SetPayload(url, payload); });
  return changed;
}

Verdict VerdictOf(const absl::Status& status) {
  if (const auto name = Payload(status, kVerdictUrl)) {
    for (const Verdict verdict : {Verdict::kTransient, Verdict::kPermanent, Verdict::kInDoubt, Verdict::kFenced,
                                  Verdict::kOperator, Verdict::kAbandoned}) {
      if (*name == VerdictName(verdict)) {
        return verdict;
      }
    }
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled: return Verdict::kTransient;
    default: return Verdict::kPermanent;
  }
}

std::string CodeOf(const absl::Status& status) {
  if (status.ok()) {
    return "";
  }
  return Payload(status, kCodeUrl).value_or("PGC-INTERNAL");
}

std::string RemedyOf(const absl::Status& status) { return Payload(status, kRemedyUrl).value_or(""); }

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

std::string Describe(const absl::Status& status) {
  if (status.ok()) {
    return "OK";
  }
  std::string text = CodeOf(status) + ": " + MessageOf(status);
  if (const std::string remedy = RemedyOf(status); !remedy.empty()) {
    text += "; " + remedy;
  }
  return text;
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) {
    return status;
  }
  absl::Status annotated(status.code(), std::string(prefix) + ": " + MessageOf(status));
  status.ForEachPayload(
      [&annotated](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace pgconvoy
