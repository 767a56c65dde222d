// Writes the rows of a group inside the caller's transaction.
//
// Thread safety: that of the transaction. Errors: what libpqxx throws; RowMissing when a row that must exist does not.
#pragma once

#include <pqxx/transaction_base>
#include <stdexcept>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "coordinator/store/session.h"

namespace pgconvoy::store {

// An update found fewer rows than it had keys: the store is not what the core believes it to be.
class RowMissing : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Everything of `writes` but events and counters. `tx` is a transaction of `connection`.
void WriteRows(Connection& connection, pqxx::transaction_base& tx, const core::Writes& writes);

// What the hash chain needs of a group's events.
struct WrittenEvents {
  std::string canonical;
  // RowSum of each, one after the other.
  std::string row_sums;
};

// The group's events, from `first_seq` on.
WrittenEvents WriteEvents(Connection& connection,
                          pqxx::transaction_base& tx,
                          const std::vector<core::EventRow>& events,
                          int64_t first_seq);

}  // namespace pgconvoy::store
