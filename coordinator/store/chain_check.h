// The audit of the event log: whether the rows are what the hash chain over them says (event_chain.h).
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <string>

namespace pqxx {
class transaction_base;
}

namespace pgconvoy::store {

// What the audit of the event log found.
struct ChainReport {
  int64_t links = 0;
  int64_t events = 0;
  std::string head;
  // "" when every link holds, else the first event that was altered, removed or moved, as closely as can be said.
  std::string problem;
};

// Reads the whole log. Throws what libpqxx throws.
ChainReport CheckChain(pqxx::transaction_base& tx);

}  // namespace pgconvoy::store
