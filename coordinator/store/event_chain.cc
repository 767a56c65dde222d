#include "coordinator/store/event_chain.h"

#include <string_view>

#include "common/crypto/crypto.h"

namespace pgconvoy::store {
namespace {

void Append(std::string& text, std::string_view value) {
  text += std::to_string(value.size());
  text += ':';
  text += value;
}

}  // namespace

std::string CanonicalEvent(int64_t seq, const core::EventRow& event) {
  std::string text;
  Append(text, std::to_string(seq));
  Append(text, std::to_string(event.time));
  Append(text, std::to_string(event.migration.value));
  Append(text, event.project_ref);
  Append(text, event.kind);
  Append(text, event.actor);
  Append(text, event.rule);
  Append(text, event.reason);
  Append(text, event.detail_json);
  return text;
}

std::string LinkDigest(const std::string& previous, int64_t epoch, const std::string& canonical_events) {
  Sha256 digest;
  std::string head;
  Append(head, previous);
  Append(head, std::to_string(epoch));
  digest.Update(head);
  digest.Update(canonical_events);
  return digest.FinishHex();
}

}  // namespace pgconvoy::store
