// Stands between clients and a PostgreSQL server and breaks connections at chosen places of the protocol: at a message,
// at a statement, at the answer to one, or half way through a login. Everything else passes. Sessions must not be
// encrypted; one that is passes unread.
//
// What other servers say passes unread, too: such connections can be cut and stalled.
//
// Each fault is armed once and lands on the first connection that comes to its place; arming it again before that
// replaces it. Messages: "Frontend/Backend Protocol" in the PostgreSQL manual.
//
// Thread safety: any thread. Errors: the constructor throws when no port can be had.
#pragma once

#include <array>
#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace pgconvoy::testing {

class PgProxy {
 public:
  enum Fault { kClosedAtMessage, kClosedAtStatement, kDroppedReply, kCut, kFaults };

  enum class Protocol { kPostgres, kUnread };

  explicit PgProxy(int server_port, Protocol protocol = Protocol::kPostgres);
  // Ends every connection.
  ~PgProxy();
  PgProxy(const PgProxy&) = delete;
  PgProxy& operator=(const PgProxy&) = delete;

  int port() const { return port_; }
  // How often a fault has landed.
  int Landed(Fault fault) const { return landed_[fault]; }

  // Ends the connection that sends the n-th message from now on, counted over all connections and after their logins;
  // the server does not get that message.
  void CloseAtMessage(int n);
  // Ends the next connection that sends a statement that begins so; the server does not get it.
  void CloseAtStatement(const std::string& beginning);
  // Ends the next connection that sends a statement that begins so, once the server has answered it; the client gets
  // no answer. With "COMMIT": what was committed is there, and nobody was told.
  void DropReplyTo(const std::string& beginning);
  // Ends every connection that is open now.
  void CutAll();
  // From now on every message of a client waits so long; 0: none does.
  void Delay(int ms) { delay_ms_ = ms; }
  // While true nothing passes, neither way; what was sent meanwhile passes afterwards. Nobody gets an error.
  void Stall(bool stalled) { stalled_ = stalled; }

  // From now on logins of users whose name begins so stop half way: after the server's challenge and before the
  // client's proof.
  void HoldLoginsOf(const std::string& user_prefix);
  // True while at least one login is stopped.
  bool Holding() const { return holding_ > 0; }
  // Lets them go on, and stops no more.
  void Release();

 private:
  class Session;
  struct Served {
    std::thread thread;
    std::atomic<bool> ended = false;
  };
  enum class Verdict { kPass, kClose, kDropReply };

  void Accept();
  void Serve(int client, std::atomic<bool>& ended);
  bool IsHeld(const std::string& user) const;
  void HoldWhileWanted(const std::string& user);
  Verdict Judge(std::string_view statement);
  void Count(Fault fault) { ++landed_[fault]; }

  const int server_port_;
  const Protocol protocol_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<int> holding_ = 0;
  std::atomic<int> delay_ms_ = 0;
  std::atomic<bool> stalled_ = false;
  // Connections that began under another number are cut.
  std::atomic<int> generation_ = 0;
  std::array<std::atomic<int>, kFaults> landed_{};
  mutable std::mutex mutex_;
  // The faults that are armed, under mutex_: 0 or empty is none.
  int messages_left_ = 0;
  std::string close_at_;
  std::string drop_reply_to_;
  std::string held_prefix_;
  std::list<Served> served_;
  std::thread acceptor_;
};

}  // namespace pgconvoy::testing
