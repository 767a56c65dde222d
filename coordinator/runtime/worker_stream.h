// What the runtime says to a worker, and the stream that it says it to.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/core/core.h"
#include "coordinator/store/store.h"

namespace pgconvoy::runtime {

using core::RequestId;
using core::StreamId;

struct Welcome {
  std::string store_id;
  int64_t epoch = 0;
  int64_t lease_ttl_ms = 0;
};

struct Grant {
  core::SendGrant grant;
  // Canonical plan of the migration; null when this stream has had it.
  std::shared_ptr<const std::string> plan_json;
  // Of the projects that earlier attempts have touched.
  std::map<ProjectId, store::History> histories;
};

// The coordinator goes away; the worker keeps working and reconnects.
struct Restarting {};

// All acknowledgements of a stream in one commit group, in order.
struct Acks {
  std::vector<core::SendAck> acks;
};

using Outbound = std::variant<Welcome, Grant, Acks, core::SendRevoke, Restarting>;

// Thread safety: implementations take calls from any thread and do not call back into the runtime from them.
class WorkerStream {
 public:
  virtual ~WorkerStream() = default;
  // Queues a message; dropped when the stream is closed.
  virtual void Send(Outbound message) = 0;
  // Ends the stream with `why` once everything queued has been sent.
  virtual void Close(const absl::Status& why) = 0;
};

}  // namespace pgconvoy::runtime
