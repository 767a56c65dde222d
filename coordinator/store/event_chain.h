// The hash chain over the event log: one link per commit group, each over the link before and the group's events, so
// that an event cannot be altered or taken out without every later link showing it.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/core/core.h"

namespace pgconvoy::store {

// Every column of an event, each with its length before it: no two different events have the same text.
std::string CanonicalEvent(int64_t seq, const core::EventRow& event);
void AppendCanonicalEvent(int64_t seq, const core::EventRow& event, std::string& text);

// XXH3-64, 16 hex digits, of one event's canonical text: says which event of a group was altered once its link's digest
// shows that one was. It is no proof of anything.
std::string RowSum(std::string_view canonical_event);

// SHA-256, hex, over the previous digest, the epoch and the canonical text of the group's events.
std::string LinkDigest(const std::string& previous, int64_t epoch, const std::string& canonical_events);

}  // namespace pgconvoy::store
