#include "coordinator/store/chain_check.h"

#include <algorithm>
#include <pqxx/pqxx>
#include <vector>

#include "coordinator/store/event_chain.h"
#include "coordinator/store/row_codec.h"

namespace pgconvoy::store {
namespace {

// Rows that are held in memory at once.
constexpr int kAuditRows = 10'000;

constexpr char kNextLinks[] =
    "SELECT first_seq, last_seq, epoch, previous, digest, encode(row_sums, 'hex') FROM pgconvoy.event_link WHERE "
    "first_seq > $1 "
    "ORDER BY first_seq LIMIT 1000";

struct LoggedEvent {
  int64_t seq = 0;
  core::EventRow row;
};

LoggedEvent ReadLogged(RowReader& reader) {
  LoggedEvent event;
  event.row = ReadEvent(reader, event.seq);
  return event;
}

struct Link {
  int64_t first_seq = 0;
  int64_t last_seq = 0;
  int64_t epoch = 0;
  std::string previous;
  std::string digest;
  // RowSum of each event, one after the other; empty in old links.
  std::string row_sums;
};

Link ReadLink(RowReader& reader) {
  Link link;
  link.first_seq = reader.Int64();
  link.last_seq = reader.Int64();
  link.epoch = reader.Int64();
  link.previous = reader.Text();
  link.digest = reader.Text();
  link.row_sums = reader.Text();
  return link;
}

// The events of a link as they are now.
struct LinkedEvents {
  std::string canonical;
  std::string row_sums;
  // 0: none.
  int64_t missing = 0;
};

LinkedEvents ReadLinked(pqxx::transaction_base& tx, const Link& link) {
  LinkedEvents found;
  for (int64_t next = link.first_seq; next <= link.last_seq;) {
    const auto events =
        ReadRows(tx.exec_params(Select(kEventColumns, "event WHERE seq BETWEEN $1 AND $2 ORDER BY seq LIMIT $3"),
                                next, link.last_seq, kAuditRows),
                 ReadLogged);
    if (events.empty()) {
      found.missing = next;
      return found;
    }
    for (const LoggedEvent& event : events) {
      if (event.seq != next) {
        found.missing = next;
        return found;
      }
      const std::string canonical = CanonicalEvent(next++, event.row);
      found.canonical += canonical;
      found.row_sums += RowSum(canonical);
    }
  }
  return found;
}

// The first event whose sum is not the one that was written with it; 0 when that cannot be said.
int64_t FirstAltered(const Link& link, const LinkedEvents& found) {
  constexpr size_t kSumChars = 16;
  if (link.row_sums.size() != found.row_sums.size()) {
    return 0;
  }
  const auto different =
      std::mismatch(link.row_sums.begin(), link.row_sums.end(), found.row_sums.begin()).first - link.row_sums.begin();
  const auto index = static_cast<size_t>(different) / kSumChars;
  return static_cast<size_t>(different) == link.row_sums.size() ? 0 : link.first_seq + static_cast<int64_t>(index);
}

// "" when the events of the link are what they were when it was made.
std::string CheckLink(pqxx::transaction_base& tx, const Link& link, const ChainReport& so_far) {
  const std::string group = "events " + std::to_string(link.first_seq) + " to " + std::to_string(link.last_seq);
  if (link.first_seq != so_far.events + 1) {
    return "event " + std::to_string(so_far.events + 1) + " is missing, or its link is";
  }
  if (link.previous != so_far.head) {
    return group + ": the link does not follow the one before";
  }
  const LinkedEvents found = ReadLinked(tx, link);
  if (found.missing != 0) {
    return "event " + std::to_string(found.missing) + " is missing";
  }
  if (LinkDigest(link.previous, link.epoch, found.canonical) == link.digest) {
    return "";
  }
  const int64_t altered = FirstAltered(link, found);
  return altered == 0 ? group + ": one was altered or moved, or their link was"
                      : "event " + std::to_string(altered) + " was altered or moved";
}

}  // namespace

ChainReport CheckChain(pqxx::transaction_base& tx) {
  ChainReport report;
  while (report.problem.empty()) {
    const auto links = ReadRows(tx.exec_params(kNextLinks, report.events), ReadLink);
    if (links.empty()) {
      break;
    }
    for (const Link& link : links) {
      report.problem = CheckLink(tx, link, report);
      if (!report.problem.empty()) {
        return report;
      }
      ++report.links;
      report.events = link.last_seq;
      report.head = link.digest;
    }
  }
  const pqxx::row head = tx.exec1("SELECT last_event_seq, chain_head FROM pgconvoy.leader");
  const pqxx::row last = tx.exec1("SELECT coalesce(max(seq), 0) FROM pgconvoy.event");
  const std::string next = "event " + std::to_string(report.events + 1);
  if (last[0].as<int64_t>() > report.events) {
    report.problem = next + " was added, or its link was removed";
  } else if (head[0].as<int64_t>() > report.events) {
    report.problem = next + " is missing, and what came after it";
  } else if (head[0].as<int64_t>() != report.events || head[1].c_str() != report.head) {
    report.problem = "the log does not end where the store says that it ends";
  }
  return report;
}

}  // namespace pgconvoy::store
