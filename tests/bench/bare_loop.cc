#include "tests/bench/bare_loop.h"

#include <libpq-fe.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "common/crypto/crypto.h"
#include "tests/bench/report.h"

namespace pgconvoy::bench {
namespace {

using Session = std::unique_ptr<PGconn, decltype(&PQfinish)>;

constexpr size_t kBatchBytes = 64 << 10;

// The columns that are not computed.
const std::pair<const char*, const char*> kTables[] = {
    {"auth.users",
     "project_ref,instance_id,id,aud,role,email,encrypted_password,email_confirmed_at,invited_at,confirmation_token,"
     "confirmation_sent_at,recovery_token,recovery_sent_at,email_change_token_new,email_change,email_change_sent_at,"
     "last_sign_in_at,raw_app_meta_data,raw_user_meta_data,is_super_admin,created_at,updated_at,phone,"
     "phone_confirmed_at,phone_change,phone_change_token,phone_change_sent_at,email_change_token_current,"
     "email_change_confirm_status,banned_until,reauthentication_token,reauthentication_sent_at,is_sso_user,deleted_"
     "at,"
     "is_anonymous"},
    {"auth.sessions",
     "project_ref,id,user_id,created_at,updated_at,factor_id,aal,not_after,refreshed_at,user_agent,ip,tag,"
     "refresh_token_counter,scopes"},
    {"auth.refresh_tokens",
     "project_ref,instance_id,id,token,user_id,revoked,created_at,updated_at,parent,session_id"},
    {"storage.buckets",
     "project_ref,id,name,owner,created_at,updated_at,public,avif_autodetection,file_size_limit,allowed_mime_types,"
     "owner_id,type"},
    {"storage.objects",
     "project_ref,id,bucket_id,name,owner,created_at,updated_at,last_accessed_at,metadata,version,owner_id,"
     "user_metadata"},
};

Session Connect(const std::string& conninfo) {
  Session session(PQconnectdb(conninfo.c_str()), &PQfinish);
  if (PQstatus(session.get()) != CONNECTION_OK) {
    throw std::runtime_error(PQerrorMessage(session.get()));
  }
  return session;
}

void Exec(PGconn* session, const std::string& sql, ExecStatusType want) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(session, sql.c_str()), &PQclear);
  if (PQresultStatus(result.get()) != want) {
    throw std::runtime_error(PQerrorMessage(session) + ("in: " + sql));
  }
}

void Finish(PGconn* session) {
  while (PGresult* const result = PQgetResult(session)) {
    const ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status != PGRES_COMMAND_OK) {
      throw std::runtime_error(PQerrorMessage(session));
    }
  }
}

void Put(PGconn* to, const char* data, size_t bytes) {
  if (PQputCopyData(to, data, static_cast<int>(bytes)) != 1) {
    throw std::runtime_error(PQerrorMessage(to));
  }
}

// To nobody: the rows are only read.
void Copy(PGconn* from, PGconn* to) {
  std::string batch;
  char* row = nullptr;
  int bytes = 0;
  while ((bytes = PQgetCopyData(from, &row, 0)) > 0) {
    batch.append(row, static_cast<size_t>(bytes));
    PQfreemem(row);
    if (batch.size() >= kBatchBytes) {
      if (to != nullptr) {
        Put(to, batch.data(), batch.size());
      }
      batch.clear();
    }
  }
  Finish(from);
  if (to != nullptr) {
    Put(to, batch.data(), batch.size());
    if (PQputCopyEnd(to, nullptr) != 1) {
      throw std::runtime_error(PQerrorMessage(to));
    }
    Finish(to);
  }
}

class Mover {
 public:
  explicit Mover(const BareLoop& loop)
      : loop_(loop),
        source_(Connect(loop.source)),
        target_(Connect(loop.target + " dbname=postgres")),
        registry_(Connect(loop.registry)) {}

  void Move(const std::string& ref) {
    const std::string name = "project_" + ref;
    const std::string quoted = "\"" + name + "\"";
    const std::string owner = "\"" + loop_.template_owner + "\"";
    const Secret password = RandomPassword();
    char* const verifier =
        PQencryptPasswordConn(target_.get(), password.Reveal().c_str(), name.c_str(), "scram-sha-256");
    Exec(target_.get(),
         "CREATE ROLE " + quoted + " LOGIN PASSWORD '" + verifier + "' IN ROLE " + owner + "; GRANT " + quoted +
             " TO CURRENT_USER",
         PGRES_COMMAND_OK);
    Exec(target_.get(),
         "CREATE DATABASE " + quoted + " TEMPLATE \"" + loop_.template_database + "\" STRATEGY wal_log OWNER " +
             quoted,
         PGRES_COMMAND_OK);
    {
      const Session own =
          Connect(loop_.target + " dbname=" + name + " user=" + name + " password=" + password.Reveal());
      Exec(own.get(), "BEGIN; REASSIGN OWNED BY " + owner + " TO " + quoted, PGRES_COMMAND_OK);
      CopyTables(own.get(), ref);
      Exec(own.get(), "COMMIT", PGRES_COMMAND_OK);
      for (const auto& [table, columns] : kTables) {
        Exec(own.get(), std::string("COPY ") + table + " (" + columns + ") TO STDOUT", PGRES_COPY_OUT);
        Copy(own.get(), nullptr);
      }
    }
    Exec(target_.get(), "REVOKE " + owner + " FROM " + quoted, PGRES_COMMAND_OK);
    Exec(registry_.get(),
         "UPDATE public.projects SET database_name = '" + name + "', database_user = '" + name +
             "', database_password_hash = '" + verifier + "', credential_status = 'active' WHERE ref = '" + ref + "'",
         PGRES_COMMAND_OK);
    PQfreemem(verifier);
  }

 private:
  void CopyTables(PGconn* own, const std::string& ref) {
    Exec(source_.get(), "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", PGRES_COMMAND_OK);
    for (const auto& [table, columns] : kTables) {
      Exec(
          source_.get(),
          std::string("COPY (SELECT ") + columns + " FROM " + table + " WHERE project_ref = '" + ref + "') TO STDOUT",
          PGRES_COPY_OUT);
      Exec(own, std::string("COPY ") + table + " (" + columns + ") FROM STDIN", PGRES_COPY_IN);
      Copy(source_.get(), own);
    }
    Exec(source_.get(), "COMMIT", PGRES_COMMAND_OK);
  }

  const BareLoop& loop_;
  const Session source_;
  const Session target_;
  const Session registry_;
};

}  // namespace

double RunBareLoop(const BareLoop& loop, const std::vector<std::string>& refs, int threads) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::string error;
  const auto work = [&] {
    try {
      Mover mover(loop);
      for (size_t i = next++; i < refs.size(); i = next++) {
        mover.Move(refs[i]);
      }
    } catch (const std::exception& failure) {
      const std::lock_guard<std::mutex> lock(mutex);
      error = failure.what();
    }
  };
  const double seconds = Timed([&] {
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back(work);
    }
    for (std::thread& thread : running) {
      thread.join();
    }
  });
  if (!error.empty()) {
    throw std::runtime_error("the bare loop: " + error);
  }
  return seconds;
}

}  // namespace pgconvoy::bench
