// Stands between a client and a PostgreSQL server and can stop a login half way: after the server's challenge and
// before the client's proof. Everything else passes.
//
// Thread safety: any thread. Errors: the constructor throws when no port can be had.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pgconvoy::testing {

class StallingProxy {
 public:
  explicit StallingProxy(int server_port);
  // Ends every connection.
  ~StallingProxy();
  StallingProxy(const StallingProxy&) = delete;
  StallingProxy& operator=(const StallingProxy&) = delete;

  int port() const { return port_; }
  // From now on logins of users whose name begins so are stopped half way.
  void HoldLoginsOf(const std::string& user_prefix);
  // True while at least one login is stopped.
  bool Holding() const { return holding_ > 0; }
  // Lets them go on, and stops no more.
  void Release();

 private:
  void Accept();
  void Serve(int client);
  bool IsHeld(const std::string& user) const;

  const int server_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<int> holding_ = 0;
  mutable std::mutex mutex_;
  std::string held_prefix_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace pgconvoy::testing
