#include "worker/phases/sessions.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/pg/plaintext.h"
#include "common/plan/secret_ref.h"

namespace pgconvoy::worker {
namespace {

const v1::Login& LoginOf(const v1::Server& server, LoginKind kind) {
  switch (kind) {
    case LoginKind::kReader: return server.reader();
    case LoginKind::kProvisioner: return server.provisioner();
    case LoginKind::kRegistrar: return server.registrar();
    case LoginKind::kTransformer: return server.transformer();
  }
  return server.reader();
}

absl::StatusOr<Secret> ResolveOptional(const std::string& reference) {
  if (reference.empty()) {
    return Secret();
  }
  return plan::ResolveSecret(reference, /*allow_literal=*/false);
}

constexpr std::array<std::string_view, 6> kForbiddenKeys = {"user",    "password", "dbname",
                                                            "options", "passfile", "application_name"};

// Asked here and not where the plan is read: only the worker knows what a reference holds, and whether it may.
absl::Status CheckSslMode(const std::string& conninfo) {
  const auto mode = pg::ForbiddenPlaintext(conninfo);
  if (!mode.has_value()) {
    return absl::OkStatus();
  }
  return InputError("PGC-PLAN-SSLMODE",
                    "the server's conninfo says sslmode=" + *mode + ", which takes plaintext from another machine",
                    "write sslmode=verify-full, or start the workers with --insecure where nobody else is on the "
                    "network");
}

constexpr char kSetSql[] = "SELECT pg_catalog.set_config($1, $2, false)";

}  // namespace

PooledSession::PooledSession(SessionPool* pool,
                             std::string key,
                             std::string application_name,
                             std::unique_ptr<pg::Connection> connection)
    : pool_(pool),
      key_(std::move(key)),
      application_name_(std::move(application_name)),
      connection_(std::move(connection)) {}

PooledSession::~PooledSession() { GiveBack(); }

PooledSession::PooledSession(PooledSession&& other) noexcept
    : pool_(other.pool_),
      key_(std::move(other.key_)),
      application_name_(std::move(other.application_name_)),
      connection_(std::move(other.connection_)) {}

PooledSession& PooledSession::operator=(PooledSession&& other) noexcept {
  if (this != &other) {
    GiveBack();
    pool_ = other.pool_;
    key_ = std::move(other.key_);
    application_name_ = std::move(other.application_name_);
    connection_ = std::move(other.connection_);
  }
  return *this;
}

void PooledSession::GiveBack() {
  if (connection_ != nullptr) {
    pool_->GiveBack({key_, application_name_, std::move(connection_)});
  }
}

absl::StatusOr<std::string> ResolveConninfo(const v1::Server& server) {
  PGC_ASSIGN_OR_RETURN(const Secret conninfo, plan::ResolveSecret(server.conninfo(), /*allow_literal=*/true));
  char* complaint = nullptr;
  PQconninfoOption* const options = PQconninfoParse(conninfo.Reveal().c_str(), &complaint);
  if (options == nullptr) {
    // The parser's words quote the string, which may hold what should not be shown.
    PQfreemem(complaint);
    return InputError("PGC-PLAN-CONNINFO", "a server's conninfo is no list of keyword=value",
                      "see the plan's servers");
  }
  std::string forbidden;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    const bool listed =
        std::find(kForbiddenKeys.begin(), kForbiddenKeys.end(), option->keyword) != kForbiddenKeys.end();
    if (listed && option->val != nullptr) {
      forbidden = option->keyword;
    }
  }
  PQconninfoFree(options);
  if (!forbidden.empty()) {
    return InputError("PGC-PLAN-CONNINFO", "a server's conninfo holds \"" + forbidden + "\"",
                      "logins, databases and passwords have fields of their own in the plan");
  }
  PGC_RETURN_IF_ERROR(CheckSslMode(conninfo.Reveal()));
  return conninfo.Reveal();
}

absl::StatusOr<PooledSession> SessionPool::Acquire(const v1::Server& server,
                                                   LoginKind kind,
                                                   const std::string& database,
                                                   const std::string& application_name) {
  const v1::Login& login = LoginOf(server, kind);
  if (login.user().empty()) {
    return InputError("PGC-PLAN-LOGIN", "the plan names no login for this step", "add it to the server in the plan");
  }
  // With the password's reference: two plans may name one login and differ in what they hold for it.
  std::string key = server.conninfo() + '\n' + login.user() + '\n' + login.password() + '\n' + database;
  for (const auto& [name, value] : std::map(login.settings().begin(), login.settings().end())) {
    key += '\n' + name + '=' + value;
  }
  if (Idle idle = Take(key, application_name); idle.connection != nullptr) {
    // Between two statements of one attempt a session is as alive as within them. Renaming takes a round trip, which
    // shows whether it is.
    if (idle.application_name == application_name || idle.connection->Rename(application_name).ok()) {
      return PooledSession(this, key, application_name, std::move(idle.connection));
    }
  }
  PGC_ASSIGN_OR_RETURN(auto connection, OpenShared(server, kind, database, application_name));
  return PooledSession(this, key, application_name, std::move(connection));
}

absl::StatusOr<std::unique_ptr<pg::Connection>> SessionPool::OpenShared(const v1::Server& server,
                                                                        LoginKind kind,
                                                                        const std::string& database,
                                                                        const std::string& application_name) {
  const v1::Login& login = LoginOf(server, kind);
  PGC_ASSIGN_OR_RETURN(const Secret password, ResolveOptional(login.password()));
  PGC_ASSIGN_OR_RETURN(auto connection, Open(server, login.user(), password, database, application_name, {}));
  PGC_RETURN_IF_ERROR(ApplySettings(*connection, login.settings()));
  if (kind == LoginKind::kReader) {
    // What it reads belongs to others, whose code the planner may run.
    connection->KeepNothing();
  }
  return connection;
}

absl::Status SessionPool::ApplySettings(pg::Connection& connection,
                                        const google::protobuf::Map<std::string, std::string>& settings) {
  for (const auto& [name, value] : settings) {
    if (const auto set = connection.Exec(kSetSql, {name, value}); !set.ok()) {
      return Annotate(set.status(), "the plan's session setting " + name);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<pg::Connection>> SessionPool::Open(const v1::Server& server,
                                                                  const std::string& user,
                                                                  const Secret& password,
                                                                  const std::string& database,
                                                                  const std::string& application_name,
                                                                  const pg::SessionOptions& options) {
  pg::Endpoint endpoint;
  PGC_ASSIGN_OR_RETURN(endpoint.conninfo, ResolveConninfo(server));
  endpoint.user = user;
  endpoint.password = password.Clone();
  endpoint.database = database;
  endpoint.application_name = application_name;
  auto connection = pg::Connection::Open(endpoint, options);
  if (!connection.ok()) {
    return Annotate(connection.status(), "login \"" + user + "\" to database \"" + database + "\"");
  }
  return connection;
}

void SessionPool::GiveBack(Idle session) {
  if (session.connection->broken() || PQtransactionStatus(session.connection->raw()) != PQTRANS_IDLE) {
    return;
  }
  const MutexLock lock(mutex_);
  idle_.push_back(std::move(session));
  if (idle_.size() > kMaxIdle) {
    idle_.pop_front();
  }
}

SessionPool::Idle SessionPool::Take(const std::string& key, const std::string& application_name) {
  const MutexLock lock(mutex_);
  auto found = idle_.end();
  for (auto session = idle_.begin(); session != idle_.end(); ++session) {
    const bool better = found == idle_.end() || found->application_name != application_name ||
                        session->application_name == application_name;
    if (session->key == key && better) {
      found = session;
    }
  }
  if (found == idle_.end()) {
    return {};
  }
  Idle taken = std::move(*found);
  idle_.erase(found);
  return taken;
}

}  // namespace pgconvoy::worker
