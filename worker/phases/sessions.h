// Sessions of the shared logins (reader, provisioner, registrar, transformer), kept open between projects because a
// SCRAM login costs more than most statements that run on it.
//
// Thread safety: any thread. A PooledSession belongs to the thread that acquired it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "common/pg/connection.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::worker {

class SessionPool;

// A session on loan; goes back to its pool on destruction unless it broke or is in a transaction.
class PooledSession {
 public:
  PooledSession() = default;
  PooledSession(SessionPool* pool,
                std::string key,
                std::string application_name,
                std::unique_ptr<pg::Connection> connection);
  ~PooledSession();
  PooledSession(PooledSession&& other) noexcept;
  PooledSession& operator=(PooledSession&& other) noexcept;
  pg::Connection* operator->() const { return connection_.get(); }
  pg::Connection& operator*() const { return *connection_; }

 private:
  void GiveBack();
  SessionPool* pool_ = nullptr;
  std::string key_;
  std::string application_name_;
  std::unique_ptr<pg::Connection> connection_;
};

enum class LoginKind { kReader, kProvisioner, kRegistrar, kTransformer };

// The server's conninfo, resolved. PGC-PLAN-CONNINFO when it holds a user, password, database or options: those come
// from the plan's logins, and a password there is seen in argument lists. PGC-PLAN-SSLMODE as in common/pg/plaintext.h.
absl::StatusOr<std::string> ResolveConninfo(const v1::Server& server);

class SessionPool {
 public:
  // Opens or reuses a session of `kind` on `server` in `database`, named `application_name`. One that had another name
  // is known to be alive. Secrets are resolved here and nowhere else. PGC-PLAN-LOGIN when the plan names no such login.
  absl::StatusOr<PooledSession> Acquire(const v1::Server& server,
                                        LoginKind kind,
                                        const std::string& database,
                                        const std::string& application_name);

  // A session of such a login that is not pooled, for a database that will not be there for long.
  static absl::StatusOr<std::unique_ptr<pg::Connection>> OpenShared(const v1::Server& server,
                                                                    LoginKind kind,
                                                                    const std::string& database,
                                                                    const std::string& application_name);

  // A session that is not pooled, for a login that the attempt itself has made.
  static absl::StatusOr<std::unique_ptr<pg::Connection>> Open(const v1::Server& server,
                                                              const std::string& user,
                                                              const Secret& password,
                                                              const std::string& database,
                                                              const std::string& application_name,
                                                              const pg::SessionOptions& options);
  // Sets what the plan says for the sessions of a login, for as long as the session lasts.
  static absl::Status ApplySettings(pg::Connection& connection,
                                    const google::protobuf::Map<std::string, std::string>& settings);

 private:
  friend class PooledSession;
  struct Idle {
    std::string key;
    // That of whoever used it last.
    std::string application_name;
    std::unique_ptr<pg::Connection> connection;
  };
  void GiveBack(Idle session);
  // One with this name when there is one; no connection when there is none at all.
  Idle Take(const std::string& key, const std::string& application_name);

  // Idle sessions kept in all; the oldest is closed for one more. Where every project has a source database of its own,
  // sessions would otherwise pile up until the server takes no more.
  static constexpr size_t kMaxIdle = 32;
  Mutex mutex_;
  std::deque<Idle> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pgconvoy::worker
