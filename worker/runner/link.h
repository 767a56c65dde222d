// The worker's stream to the coordinator: connects, says hello, sends what is queued, hands on what arrives, and
// starts over when the stream ends. gRPC stays behind this header.
//
// Thread safety: Send and Stop from any thread. The handler's methods are called from the link's reading thread.
// Ownership: the handler outlives the link.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/tls.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::worker {

class LinkHandler {
 public:
  virtual ~LinkHandler() = default;
  // The first message of a new stream; names everything that is still held.
  virtual v1::Hello MakeHello() = 0;
  // What must be sent again after the hello.
  virtual std::vector<v1::WorkerMessage> Unacknowledged() = 0;
  virtual void OnMessage(const v1::CoordinatorMessage& message) = 0;
};

enum class LinkEnd {
  // Stop() was called.
  kStopped,
  // The coordinator could not be reached for `give_up_ms` without interruption.
  kUnreachable,
  // The coordinator does not accept the hello or the certificate, and never will.
  kRefused
};

class Link {
 public:
  Link(std::string address, rpc::Security security, LinkHandler& handler);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Once.
  LinkEnd Run(int64_t give_up_ms);
  // Queues a message for the present stream; dropped when there is none, because reports are kept by their owners and
  // heartbeats mean nothing later. One that `can_wait` leaves with what comes after it, at most some 20 ms later: the
  // store is written once for all of them.
  void Send(const v1::WorkerMessage& message, bool can_wait = false);
  void SetDraining(bool draining);
  // Closes the stream after what is queued; Run returns kStopped.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgconvoy::worker
