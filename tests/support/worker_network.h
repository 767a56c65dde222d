// A network of its own for workers: a namespace whose only ways out are links that can be cut. A link that is cut
// swallows what is sent, as a network does; nobody gets an error.
//
// The process that uses it must live in a network namespace of its own, see Enter(); the links and the namespace of the
// workers end with it. Thread safety: one thread. Errors: everything throws std::runtime_error, which fails the test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace pgconvoy::testing {

class WorkerNetwork {
 public:
  enum Link { kCoordinator, kSource, kTarget, kLinks };

  // Puts this process, which must have one thread, and all that it starts into a network namespace where nothing is but
  // loopback. False when that is not permitted here, which takes root.
  static bool Enter();

  WorkerNetwork();

  // What a process is started through to live in there.
  std::vector<std::string> command() const;
  // Our end of a link, as those in there reach it.
  static std::string Address(Link link);
  void Cut(Link link) const;
  void Heal(Link link) const;
  // Bits per second from now on, both ways.
  void Slow(Link link, int rate) const;

 private:
  std::string Namespace() const;
  void Inside(const std::vector<std::string>& argv) const;

  // Keeps the namespace alive.
  std::unique_ptr<Process> holder_;
};

}  // namespace pgconvoy::testing
