#include "coordinator/store/event_chain.h"

#include <xxhash.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "common/base/text.h"
#include "common/crypto/crypto.h"

namespace pgconvoy::store {
namespace {

void AppendNumber(std::string& text, int64_t value) {
  char digits[24];
  text.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void Append(std::string& text, std::string_view value) {
  AppendNumber(text, static_cast<int64_t>(value.size()));
  text += ':';
  text += value;
}

void AppendAsText(std::string& text, int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  Append(text, std::string_view(digits, static_cast<size_t>(end - digits)));
}

}  // namespace

void AppendCanonicalEvent(int64_t seq, const core::EventRow& event, std::string& text) {
  AppendAsText(text, seq);
  AppendAsText(text, event.time);
  AppendAsText(text, event.migration.value);
  Append(text, event.project_ref);
  Append(text, event.kind);
  Append(text, event.actor);
  Append(text, event.rule);
  Append(text, event.reason);
  Append(text, event.detail_json);
}

std::string CanonicalEvent(int64_t seq, const core::EventRow& event) {
  std::string text;
  AppendCanonicalEvent(seq, event, text);
  return text;
}

std::string RowSum(std::string_view canonical_event) {
  XXH64_canonical_t sum;
  XXH64_canonicalFromHash(&sum, XXH3_64bits(canonical_event.data(), canonical_event.size()));
  return ToHex(sum.digest);
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
