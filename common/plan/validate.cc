#include <algorithm>
#include <array>
#include <map>

#include "absl/strings/ascii.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/plan/check_rules.h"
#include "common/plan/conninfo.h"
#include "common/plan/field_checks.h"
#include "common/plan/plan.h"
#include "common/plan/secret_ref.h"
#include "common/plan/server_choice.h"
#include "common/plan/table_pattern.h"
#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

// One attempt per connection that a default PostgreSQL allows (max_connections = 100) is far below this.
constexpr int64_t kMaxProjectsPerServer = 10'000;
constexpr int64_t kMaxBatchBytes = int64_t{1} << 50;
constexpr int64_t kDayMs = 86'400'000;
constexpr size_t kRecipientBytes = 32;
constexpr size_t kSha256Digits = 64;

enum class LoginKind { kReader, kProvisioner, kRegistrar, kTransformer };

// Settings of PostgreSQL itself that decide about speed, never about what is read or written.
constexpr std::array<const char*, 4> kFreeSettings = {"lock_timeout", "maintenance_work_mem", "temp_buffers",
                                                      "work_mem"};

// As kind.
constexpr std::array<const char*, 4> kLoginNames = {"reader", "provisioner", "registrar", "transformer"};

bool HasLogin(const v1::Server& server, LoginKind kind) {
  switch (kind) {
    case LoginKind::kReader: return server.has_reader();
    case LoginKind::kProvisioner: return server.has_provisioner();
    case LoginKind::kRegistrar: return server.has_registrar();
    case LoginKind::kTransformer: return server.has_transformer();
  }
  return false;
}

std::string Item(std::string_view list, int index) { return std::string(list) + "[" + std::to_string(index) + "]"; }

// schema and table as a key that does not depend on how they were quoted.
std::string Key(std::string_view name, size_t parts, size_t used) {
  const auto split = SplitQualified(name, parts);
  std::string key;
  for (size_t i = 0; split.ok() && i < used; ++i) {
    key += (*split)[i] + '\0';
  }
  return key;
}

class Validator {
 public:
  explicit Validator(const v1::Plan& plan)
      : plan_(plan),
        checks_({plan.registry().attribute_columns().begin(), plan.registry().attribute_columns().end()}) {}

  std::vector<Problem> Run() &&;

 private:
  void Head();
  void Servers();
  void ServerLogin(const std::string& field, const v1::Login& login);
  void Settings(const std::string& field, const google::protobuf::Map<std::string, std::string>& settings);
  void Needs(const std::string& field, const std::string& server, LoginKind kind, std::string_view why);
  void Source();
  void Registry();
  void Attributes();
  void Target();
  void SameDatabase();
  void FreezeSection();
  void CredentialsSection();
  void PublicKey(const std::string& field, const std::string& key);
  void Tables();
  void TableWhere(const std::string& field, const v1::Table& table);
  void TableSchema(const std::string& field, const v1::Table& table);
  void TableColumns(const std::string& field, const v1::Table& table);
  void CarriedColumns(const std::string& field, const v1::Table& table);
  void ColumnNames(const std::string& field, const google::protobuf::RepeatedPtrField<std::string>& names);
  void TableExceptions(const std::string& field, const v1::Table& table);
  void TransformSection();
  void Steps(const std::string& field, const google::protobuf::RepeatedPtrField<v1::Step>& steps);
  void PolicyReplacements();
  void Links();
  void LinkEnd(const std::string& field, const std::string& end);
  void BackupSection();
  void CutoverSection();
  void CutoverStatements();
  void ExecutionSection();
  void Restore();

  const v1::Plan& plan_;
  FieldChecks checks_;
  // Key of a listed table -> its path.
  std::map<std::string, std::string> tables_;
  // False when a table's name is broken: then nobody can say which tables are missing.
  bool tables_known_ = true;
};

void Validator::Head() {
  if (plan_.version() != 1) {
    checks_.Error("version", plan_.version() == 0 ? "PGC-PLAN-REQUIRED" : "PGC-PLAN-VERSION",
                  plan_.version() == 0 ? "the key is required" : "this version of the format is unknown",
                  "write version: 1");
  }
  if (checks_.Required("name", plan_.name())) {
    checks_.Word("name", plan_.name(), false);
  }
  if (plan_.servers().empty()) {
    checks_.Error("servers", "PGC-PLAN-REQUIRED", "the plan names no server");
  }
}

void Validator::ServerLogin(const std::string& field, const v1::Login& login) {
  if (checks_.Required(field + ".user", login.user())) {
    checks_.PlainName(field + ".user", login.user());
  }
  checks_.SecretRef(field + ".password", login.password());
  Settings(field + ".settings", login.settings());
}

void Validator::Settings(const std::string& field, const google::protobuf::Map<std::string, std::string>& settings) {
  for (const auto& [name, value] : std::map(settings.begin(), settings.end())) {
    const bool known = std::find(kFreeSettings.begin(), kFreeSettings.end(), name) != kFreeSettings.end();
    if (name.find('.') == std::string::npos && !known) {
      checks_.Error(field + "." + name, "PGC-PLAN-SETTING", "a plan may not set this setting",
                    "allowed: settings of an application or extension (a name with a dot), " +
                        Join({kFreeSettings.begin(), kFreeSettings.end()}, ", "));
    }
  }
}

void Validator::Servers() {
  const std::map<std::string, v1::Server> servers(plan_.servers().begin(), plan_.servers().end());
  for (const auto& [name, server] : servers) {
    const std::string field = "servers." + name;
    checks_.Word(field, name, true);
    if (checks_.Required(field + ".conninfo", server.conninfo()) && !IsSecretRef(server.conninfo())) {
      checks_.Take(field + ".conninfo", CheckConninfo(server.conninfo()));
    }
    if (server.has_reader()) {
      ServerLogin(field + ".reader", server.reader());
    }
    if (server.has_provisioner()) {
      ServerLogin(field + ".provisioner", server.provisioner());
    }
    if (server.has_registrar()) {
      ServerLogin(field + ".registrar", server.registrar());
    }
    if (server.has_transformer()) {
      ServerLogin(field + ".transformer", server.transformer());
    }
    checks_.Range(field + ".max_projects", server.max_projects(), 1, kMaxProjectsPerServer);
    checks_.PlainName(field + ".control_database",
                      server.control_database().empty() ? "x" : server.control_database());
  }
}

// `field` is what names the server; the login is missing in the server's own section.
void Validator::Needs(const std::string& field, const std::string& server, LoginKind kind, std::string_view why) {
  if (!checks_.Required(field, server)) {
    return;
  }
  const bool chosen_per_project = FieldChecks::HasPlaceholder(server);
  if (chosen_per_project) {
    checks_.NameTemplate(field, server, false);
  } else if (!plan_.servers().contains(server)) {
    checks_.Take(field, NoSuchServer(plan_, server));
    return;
  }
  for (const std::string& name : PossibleServers(plan_, server)) {
    if (HasLogin(plan_.servers().at(name), kind)) {
      return;
    }
  }
  // Which server a project needs it on is known when the project is: ProjectCheck.
  const std::string login = kLoginNames[static_cast<size_t>(kind)];
  checks_.Error(
      chosen_per_project ? "servers" : "servers." + server + "." + login, "PGC-PLAN-LOGIN",
      (chosen_per_project ? "no server has a " : "the server needs a ") + login + ", which " + std::string(why));
}

void Validator::Source() {
  if (!plan_.has_source()) {
    checks_.Error("source", "PGC-PLAN-REQUIRED", "the key is required");
    return;
  }
  Needs("source.server", plan_.source().server(), LoginKind::kReader, "reads the source");
  if (checks_.Required("source.database", plan_.source().database())) {
    checks_.NameTemplate("source.database", plan_.source().database(), false);
  }
}

void Validator::Attributes() {
  std::set<std::string> seen;
  for (int i = 0; i < plan_.registry().attribute_columns_size(); ++i) {
    const std::string& column = plan_.registry().attribute_columns(i);
    const std::string field = Item("registry.attribute_columns", i);
    if (!IsPlaceholderName(column)) {
      checks_.Error(field, "PGC-PLAN-NAME", "an attribute's name must be [a-z][a-z0-9_]*");
    } else if (column == "ref" || column == "database" || column == "user" || column == "verifier") {
      checks_.Error(field, "PGC-PLAN-NAME", "{" + column + "} has a meaning of its own; no attribute may take it");
    } else if (!seen.insert(column).second) {
      checks_.Error(field, "PGC-PLAN-DUPLICATE", "the column is listed twice");
    }
  }
}

void Validator::Registry() {
  if (!plan_.has_registry()) {
    return;
  }
  const v1::Registry& registry = plan_.registry();
  Needs("registry.server", registry.server(), LoginKind::kRegistrar, "reads and updates the registry");
  if (checks_.Required("registry.database", registry.database())) {
    checks_.PlainName("registry.database", registry.database());
  }
  if (checks_.Required("registry.table", registry.table())) {
    checks_.Qualified("registry.table", registry.table(), 2);
  }
  if (checks_.Required("registry.ref_column", registry.ref_column())) {
    checks_.PlainName("registry.ref_column", registry.ref_column());
  }
  Attributes();
  checks_.Take("registry.where", CheckSqlExpression(registry.where()));
  checks_.Take("registry.estimated_bytes", CheckSqlExpression(registry.estimated_bytes()));
}

void Validator::SameDatabase() {
  const v1::Source& source = plan_.source();
  const v1::Target& target = plan_.target();
  const auto conninfo = [&](const std::string& server) {
    const auto it = plan_.servers().find(server);
    return it == plan_.servers().end() ? "" : it->second.conninfo();
  };
  const bool same_server =
      source.server() == target.server() ||
      (!conninfo(source.server()).empty() && conninfo(source.server()) == conninfo(target.server()));
  if (same_server && source.database() == target.database()) {
    checks_.Error("target.database", "PGC-PLAN-SAME-DATABASE", "source and target are the same database");
  }
}

void Validator::Target() {
  if (!plan_.has_target()) {
    return;
  }
  const v1::Target& target = plan_.target();
  Needs("target.server", target.server(), LoginKind::kProvisioner, "creates roles and databases");
  if (checks_.Required("target.database", target.database())) {
    checks_.NameTemplate("target.database", target.database(), !plan_.execution().has_restore());
    SameDatabase();
  }
  if (target.schemas().empty()) {
    checks_.Error("target.schemas", "PGC-PLAN-REQUIRED", "the target would have no schema",
                  "list the schemas that move");
  }
  std::set<std::string> seen;
  for (int i = 0; i < target.schemas_size(); ++i) {
    const std::string field = Item("target.schemas", i);
    if (checks_.Required(field, target.schemas(i))) {
      checks_.PlainName(field, target.schemas(i));
    }
    if (IsPattern(target.schemas(i)) && !IsWholeDatabase(plan_)) {
      checks_.Error(field, "PGC-PLAN-TABLE", "a schema may not be a pattern",
                    "write [\"*\"] alone for every schema of the source, or name the schemas");
    }
    if (!seen.insert(target.schemas(i)).second) {
      checks_.Error(field, "PGC-PLAN-DUPLICATE", "the schema is listed twice");
    }
  }
  if (!plan_.has_credentials()) {
    checks_.Error("credentials", "PGC-PLAN-REQUIRED",
                  "a target needs the project's own login, which owns the database");
  }
}

void Validator::FreezeSection() {
  if (!plan_.has_freeze() && !plan_.has_target()) {
    return;
  }
  if (!plan_.has_freeze()) {
    checks_.Warning("freeze", "PGC-PLAN-NO-FREEZE", "the plan does not stop the project's writes",
                    "a project that writes during its migration will fail at CUTOVER; name statements, or set "
                    "freeze.confirmed_by_operator once you have stopped the writes yourself");
    return;
  }
  const v1::Freeze& freeze = plan_.freeze();
  for (int i = 0; i < freeze.apply_size(); ++i) {
    checks_.SqlTemplate(Item("freeze.apply", i), freeze.apply(i));
  }
  for (int i = 0; i < freeze.undo_size(); ++i) {
    checks_.SqlTemplate(Item("freeze.undo", i), freeze.undo(i));
  }
  if (freeze.apply().empty() && !freeze.confirmed_by_operator()) {
    checks_.Error("freeze.apply", "PGC-PLAN-REQUIRED", "the freeze does nothing",
                  "name statements or set freeze.confirmed_by_operator");
  }
  if (freeze.apply().empty() != freeze.undo().empty()) {
    checks_.Error(freeze.undo().empty() ? "freeze.undo" : "freeze.apply", "PGC-PLAN-REQUIRED",
                  "apply and undo belong together");
  }
  if (!freeze.apply().empty() && !plan_.has_registry()) {
    checks_.Error("registry", "PGC-PLAN-REQUIRED", "freeze.apply runs in the registry's database");
  }
}

void Validator::PublicKey(const std::string& field, const std::string& key) {
  if (!checks_.Required(field, key) || IsSecretRef(key)) {
    return;
  }
  const auto bytes = Base64Decode(key);
  if (!bytes.ok() || bytes->size() != kRecipientBytes) {
    checks_.Error(field, "PGC-PLAN-RECIPIENT", "not a public key: base64 of 32 bytes",
                  "make a pair with `pgconvoy credentials keygen`");
  }
}

void Validator::CredentialsSection() {
  if (!plan_.has_credentials()) {
    return;
  }
  if (checks_.Required("credentials.user", plan_.credentials().user())) {
    checks_.NameTemplate("credentials.user", plan_.credentials().user(), !plan_.execution().has_restore());
  }
  PublicKey("credentials.recipient", plan_.credentials().recipient());
  // Without a target, the login is made where the data stays.
  if (!plan_.has_target() && !PossibleServers(plan_, plan_.source().server()).empty()) {
    Needs("source.server", plan_.source().server(), LoginKind::kProvisioner, "creates roles");
  }
  ValidateAccess(plan_, checks_);
}

void Validator::TableWhere(const std::string& field, const v1::Table& table) {
  if (!table.where().empty()) {
    checks_.ConditionTemplate(field + ".where", table.where());
  }
  if (FieldChecks::HasPlaceholder(plan_.source().database()) ||
      FieldChecks::HasPlaceholder(plan_.source().server()) || FieldChecks::HasPlaceholder(table.where()) ||
      plan_.has_transform()) {
    return;
  }
  if (table.where().empty()) {
    checks_.Error(field + ".where", "PGC-PLAN-REQUIRED", "every project would get the rows of all projects",
                  "write a condition such as project_ref = {ref}");
  } else if (CheckSqlTemplate(table.where()).ok()) {
    checks_.Warning(field + ".where", "PGC-PLAN-PLACEHOLDER", "every project will get the same rows of this table",
                    "right for reference data; else write a condition such as project_ref = {ref}");
  }
}

void Validator::TableSchema(const std::string& field, const v1::Table& table) {
  const auto name = SplitQualified(table.table(), 2);
  const auto& schemas = plan_.target().schemas();
  if (plan_.has_target() && !schemas.empty() && !IsWholeDatabase(plan_) && !IsPattern((*name)[0]) &&
      std::find(schemas.begin(), schemas.end(), (*name)[0]) == schemas.end()) {
    checks_.Error(field, "PGC-PLAN-TABLE", "the schema " + Printable((*name)[0]) + " is not in target.schemas");
  }
  const auto [it, inserted] = tables_.emplace(Key(table.table(), 2, 2), field);
  if (!inserted) {
    checks_.Error(field, "PGC-PLAN-DUPLICATE", "the table is listed already, as " + it->second);
  }
}

void Validator::ColumnNames(const std::string& field, const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::set<std::string> seen;
  for (int i = 0; i < names.size(); ++i) {
    const std::string item = Item(field, i);
    if (checks_.Required(item, names.Get(i))) {
      checks_.PlainName(item, names.Get(i));
    }
    if (!seen.insert(names.Get(i)).second) {
      checks_.Error(item, "PGC-PLAN-DUPLICATE", "the column is listed twice");
    }
  }
}

void Validator::CarriedColumns(const std::string& field, const v1::Table& table) {
  ColumnNames(field + ".exclude_columns", table.exclude_columns());
  ColumnNames(field + ".only_columns", table.only_columns());
  if (!table.exclude_columns().empty() && !table.only_columns().empty()) {
    checks_.Error(field + ".only_columns", "PGC-PLAN-TABLE", "only_columns and exclude_columns exclude each other",
                  "keep the one that is shorter");
  }
  const bool names_columns =
      table.exclude_columns_size() > 0 || table.only_columns_size() > 0 || table.columns_size() > 0;
  if (IsPattern(table.table()) && names_columns) {
    checks_.Error(field + ".table", "PGC-PLAN-TABLE", "columns are chosen for one table, not for a pattern",
                  "list the table by itself, and in `except` of the pattern");
  }
}

void Validator::TableExceptions(const std::string& field, const v1::Table& table) {
  if (IsPattern(table.table()) && plan_.has_transform()) {
    checks_.Error(field + ".table", "PGC-PLAN-TABLE", "what is changed in place is named, not found by a pattern",
                  "list the tables");
  }
  for (int i = 0; i < table.except_size(); ++i) {
    const std::string item = Item(field + ".except", i);
    if (checks_.Required(item, table.except(i))) {
      checks_.Qualified(item, table.except(i), 2);
    }
  }
  if (!table.except().empty() && !IsPattern(table.table())) {
    checks_.Error(field + ".except", "PGC-PLAN-TABLE", "only a pattern can have exceptions",
                  "leave the table out of the plan instead");
  }
}

void Validator::TableColumns(const std::string& field, const v1::Table& table) {
  std::set<std::string> names;
  for (int c = 0; c < table.columns_size(); ++c) {
    const v1::Column& column = table.columns(c);
    const std::string item = Item(field + ".columns", c);
    if (checks_.Required(item + ".name", column.name())) {
      checks_.PlainName(item + ".name", column.name());
      if (!names.insert(column.name()).second) {
        checks_.Error(item + ".name", "PGC-PLAN-DUPLICATE", "the column is listed twice");
      }
    }
    if (column.expression().empty() == column.values().empty()) {
      checks_.Error(item, "PGC-PLAN-COLUMN", "a column needs exactly one of expression and values");
    }
    if (!column.expression().empty()) {
      checks_.ConditionTemplate(item + ".expression", column.expression());
    }
    if (column.values().empty() && column.on_unmapped() != v1::Column::ON_UNMAPPED_UNSPECIFIED) {
      checks_.Error(item + ".on_unmapped", "PGC-PLAN-COLUMN", "on_unmapped belongs to values");
    }
  }
  if (table.unchanged() && (!plan_.has_transform() || !table.columns().empty())) {
    checks_.Error(field + ".unchanged", "PGC-PLAN-COLUMN",
                  plan_.has_transform() ? "the table has columns that change" : "the plan has no transform");
  }
}

void Validator::Tables() {
  for (int i = 0; i < plan_.tables_size(); ++i) {
    const v1::Table& table = plan_.tables(i);
    const std::string field = Item("tables", i);
    if (checks_.Required(field + ".table", table.table()) && checks_.Qualified(field + ".table", table.table(), 2)) {
      TableSchema(field + ".table", table);
    } else {
      tables_known_ = false;
    }
    TableWhere(field, table);
    TableColumns(field, table);
    CarriedColumns(field, table);
    TableExceptions(field, table);
  }
  if (!plan_.tables().empty() && !plan_.has_backup() && !plan_.execution().skip_backup()) {
    checks_.Error("backup", "PGC-PLAN-REQUIRED", "tables move only through a backup");
  }
}

void Validator::Steps(const std::string& field, const google::protobuf::RepeatedPtrField<v1::Step>& steps) {
  for (int i = 0; i < steps.size(); ++i) {
    for (const auto& [part, sql] : {std::pair{".apply", steps[i].apply()}, std::pair{".undo", steps[i].undo()}}) {
      if (checks_.Required(Item(field, i) + part, sql)) {
        checks_.SqlTemplate(Item(field, i) + part, sql);
      }
    }
  }
}

void Validator::PolicyReplacements() {
  std::set<std::string> seen;
  for (int i = 0; i < plan_.transform().policies_size(); ++i) {
    const v1::PolicyReplacement& policies = plan_.transform().policies(i);
    const std::string field = Item("transform.policies", i);
    if (checks_.Required(field + ".table", policies.table()) &&
        checks_.Qualified(field + ".table", policies.table(), 2) &&
        !seen.insert(Key(policies.table(), 2, 2)).second) {
      checks_.Error(field + ".table", "PGC-PLAN-DUPLICATE", "the table's policies are replaced twice");
    }
    for (int c = 0; c < policies.create_size(); ++c) {
      const std::string item = Item(field + ".create", c);
      checks_.SqlTemplate(item, policies.create(c));
      if (!absl::AsciiStrToLower(policies.create(c)).starts_with("create policy ")) {
        checks_.Error(item, "PGC-PLAN-POLICY", "not a CREATE POLICY statement");
      }
    }
  }
}

void Validator::TransformSection() {
  if (plan_.execution().skip_backup() && !plan_.has_transform()) {
    checks_.Error("execution.skip_backup", "PGC-PLAN-RANGE", "every row of a target comes from the backup",
                  "remove skip_backup");
  }
  if (!plan_.has_transform()) {
    return;
  }
  const v1::Transform& transform = plan_.transform();
  if (plan_.has_target()) {
    checks_.Error("transform", "PGC-PLAN-TRANSFORM", "a plan changes in place or copies to a target, not both");
  }
  if (plan_.tables().empty()) {
    checks_.Error("tables", "PGC-PLAN-REQUIRED", "the tables that change must be listed",
                  "they are backed up, and their changes are logged");
  }
  Needs("source.server", plan_.source().server(), LoginKind::kTransformer, "changes the database in place");
  Steps("transform.prepare", transform.prepare());
  Steps("transform.finish", transform.finish());
  PolicyReplacements();
  for (int i = 0; i < transform.changes_size(); ++i) {
    checks_.SqlTemplate(Item("transform.changes", i), transform.changes(i));
  }
  const bool columns = std::any_of(plan_.tables().begin(), plan_.tables().end(),
                                   [](const v1::Table& table) { return !table.columns().empty(); });
  if (!plan_.execution().has_restore() && !columns && transform.changes().empty() && transform.policies().empty() &&
      transform.prepare().empty() && transform.finish().empty()) {
    checks_.Error("transform", "PGC-PLAN-REQUIRED", "the transformation does nothing",
                  "name changes, policies, steps, or columns of tables");
  }
}

void Validator::LinkEnd(const std::string& field, const std::string& end) {
  if (!checks_.Required(field, end) || !checks_.Qualified(field, end, 3)) {
    return;
  }
  const auto name = SplitQualified(end, 3);
  const auto takes = [&name](const v1::Table& table) { return TakesTable(table, (*name)[0], (*name)[1]); };
  if (tables_known_ && std::none_of(plan_.tables().begin(), plan_.tables().end(), takes)) {
    checks_.Error(field, "PGC-PLAN-LINK", "the table of " + Printable(end) + " is not in tables");
  }
}

void Validator::Links() {
  for (int i = 0; i < plan_.links_size(); ++i) {
    LinkEnd(Item("links", i) + ".from", plan_.links(i).from());
    LinkEnd(Item("links", i) + ".to", plan_.links(i).to());
  }
}

void Validator::BackupSection() {
  if (!plan_.has_backup()) {
    return;
  }
  const std::string& directory = plan_.backup().directory();
  if (checks_.Required("backup.directory", directory) && !IsSecretRef(directory)) {
    const bool climbs = directory.ends_with("/..") || directory.find("/../") != std::string::npos;
    if (!directory.starts_with('/') || climbs || !IsUtf8(directory)) {
      checks_.Error("backup.directory", "PGC-PLAN-DIRECTORY", "not an absolute path without \"..\"",
                    "name a folder that every worker sees under the same path");
    }
  }
  checks_.Range("backup.compression_level", plan_.backup().compression_level(), 1, 19);
  checks_.Range("backup.chunk_bytes", plan_.backup().chunk_bytes(), 65'536, 268'435'456);
  checks_.Range("backup.retention_days", plan_.backup().retention_days(), 1, 36'500);
  // Where the private key will be is said before anybody needs it at night.
  if (!plan_.backup().encrypt_to().empty()) {
    PublicKey("backup.encrypt_to", plan_.backup().encrypt_to());
    checks_.Required("backup.key", plan_.backup().key());
  }
  checks_.SecretRef("backup.key", plan_.backup().key());
}

void Validator::CutoverSection() {
  if (!plan_.has_cutover()) {
    return;
  }
  if (!plan_.has_registry()) {
    checks_.Error("registry", "PGC-PLAN-REQUIRED", "CUTOVER updates the registry");
  }
  CutoverStatements();
  if (plan_.cutover().set().empty() && plan_.cutover().statements().empty()) {
    checks_.Error("cutover.set", "PGC-PLAN-REQUIRED", "the cutover changes no column");
  }
  const std::map<std::string, std::string> set(plan_.cutover().set().begin(), plan_.cutover().set().end());
  for (const auto& [column, value] : set) {
    const std::string field = "cutover.set." + column;
    if (checks_.Required(field, column)) {
      checks_.PlainName(field, column);
    }
    if (column == plan_.registry().ref_column()) {
      checks_.Error(field, "PGC-PLAN-TABLE", "the column that names the project may not be changed");
    }
    std::set<std::string> names = NamesOf(plan_);
    if (plan_.has_credentials()) {
      names.insert("verifier");
    }
    checks_.TextTemplate(field, value, names);
  }
}

// {verifier} is a bound parameter of cutover.set and nothing else: SQL texts end up in the server's log.
void Validator::CutoverStatements() {
  const std::set<std::string> names = NamesOf(plan_);
  for (int i = 0; i < plan_.cutover().statements_size(); ++i) {
    const v1::Step& step = plan_.cutover().statements(i);
    const std::string field = Item("cutover.statements", i);
    if (checks_.Required(field + ".apply", step.apply())) {
      checks_.SqlTemplate(field + ".apply", step.apply(), names);
    }
    if (checks_.Required(field + ".undo", step.undo())) {
      checks_.SqlTemplate(field + ".undo", step.undo(), names);
    }
  }
}

void Validator::ExecutionSection() {
  const v1::Execution& execution = plan_.execution();
  checks_.Range("execution.batch_size", execution.batch_size(), 1, 10'000);
  checks_.Range("execution.batch_bytes", execution.batch_bytes(), 1, kMaxBatchBytes);
  checks_.Range("execution.max_attempts", execution.max_attempts(), 1, 100);
  checks_.Range("execution.initial_backoff_ms", execution.initial_backoff_ms(), 1, kDayMs);
  checks_.Range("execution.max_backoff_ms", execution.max_backoff_ms(), 1, kDayMs);
  checks_.Range("execution.phase_timeout_ms", execution.phase_timeout_ms(), 1, kDayMs);
  checks_.Range("execution.jobs", execution.jobs(), 1, 64);
  if (execution.max_backoff_ms() != 0 && execution.initial_backoff_ms() > execution.max_backoff_ms()) {
    checks_.Error("execution.initial_backoff_ms", "PGC-PLAN-RANGE", "larger than max_backoff_ms");
  }
  if (execution.mode() == v1::Execution::BACKUP_ONLY && (!plan_.has_backup() || execution.has_restore())) {
    checks_.Error("execution.mode", "PGC-PLAN-MODE", "BACKUP_ONLY needs a backup section and goes without restore");
  }
  if (execution.mode() == v1::Execution::ROTATE_CREDENTIALS ||
      execution.mode() == v1::Execution::REVOKE_CREDENTIALS || execution.credentials_of() != 0) {
    checks_.Error("execution.mode", "PGC-PLAN-MODE", "no plan changes the credentials of an older migration",
                  "use `pgconvoy credentials rotate` or `pgconvoy credentials revoke`");
  }
  if (execution.has_restore()) {
    Restore();
  }
}

void Validator::Restore() {
  const v1::Execution::Restore& restore = plan_.execution().restore();
  if (checks_.Required("execution.restore.backup_id", restore.backup_id()) &&
      restore.manifest_digest().size() != kSha256Digits) {
    checks_.Error("execution.restore.manifest_digest", "PGC-PLAN-RESTORE", "is no SHA-256",
                  "take it from `pgconvoy backup show`");
  }
  if (!(plan_.has_target() || plan_.has_transform()) || !plan_.has_backup()) {
    checks_.Error("execution.restore", "PGC-PLAN-RESTORE", "a restore needs backup, and target or transform");
  }
  if (plan_.has_freeze() || plan_.has_cutover()) {
    checks_.Error("execution.restore", "PGC-PLAN-RESTORE", "a restore goes with neither freeze nor cutover");
  }
}

std::vector<Problem> Validator::Run() && {
  Head();
  Servers();
  Source();
  Registry();
  Target();
  FreezeSection();
  CredentialsSection();
  Tables();
  TransformSection();
  Links();
  BackupSection();
  CutoverSection();
  ValidateChecks(plan_, checks_);
  ExecutionSection();
  return checks_.TakeProblems();
}

}  // namespace

std::vector<Problem> ValidatePlan(const v1::Plan& plan) { return Validator(plan).Run(); }

}  // namespace pgconvoy::plan
