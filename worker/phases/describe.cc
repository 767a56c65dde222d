#include "worker/phases/describe.h"

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/columns.h"
#include "worker/phases/registry.h"
#include "worker/phases/schema.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

class Describer {
 public:
  explicit Describer(Attempt& attempt) : attempt_(attempt), plan_(attempt.plan()) {}

  absl::StatusOr<std::vector<v1::PhaseDescription>> Run() {
    if (attempt_.has_tables()) {
      PGC_ASSIGN_OR_RETURN(schema_, attempt_.schemas().Get(attempt_));
    }
    Fence();
    PreValidation();
    PGC_RETURN_IF_ERROR(Freeze());
    Credentials();
    Provision();
    PGC_RETURN_IF_ERROR(Backup());
    CopyAndVerify();
    PGC_RETURN_IF_ERROR(Transform());
    PGC_RETURN_IF_ERROR(Cutover());
    PostValidation();
    PGC_RETURN_IF_ERROR(Cleanup());
    return std::move(phases_);
  }

 private:
  void Begin(v1::Phase phase) {
    phases_.emplace_back();
    phases_.back().set_ref(attempt_.grant().ref);
    phases_.back().set_phase(phase);
  }
  void Step(const std::string& where, const std::string& what) {
    phases_.back().add_steps(where.empty() ? what : where + ": " + what);
  }
  std::string Provisioner() const {
    return attempt_.login_server().provisioner().user() + "@" + attempt_.login_server_name();
  }
  std::string Registrar() const {
    return attempt_.registry_server().registrar().user() + "@" + plan_.registry().server() + "/" +
           plan_.registry().database();
  }
  std::string Reader() const {
    return attempt_.source_server().reader().user() + "@" + attempt_.project().source_server + "/" +
           attempt_.project().source_database;
  }
  std::string Login() const {
    return "(attempt's login)@" + attempt_.project().target_server + "/" + attempt_.project().database;
  }

  void Fence() {
    Begin(v1::FENCE);
    if (attempt_.has_registry()) {
      Step(Registrar(), "raise the project's row in pgconvoy.fence; end sessions of older attempts");
    }
    if (attempt_.has_credentials()) {
      Step(Provisioner(),
           "raise the project's row in pgconvoy.fence; NOLOGIN, end and drop logins of older attempts");
    }
  }

  void PreValidation() {
    Begin(v1::PRE_VALIDATION);
    if (schema_ != nullptr) {
      Step(Reader(), "privileges on " + std::to_string(schema_->tables.size()) + " table(s), row-level security");
    }
    if (attempt_.has_target()) {
      Step(Provisioner(), "privileges; role and database names are free");
    } else if (attempt_.has_credentials()) {
      Step(Provisioner(), "privileges; the role's name is free; it acts for every owner in " + Database());
    }
    if (attempt_.has_fallback()) {
      Step("", "log in as " + attempt_.project().fallback + " to " + attempt_.login_database());
    }
    Checks(v1::Check::PRE);
  }

  void Checks(v1::Check::Stage stage) {
    for (const v1::Check& check : plan_.checks()) {
      if (check.stage() == stage) {
        Step("check " + check.name(), What(check));
      }
    }
  }

  std::string What(const v1::Check& check) const {
    if (check.has_connection()) {
      const std::string login = "login of " + check.connection().user();
      return check.connection().refused() ? login + " is refused" : login + " works";
    }
    if (check.has_http()) {
      return "GET " + check.http().url();
    }
    if (!check.environment().empty()) {
      return "variables of the worker's environment are set";
    }
    const std::string sql = Rendered(check.sql());
    return check.has_equals() ? sql + " gives the same rows as " + Rendered(check.equals().sql()) : sql;
  }

  std::string Database() const { return "database " + Ident(attempt_.login_database()); }

  // What the new login gets where the database is there already.
  std::string Access() const {
    const auto& schemas = plan_.credentials().schemas();
    const std::string where = Database() + " and schema(s) " + IdentList({schemas.begin(), schemas.end()});
    switch (plan_.credentials().permissions()) {
      case v1::Credentials::OWNER: return "write down the owners of " + where + ", then give ownership to it";
      case v1::Credentials::READ_ONLY: return "GRANT reading of " + where + " to it";
      default: return "GRANT reading and writing of " + where + " to it";
    }
  }

  std::string Rendered(const std::string& sql) const {
    const auto text = plan::RenderSql(sql, attempt_.values());
    return text.ok() ? *text : pgconvoy::Describe(text.status());
  }

  absl::Status Freeze() {
    if (!plan_.has_freeze()) {
      return absl::OkStatus();
    }
    Begin(v1::FREEZE);
    for (const std::string& statement : plan_.freeze().apply()) {
      PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(statement, attempt_.values()));
      Step(Registrar(), sql);
    }
    if (plan_.freeze().confirmed_by_operator()) {
      Step("", "nothing: the operator says that writes are stopped");
    }
    return absl::OkStatus();
  }

  void Credentials() {
    if (!attempt_.has_credentials()) {
      return;
    }
    Begin(v1::CREDENTIALS);
    Step("", "make a password, seal it to the operator's public key, store it");
    Step(Provisioner(), "CREATE ROLE " + Ident(attempt_.project().user) + " LOGIN PASSWORD ***");
    if (!attempt_.has_target()) {
      Step(Provisioner(), "in the same transaction: " + Access());
    }
    Step("", "log in once as " + attempt_.project().user);
  }

  void Provision() {
    if (!attempt_.has_target()) {
      return;
    }
    Begin(v1::PROVISION);
    const std::string from = "pgc_tmpl_" + schema_->hash;
    Step(Provisioner(), "lay template database " + from + " from the source's schema, unless it is there");
    Step(Provisioner(), "CREATE DATABASE (temporary name) TEMPLATE " + Ident(from) + " OWNER " +
                            Ident(attempt_.project().user) + "; REVOKE ALL FROM PUBLIC");
    Step(Login(), "REASSIGN OWNED to " + Ident(attempt_.project().user) + "; make the ledger");
    Step(Provisioner(), "ALTER DATABASE (temporary name) RENAME TO " + Ident(attempt_.project().database));
  }

  absl::Status Backup() {
    if (schema_ == nullptr) {
      return absl::OkStatus();
    }
    Begin(v1::BACKUP);
    for (const TableInfo& table : schema_->tables) {
      PGC_ASSIGN_OR_RETURN(const std::string sql, SourceCopySql(attempt_, table.entry, table));
      Step(Reader(), sql);
    }
    Step("", "write chunk files and a manifest to " + plan_.backup().directory() + "/" + attempt_.grant().ref + "/");
    return absl::OkStatus();
  }

  void CopyAndVerify() {
    if (!attempt_.has_target()) {
      return;
    }
    Begin(v1::COPY);
    for (const TableInfo& table : schema_->tables) {
      Step(Login(), "COPY " + SplitTable(table.name).Quoted() + " (" + IdentList(table.columns) + ") FROM STDIN");
    }
    Begin(v1::VERIFY);
    for (const TableInfo& table : schema_->tables) {
      Step(Login(), TargetCopySql(table.name, table.columns) + " and compare its digest with the backup's");
    }
    Step(Login(), "add foreign keys, triggers, policies and row-level security; compare all objects with the source");
  }

  absl::Status Transform() {
    if (!attempt_.has_transform()) {
      return absl::OkStatus();
    }
    Begin(v1::TRANSFORM);
    const v1::Transform& transform = plan_.transform();
    const std::string who = attempt_.source_server().transformer().user() + "@" + attempt_.project().source_server +
                            "/" + attempt_.project().source_database;
    for (const v1::Step& step : transform.prepare()) {
      Step(who, Rendered(step.apply()));
    }
    for (const v1::PolicyReplacement& policies : transform.policies()) {
      Step(who, "save and drop all policies of " + policies.table());
      for (const std::string& statement : policies.create()) {
        Step(who, Rendered(statement));
      }
    }
    for (const v1::Table& table : plan_.tables()) {
      for (const v1::Column& column : table.columns()) {
        PGC_ASSIGN_OR_RETURN(const std::string value, NewValueSql(column, attempt_.values(), ""));
        Step(who, "UPDATE " + SplitTable(table.table()).Quoted() + " SET " + Ident(column.name()) + " = " + value);
      }
    }
    for (const std::string& statement : transform.changes()) {
      Step(who, Rendered(statement));
    }
    for (const v1::Step& step : transform.finish()) {
      Step(who, Rendered(step.apply()));
    }
    Step(who, "log every changed row before and after in pgconvoy_transform.change");
    Begin(v1::VERIFY);
    Step(who, "no value that the plan does not give; tables that must not change are as the backup has them");
    return absl::OkStatus();
  }

  absl::Status Cutover() {
    if (!attempt_.has_cutover()) {
      return absl::OkStatus();
    }
    Begin(v1::CUTOVER);
    if (attempt_.has_target()) {
      Step(Reader(), "read every table again and compare its digest with the backup's");
    }
    PGC_ASSIGN_OR_RETURN(const RegistryValues values, NewRegistryValues(attempt_, "***"));
    std::string assignments;
    for (const auto& [column, value] : values) {
      assignments += (assignments.empty() ? "" : ", ") + Ident(column) + " = " + Literal(value.value_or("NULL"));
    }
    Step(Registrar(), "UPDATE " + SplitTable(plan_.registry().table()).Quoted() + " SET " + assignments + " WHERE " +
                          Ident(plan_.registry().ref_column()) + " = " + Literal(attempt_.grant().ref) +
                          " AND the row is as it was read");
    for (const v1::Step& step : plan_.cutover().statements()) {
      Step(Registrar(), "in the same transaction: " + Rendered(step.apply()));
    }
    if (plan_.credentials().fallback().revoke_connect()) {
      Step(Provisioner(), "REVOKE CONNECT ON " + Database() + " FROM " + Ident(attempt_.project().fallback) +
                              ", PUBLIC; end its sessions there");
    }
    return absl::OkStatus();
  }

  void PostValidation() {
    Begin(v1::POST_VALIDATION);
    if (attempt_.has_credentials()) {
      Step("", "log in as " + attempt_.project().user + " to " + attempt_.login_database());
    }
    if (attempt_.has_fallback()) {
      Step(Provisioner(), "nobody is logged in as " + attempt_.project().fallback);
    }
    if (attempt_.has_target()) {
      Step(Provisioner(), "no other login may connect to " + attempt_.project().database);
      Step(Login(), "no row of another project in " + std::to_string(schema_->tables.size()) + " table(s)");
    }
    for (const v1::Link& link : plan_.links()) {
      Step(Login(), "every " + link.from() + " refers to a " + link.to());
    }
    Checks(v1::Check::POST);
    Checks(v1::Check::INTEGRITY);
  }

  absl::Status Cleanup() {
    Begin(v1::CLEANUP);
    if (attempt_.has_target()) {
      Step(Login(), "DROP SCHEMA pgconvoy CASCADE");
      Step(Provisioner(), "DROP ROLE (attempt's login)");
    }
    for (const std::string& statement : plan_.freeze().undo()) {
      PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(statement, attempt_.values()));
      Step(Registrar(), sql);
    }
    return absl::OkStatus();
  }

  Attempt& attempt_;
  const v1::Plan& plan_;
  std::shared_ptr<const SourceSchema> schema_;
  std::vector<v1::PhaseDescription> phases_;
};

}  // namespace

absl::StatusOr<std::vector<v1::PhaseDescription>> DescribeProject(Attempt& attempt) {
  return Describer(attempt).Run();
}

}  // namespace pgconvoy::worker
