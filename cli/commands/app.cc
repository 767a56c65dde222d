#include "cli/commands/app.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/commands.h"
#include "common/base/arguments.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::cli {
namespace {

constexpr int kMaxBatchSize = 10'000;
constexpr int kMaxAttempts = 100;
constexpr int kMaxWorkers = 64;
constexpr int kMaxSlots = 256;
constexpr int kMaxLimit = 1'000'000;
// An authority lasts ten years.
constexpr int kMaxCertificateDays = 3'650;

// A description is "Example:\n  …\n\nSummary.": help begins with the example, lists show the summary.
std::string Describe(const std::string& example, const std::string& summary) {
  return "Example:\n  " + example + "\n\n" + summary;
}

auto Between(int64_t min, int64_t max) {
  return [=](const std::string& text) { return WhyNoNumber(text, min, max); };
}

class ExampleFirst : public CLI::Formatter {
 public:
  ExampleFirst() { column_width(34); }

  std::string make_description(const CLI::App* app) const override { return app->get_description() + "\n\n"; }

  std::string make_subcommand(const CLI::App* sub) const override {
    const std::string text = sub->get_description();
    const size_t gap = text.find("\n\n");
    std::string name = "  " + sub->get_name();
    name.resize(std::max(name.size() + 2, size_t{16}), ' ');
    return name + (gap == std::string::npos ? text : text.substr(gap + 2)) + "\n";
  }

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    const bool described = is_positional && !option->get_option_text().empty();
    return described ? option->get_option_text() : CLI::Formatter::make_option_name(option, is_positional);
  }

  std::string make_option_usage(const CLI::Option* option) const override {
    return option->get_option_text().empty() ? CLI::Formatter::make_option_usage(option) : option->get_option_text();
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_positional() || option->get_option_text().empty() ? "" : " " + option->get_option_text();
  }
};

// Every value that the command line can hold.
struct Values {
  GlobalOptions global;
  GetOptions get;
  SubmitOptions submit;
  InspectOptions inspect;
  ValidateOptions validate;
  DiscoverOptions discover;
  ReportOptions report;
  SteerOptions steer;
  LocalOptions local;
  CertsOptions certs;
  ChangeCredentialsOptions change;
  std::string file;
  std::string backup_id;
  bool verify_content = false;
  BackupOptions backup;
  BackupCreateOptions backup_create;
  std::string one_project;
  bool mend = false;
  std::string known_head;
  std::string topic;
  // [ID] REF
  std::vector<std::string> project_path;
};

using Action = std::function<int(Session&)>;

class CommandLine {
 public:
  CommandLine()
      : app_(Describe("pgconvoy submit plan.yaml --all --wait", "Moves fleets of PostgreSQL projects."), "pgconvoy") {
    app_.formatter(std::make_shared<ExampleFirst>());
    app_.set_help_flag("-h,--help", "Show help");
    app_.set_version_flag("--version", "pgconvoy " PGCONVOY_VERSION, "Show the version");
    app_.require_subcommand(1);
    app_.fallthrough();
    AddGlobal();
    AddLooking();
    AddSubmitting();
    AddInspecting();
    AddSteering();
    AddRest();
    AddUpkeep();
    AddCerts();
    AddLocal();
  }

  int Run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
      RefuseEmptyValues(&app_);
    } catch (const CLI::CallForHelp&) {
      Out(app_.help());
      return kOk;
    } catch (const CLI::CallForVersion& version) {
      Out(std::string(version.what()) + "\n");
      return kOk;
    } catch (const CLI::ParseError& error) {
      return UsageError(error);
    }
    return Dispatch();
  }

 private:
  CLI::App* Add(CLI::App* parent,
                const std::string& name,
                const std::string& example,
                const std::string& summary,
                Action action) {
    CLI::App* command = parent->add_subcommand(name, Describe("pgconvoy " + example, summary));
    if (action) {
      actions_[command] = std::move(action);
    } else {
      command->require_subcommand(1);
    }
    return command;
  }

  void AddGlobal() {
    GlobalOptions& g = values_.global;
    app_.add_option("--address", g.address, "Coordinator, HOST:PORT or unix:PATH (env PGCONVOY_ADDRESS)")
        ->option_text("ADDR");
    app_.add_option("--config", g.config, "Configuration file (env PGCONVOY_CONFIG)")->option_text("FILE");
    app_.add_option("-o,--output", g.output, "table, wide, json, yaml or name; csv for discover")
        ->option_text("FORMAT");
    app_.add_option("--color", g.color, "auto, always or never")->option_text("WHEN");
    app_.add_option("--timeout", g.timeout, "Give up after so long, such as 30s or 2h")->option_text("DURATION");
    app_.add_flag("--no-input", g.no_input, "Never ask anything");
    app_.add_option("--tls-cert", g.tls_cert, "Your certificate (env PGCONVOY_TLS_CERT)")->option_text("FILE");
    app_.add_option("--tls-key", g.tls_key, "Its private key (env PGCONVOY_TLS_KEY)")->option_text("FILE");
    app_.add_option("--tls-ca", g.tls_ca, "Who signs the coordinator's (env PGCONVOY_TLS_CA)")->option_text("FILE");
    app_.add_option("--tls-server-name", g.tls_server_name, "Name in it, instead of the address's host")
        ->option_text("NAME");
    app_.add_flag("--insecure", g.insecure, "Speak plaintext with a coordinator on another machine");
  }

  void AddMigrationArgument(CLI::App* command, std::string& target) {
    command->add_option("ID", target, "Migration; \"latest\"; may be left out when exactly one is unfinished");
  }

  void AddMigrationOption(CLI::App* command, std::string& target) {
    command->add_option("--migration", target, "Migration; \"latest\"")->option_text("ID");
  }

  void AddProjectOption(CLI::App* command, std::string& target) {
    command->add_option("--project", target, "One project by its ref")->option_text("REF");
  }

  void AddProjectPath(CLI::App* command) {
    command
        ->add_option("ID_REF", values_.project_path, "The project, and before it its migration unless that is clear")
        ->option_text("[ID] REF")
        ->required()
        ->expected(1, 2);
  }

  void AddLimit(CLI::App* command) {
    command->add_option("--limit", values_.get.limit, "Show at most so many; 0: all (the default)")
        ->option_text("N")
        ->check(Between(0, kMaxLimit));
  }

  void AddLooking() {
    GetOptions& o = values_.get;
    CLI::App* get = Add(&app_, "get", "get projects --state FAILED",
                        "List migrations, batches, projects, workers or events.", nullptr);
    CLI::App* migrations = Add(get, "migrations", "get migrations", "List migrations.",
                               [&o](Session& s) { return GetMigrations(s, o); });
    CLI::App* batches = Add(get, "batches", "get batches --migration 7", "List the batches of a migration.",
                            [&o](Session& s) { return GetBatches(s, o); });
    CLI::App* projects = Add(get, "projects", "get projects --migration 7 --state FAILED,NEEDS_OPERATOR",
                             "List the projects of a migration.", [&o](Session& s) { return GetProjects(s, o); });
    Add(get, "workers", "get workers", "List the workers.", [](Session& s) { return GetWorkers(s); });
    CLI::App* events = Add(get, "events", "get events --project acme-17", "List what happened, oldest first.",
                           [&o](Session& s) { return GetEvents(s, o); });
    for (CLI::App* command : {batches, projects, events}) {
      AddMigrationOption(command, o.migration);
    }
    for (CLI::App* command : {migrations, batches, projects, events}) {
      AddLimit(command);
    }
    AddProjectOption(projects, o.project);
    AddProjectOption(events, o.project);
    projects->add_option("--state", o.states, "Only these states, separated by commas")->option_text("STATE,…");

    CLI::App* describe =
        Add(&app_, "describe", "describe project acme-17", "Show one migration or project in full.", nullptr);
    AddMigrationArgument(Add(describe, "migration", "describe migration 7", "Show one migration.",
                             [&o](Session& s) { return DescribeMigration(s, o.migration); }),
                         o.migration);
    AddProjectPath(Add(describe, "project", "describe project 7 acme-17",
                       "Show one project with its attempts and results.",
                       [this](Session& s) { return DescribeProject(s, PathMigration(), PathRef()); }));
    AddMigrationArgument(Add(&app_, "watch", "watch 7", "Follow a migration to its end; progress on stdout.",
                             [&o](Session& s) { return Watch(s, o.migration); }),
                         o.migration);
    AddMigrationArgument(
        Add(&app_, "wait", "wait 7 --timeout 30m", "Wait for the end of a migration; the outcome on stdout.",
            [&o](Session& s) { return Wait(s, o.migration); }),
        o.migration);
  }

  void AddSubmitting() {
    SubmitOptions& o = values_.submit;
    CLI::App* submit = Add(&app_, "submit", "submit plan.yaml --projects tenants.csv --wait", "Start a migration.",
                           [&o](Session& s) { return Submit(s, o); });
    submit->add_option("PLAN", o.plan, "Plan, a YAML file")->required();
    submit->add_option("--projects", o.projects, "CSV file with the projects")->option_text("FILE.csv");
    submit->add_flag("--all", o.all, "Every project that the plan's registry names");
    submit->add_option("--batch-size", o.batch_size, "Most projects in one batch, instead of the plan's")
        ->option_text("N")
        ->check(Between(1, kMaxBatchSize));
    CLI::Option* dry = submit->add_flag("--dry-run", o.dry_run, "Show what every phase would do; change nothing");
    submit->add_flag("--wait", o.wait, "Follow it to its end")->excludes(dry);
    submit->add_flag("--yes,--force", o.yes, "Do not ask");
    submit->add_flag("--skip-backup", o.skip_backup,
                     "Take no backup; only for plans that change a database in place");
    submit->add_flag("--skip-pre-validation", o.skip_pre_validation, "Checks before a project moves only warn");
    submit->add_flag("--skip-post-validation", o.skip_post_validation, "Checks after a project's cutover only warn");
    submit->add_flag("--no-rollback", o.no_rollback, "Leave a project that failed as it is");
    submit->add_option("--retry-attempts", o.retry_attempts, "Attempts of a project, instead of the plan's")
        ->option_text("N")
        ->check(Between(1, kMaxAttempts));
    submit->add_option("--request-id", o.request_id, "Makes a repeated submission find the first one")
        ->option_text("UUID");

    CLI::App* plan = Add(&app_, "plan", "plan validate plan.yaml", "Check plans.", nullptr);
    Add(plan, "validate", "plan validate plan.yaml", "Check a plan; every problem is reported.",
        [this](Session& s) { return ValidatePlanFile(s, values_.file); })
        ->add_option("FILE", values_.file, "Plan, a YAML file")
        ->required();
  }

  void AddWhichProjects(CLI::App* command, InspectOptions& o) {
    CLI::Option* all = command->add_flag("--all", o.all, "All of the registry, or of the migration (the default)");
    command->add_option("--projects", o.projects, "CSV file, or refs separated by commas")
        ->option_text("LIST")
        ->excludes(all);
  }

  void AddInspecting() {
    AddBefore();
    AddValidate();
    ReportOptions& r = values_.report;
    CLI::App* report = Add(&app_, "report", "report 7 --format html --out report.html",
                           "Write what a migration came to.", [&r](Session& s) { return WriteReport(s, r); });
    AddMigrationArgument(report, r.migration);
    report->add_option("--format", r.format, "html, json, csv or md (md)")
        ->option_text("FORMAT")
        ->check(CLI::IsMember({"html", "json", "csv", "md"}));
    report->add_option("--out", r.out, "File, instead of stdout")->option_text("FILE");
  }

  void AddBefore() {
    InspectOptions& o = values_.inspect;
    DiscoverOptions& d = values_.discover;
    CLI::App* discover =
        Add(&app_, "discover", "discover plan.yaml -o csv > projects.csv",
            "List the projects that the plan's registry offers.", [&d](Session& s) { return Discover(s, d); });
    discover->add_option("PLAN", d.plan, "Plan, a YAML file")->required();
    discover->add_flag("--detailed", d.detailed, "Measure each, and judge how risky it is to move");
    CLI::App* check =
        Add(&app_, "check", "check plan.yaml --projects acme-17,acme-18",
            "Show whether projects could be migrated now; change nothing.", [&o](Session& s) { return Check(s, o); });
    check->add_option("--save-report", o.save_report, "Write every check of every project there, .json or text")
        ->option_text("FILE");
    CLI::App* estimate = Add(&app_, "estimate", "estimate plan.yaml -o wide", "Measure what a migration would need.",
                             [&o](Session& s) { return Estimate(s, o); });
    for (CLI::App* command : {check, estimate}) {
      command->add_option("PLAN", o.plan, "Plan, a YAML file")->required();
      AddWhichProjects(command, o);
    }
  }

  void AddValidate() {
    ValidateOptions& o = values_.validate;
    CLI::App* validate = Add(&app_, "validate", "validate 7 --comprehensive",
                             "Check projects before, or after they were migrated; change nothing.",
                             [&o](Session& s) { return Validate(s, o); });
    validate->add_option("TARGET", o.target, "Migration, \"latest\", or plan, a YAML file")->required();
    AddWhichProjects(validate, o);
    validate->add_flag("--pre", o.pre, "The checks of PRE_VALIDATION; of a migration, what they found then");
    validate->add_flag("--post", o.post, "The checks of POST_VALIDATION");
    validate->add_flag("--integrity", o.integrity, "The plan's integrity checks and links");
    validate->add_flag("--comprehensive", o.comprehensive,
                       "All of these, what was written since, and that no row of shared tables was lost or doubled");
    validate->add_flag("--show-details", o.show_details, "Every check of every project on a line of its own");
  }

  CLI::App* AddSteer(const std::string& name,
                     const std::string& example,
                     const std::string& summary,
                     int (*function)(Session&, const SteerOptions&)) {
    SteerOptions& o = values_.steer;
    CLI::App* command = Add(&app_, name, example, summary, [&o, function](Session& s) { return function(s, o); });
    AddMigrationArgument(command, o.migration);
    command->add_option("--reason", o.reason, "Goes into the event log")->option_text("TEXT");
    return command;
  }

  void AddSteering() {
    SteerOptions& o = values_.steer;
    AddSteer("pause", "pause 7 --reason \"maintenance\"", "Begin nothing new; what runs is finished.", Pause);
    AddSteer("resume", "resume 7", "Let a paused migration go on.", Resume);
    AddSteer("cancel", "cancel 7 --reason \"wrong plan\"", "End a migration; what was begun is undone.", Cancel);
    CLI::App* retry = AddSteer("retry", "retry 7 --failed", "Try ended projects again.", Retry);
    CLI::Option* failed =
        retry->add_flag("--failed", o.failed, "All that failed, were rolled back or need an operator");
    retry->add_option("--project", o.project, "One project by its ref")->option_text("REF")->excludes(failed);
    CLI::App* rollback =
        AddSteer("rollback", "rollback 7 --project acme-17", "Undo a migration or one project of it.", Rollback);
    AddProjectOption(rollback, o.project);
    rollback->add_flag("--discard-writes", o.discard_writes, "Rows written after the cutover may be lost");
    CLI::Option* dry = rollback->add_flag("--dry-run", o.dry_run, "Show what would be undone; change nothing");
    rollback->add_flag("--wait", o.wait, "Follow it to its end and show what its verification proved")->excludes(dry);
    rollback->add_flag("--cleanup", o.cleanup, "Then remove the backups as well; waits")->excludes(dry);
    rollback->add_option("--to-backup", o.to_backup, "Then restore the rows of this backup in place; waits")
        ->option_text("BACKUP_ID")
        ->excludes(dry);
    rollback->add_flag("--emergency", o.emergency, "Now, whatever was written since: --discard-writes --yes --wait")
        ->excludes(dry);
    rollback->add_flag("--yes", o.yes, "Do not ask");
  }

  void AddChange(CLI::App* credentials,
                 const std::string& name,
                 const std::string& example,
                 const std::string& summary,
                 int (*function)(Session&, const ChangeCredentialsOptions&)) {
    ChangeCredentialsOptions& o = values_.change;
    CLI::App* command =
        Add(credentials, name, example, summary, [&o, function](Session& s) { return function(s, o); });
    AddMigrationOption(command, o.migration);
    CLI::Option* all = command->add_flag("--all", o.all, "Every project of the migration that ended well");
    command->add_option("--projects", o.projects, "Refs separated by commas")->option_text("REF,…")->excludes(all);
    command->add_option("--reason", o.reason, "Goes into the event log")->option_text("TEXT");
    command->add_flag("--wait", o.wait, "Follow it to its end");
    command->add_flag("--yes", o.yes, "Do not ask");
    command->add_option("--request-id", o.request_id, "Makes a repeated request find the first one")
        ->option_text("UUID");
  }

  void AddRest() {
    CLI::App* credentials = Add(&app_, "credentials", "credentials keygen --out operator.key",
                                "Make keys; reveal, rotate and revoke passwords.", nullptr);
    Add(credentials, "keygen", "credentials keygen --out operator.key",
        "Make the key pair that passwords are sealed to.", [this](Session& s) { return Keygen(s, values_.file); })
        ->add_option("--out", values_.file, "File of the private key; FILE.pub gets the public one")
        ->option_text("FILE")
        ->required();
    CLI::App* reveal = Add(credentials, "reveal", "credentials reveal 7 acme-17 --key operator.key",
                           "Show the login that the cutover delivered.",
                           [this](Session& s) { return Reveal(s, PathMigration(), PathRef(), values_.file); });
    AddProjectPath(reveal);
    reveal->add_option("--key", values_.file, "File of the private key")->option_text("FILE")->required();
    AddChange(credentials, "rotate",
              "credentials rotate --migration 7 --projects acme-17 --reason leaked --wait --yes",
              "Give logins that a migration made new passwords; the old ones are refused once the new ones work.",
              RotateCredentials);
    AddChange(
        credentials, "revoke", "credentials revoke --migration 7 --projects acme-17 --wait --yes",
        "Take such logins away and end their sessions; `credentials rotate` gives them back with a new password.",
        RevokeCredentials);

    GetOptions& o = values_.get;
    CLI::App* backup =
        Add(&app_, "backup", "backup list", "Take, list, verify, export, restore and prune backups.", nullptr);
    AddBackupMaking(backup);
    AddBackupRemoving(backup);
    CLI::App* list = Add(backup, "list", "backup list --migration 7", "List backups.",
                         [&o](Session& s) { return BackupList(s, o.migration, o.project); });
    AddMigrationOption(list, o.migration);
    AddProjectOption(list, o.project);
    CLI::App* verify = Add(backup, "verify", "backup verify acme-17/42",
                           "Read a whole backup on a worker and compare it with its manifest.",
                           [this](Session& s) { return BackupVerify(s, values_.backup_id, values_.verify_content); });
    verify->add_option("BACKUP_ID", values_.backup_id, "As `backup list` shows it")->required();
    verify->add_flag("--content", values_.verify_content, "Fail where an encrypted backup cannot be opened");

    Add(&app_, "help", "help exit-codes", "Show help on a command, or the exit codes.", [this](Session& s) {
      return Help(s);
    })->add_option("TOPIC", values_.topic, "exit-codes, or a command");
  }

  void AddBackupMaking(CLI::App* backup) {
    BackupCreateOptions& c = values_.backup_create;
    CLI::App* create = Add(backup, "create", "backup create plan.yaml --projects tenants.csv --full --wait",
                           "Back projects up and change nothing.", [&c](Session& s) { return BackupCreate(s, c); });
    create->add_option("PLAN", c.submit.plan, "Plan, a YAML file")->required();
    create->add_option("--projects", c.submit.projects, "CSV file with the projects")->option_text("FILE.csv");
    create->add_flag("--all", c.submit.all, "Every project that the plan's registry names");
    CLI::Option* full = create->add_flag("--full", c.full, "Definitions and rows (the default)");
    CLI::Option* schema = create->add_flag("--schema", c.schema_only, "Definitions only")->excludes(full);
    create->add_flag("--data", c.data_only, "Rows only")->excludes(full)->excludes(schema);
    create->add_flag("--freeze", c.freeze, "Stop each project's writes meanwhile, as the plan says");
    create->add_flag("--wait", c.submit.wait, "Follow it to its end");
    create->add_option("--request-id", c.submit.request_id, "Makes a repeated submission find the first one")
        ->option_text("UUID");

    BackupOptions& o = values_.backup;
    AddBackupId(Add(backup, "show", "backup show acme-17/42", "Show what a backup holds.",
                    [&o](Session& s) { return BackupShow(s, o.id); }));
    CLI::App* exporting =
        Add(backup, "export", "backup export acme-17/42 --format json --out /var/exports",
            "Write a backup as JSON files on a worker.", [&o](Session& s) { return BackupExport(s, o); });
    AddBackupId(exporting);
    exporting->add_option("--format", o.format, "json")->option_text("FORMAT")->check(CLI::IsMember({"json"}));
    exporting->add_option("--out", o.out, "Folder that gets the backup's own; on the worker's machine")
        ->option_text("DIR")
        ->required();
    CLI::App* restore =
        Add(backup, "restore", "backup restore acme-17/42 --plan plan.yaml --database acme_check --wait",
            "Load a backup into a new database, or its rows into the tables of a plan that works in place.",
            [&o](Session& s) { return BackupRestore(s, o); });
    AddBackupId(restore);
    restore->add_option("--plan", o.plan, "Plan, whose target server gets the database")
        ->option_text("PLAN")
        ->required();
    restore->add_option("--database", o.database, "Its name; it must not exist. Not for a plan that works in place")
        ->option_text("NAME");
    restore->add_option("--user", o.user, "Its owner, a new role; named like the database if not given")
        ->option_text("NAME");
    restore->add_flag("--yes", o.yes, "Do not ask");
    restore->add_flag("--wait", o.wait, "Follow it to its end");
  }

  void AddBackupRemoving(CLI::App* backup) {
    BackupOptions& o = values_.backup;
    CLI::App* prune =
        Add(backup, "prune", "backup prune --older-than 30d --dry-run", "Remove backups that nobody needs any more.",
            [&o](Session& s) { return BackupPrune(s, o); });
    prune->add_option("ID", o.migration, "Migration; \"latest\"; all that have ended if not given");
    AddProjectOption(prune, o.project);
    prune->add_option("--older-than", o.older_than, "Age in days, instead of the plan's retention; 0d: any")
        ->option_text("DURATION");
    prune->add_flag("--dry-run", o.dry_run, "Show what would be removed");
    prune->add_flag("--force", o.force, "Also the last one of a migrated project, and those of failed ones");
  }

  void AddBackupId(CLI::App* command) {
    command->add_option("BACKUP_ID", values_.backup.id, "As `backup list` shows it")->required();
  }

  void AddUpkeep() {
    CLI::App* audit = Add(&app_, "audit", "audit verify", "Prove that the event log is as it was written.", nullptr);
    Add(audit, "verify", "audit verify --head 5f1d…", "Name the first event that was altered, removed or moved.",
        [this](Session& s) { return AuditVerify(s, values_.known_head); })
        ->add_option("--head", values_.known_head,
                     "A head that this command gave earlier: the log must still hold it")
        ->option_text("DIGEST");
    CLI::App* orphans =
        Add(&app_, "orphans", "orphans list plan.yaml", "What dead attempts left on a plan's servers.", nullptr);
    CLI::App* list = Add(orphans, "list", "orphans list plan.yaml", "Show it; change nothing.",
                         [this](Session& s) { return Orphans(s, values_.file, /*clean=*/false); });
    CLI::App* clean = Add(orphans, "clean", "orphans clean plan.yaml", "Remove what is certainly nobody's.",
                          [this](Session& s) { return Orphans(s, values_.file, /*clean=*/true); });
    for (CLI::App* command : {list, clean}) {
      command->add_option("PLAN", values_.file, "Plan, a YAML file")->required();
    }
    CLI::App* changes =
        Add(&app_, "changes", "changes 7 --project acme-17", "Show the rows that a migration has changed in place.",
            [this](Session& s) { return Changes(s, values_.steer.migration, values_.one_project); });
    AddMigrationArgument(changes, values_.steer.migration);
    changes->add_option("--project", values_.one_project, "One project by its ref")->option_text("REF")->required();
    CLI::App* repair =
        Add(&app_, "repair", "repair 7 --project acme-17 --mend",
            "Compare a project's registry row, role and database with what its migration left.",
            [this](Session& s) { return Repair(s, values_.steer.migration, values_.one_project, values_.mend); });
    AddMigrationArgument(repair, values_.steer.migration);
    repair->add_option("--project", values_.one_project, "One project by its ref")->option_text("REF")->required();
    repair->add_flag("--mend", values_.mend, "Put right what can be put right without a loss");
  }

  void AddCerts() {
    CertsOptions& o = values_.certs;
    CLI::App* certs = Add(&app_, "certs", "certs init certs --host coordinator.example",
                          "Make certificates for coordinator, workers and people.", nullptr);
    CLI::App* init =
        Add(certs, "init", "certs init certs --host coordinator.example",
            "Make an authority, and a certificate of each role.", [&o](Session& s) { return CertsInit(s, o); });
    CLI::App* issue = Add(certs, "issue", "certs issue certs operator alice",
                          "Make one more certificate, or renew one.", [&o](Session& s) { return CertsIssue(s, o); });
    for (CLI::App* command : {init, issue}) {
      command->add_option("DIR", o.dir, "Folder of the authority")->required();
      command->add_option("--host", o.hosts, "Name or address of the coordinator; may be repeated")
          ->option_text("NAME");
      command->add_option("--days", o.days, "How long they are valid (365)")
          ->option_text("N")
          ->check(CLI::Range(1, kMaxCertificateDays));
    }
    init->add_option("--trust-domain", o.trust_domain, "Which installation they are for (pgconvoy)")
        ->option_text("NAME");
    issue->add_option("ROLE", o.role, "coordinator, worker, operator or viewer")->required();
    issue->add_option("NAME", o.name, "Whose it is; files are named like that")->required();
    issue->add_flag("--renew", o.renew, "Replace the one with this name");
  }

  void AddLocal() {
    LocalOptions& o = values_.local;
    CLI::App* local = Add(&app_, "local", "local up --workers 4 --detach",
                          "Run a coordinator and workers on this machine.", nullptr);
    CLI::App* up = Add(local, "up", "local up --workers 4 --slots 8 --detach", "Start them.",
                       [&o](Session& s) { return LocalUp(s, o); });
    up->add_option("--workers", o.workers, "Worker processes, 1 to 64 (2)")
        ->option_text("N")
        ->check(Between(1, kMaxWorkers));
    up->add_option("--slots", o.slots, "Projects at once per worker, 1 to 256 (4)")
        ->option_text("N")
        ->check(Between(1, kMaxSlots));
    up->add_option("--listen", o.listen, "Where the coordinator listens (127.0.0.1:7070); port 0: any")
        ->option_text("ADDR");
    up->add_flag("--detach", o.detach, "Return once everything is connected");
    CLI::App* down = Add(local, "down", "local down", "Stop them.", [&o](Session& s) { return LocalDown(s, o.dir); });
    CLI::App* status = Add(local, "status", "local status -o json", "Show what runs.",
                           [&o](Session& s) { return LocalStatus(s, o.dir); });
    for (CLI::App* command : {up, down, status}) {
      command->add_option("--dir", o.dir, "Folder of store, logs and state (~/.local/state/pgconvoy)")
          ->option_text("DIR");
    }
  }

  std::string PathMigration() const { return values_.project_path.size() == 2 ? values_.project_path[0] : ""; }
  const std::string& PathRef() const { return values_.project_path.back(); }

  // The innermost command that was named.
  const CLI::App* Active() const {
    const CLI::App* active = &app_;
    while (!active->get_subcommands().empty()) {
      active = active->get_subcommands().front();
    }
    return active;
  }

  // An empty value is most likely a variable that a script never set. To go on without it could hit everything where
  // one project was meant.
  static void RefuseEmptyValues(const CLI::App* app) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& value : option->results()) {
        if (value.empty()) {
          throw CLI::ValidationError(option->get_name(), "the value is empty");
        }
      }
    }
    for (const CLI::App* command : app->get_subcommands()) {
      RefuseEmptyValues(command);
    }
  }

  int Dispatch() {
    values_.global.takes_csv = Active()->get_name() == "discover";
    const auto session = Session::Create(values_.global);
    if (!session.ok()) {
      Say("error " + pgconvoy::Describe(session.status()));
      return kUsage;
    }
    return actions_.at(Active())(**session);
  }

  int Help(Session& session) {
    if (values_.topic == "exit-codes") {
      Out(ExitCodeTable());
      return kOk;
    }
    if (values_.topic.empty()) {
      // app_.help() would show the help of `help`.
      Out(app_.get_formatter()->make_help(&app_, app_.get_name(), CLI::AppFormatMode::Normal));
      return kOk;
    }
    for (const CLI::App* command : std::as_const(app_).get_subcommands({})) {
      if (command->get_name() == values_.topic) {
        Out(command->help(app_.get_name()));
        return kOk;
      }
    }
    return FailUsage(session, "no help on \"" + Printable(values_.topic) + "\"", Suggest(&app_, values_.topic));
  }

  // The usage text of a command with its parents.
  static std::string PathOf(const CLI::App* app) {
    return app->get_parent() == nullptr ? app->get_name() : PathOf(app->get_parent()) + " " + app->get_name();
  }

  static void CollectOptions(const CLI::App* app, std::vector<std::string>& names) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        names.push_back("--" + name);
      }
    }
    if (app->get_parent() != nullptr) {
      CollectOptions(app->get_parent(), names);
    }
  }

  // "did you mean …?", or what there is.
  static std::string Suggest(const CLI::App* app, const std::string& word) {
    std::vector<std::string> known;
    if (word.starts_with("-")) {
      CollectOptions(app, known);
    } else {
      for (const CLI::App* sub : app->get_subcommands({})) {
        known.push_back(sub->get_name());
      }
    }
    const auto nearest = Nearest(word.substr(0, word.find('=')), known);
    if (nearest) {
      return "did you mean \"" + *nearest + "\"?";
    }
    return word.starts_with("-") || known.empty() ? "" : "known: " + Join(known, ", ");
  }

  int UsageError(const CLI::ParseError& error) const {
    const CLI::App* active = Active();
    std::string what = error.what();
    std::string remedy;
    std::vector<std::string> unknown = app_.remaining(true);
    // A value behind an unknown option is not what is wrong.
    std::stable_partition(unknown.begin(), unknown.end(),
                          [](const std::string& word) { return word.starts_with("-"); });
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !unknown.empty()) {
      what = "unknown argument \"" + unknown.front() + "\"";
      remedy = Suggest(active, unknown.front());
    } else if (active->get_require_subcommand_min() > 0 && active->get_subcommands().empty()) {
      const auto word = std::find_if(unknown.begin(), unknown.end(),
                                     [](const std::string& text) { return !text.starts_with("-"); });
      const bool named = word != unknown.end();
      what = named ? "unknown command \"" + *word + "\"" : "a command is missing";
      remedy = Suggest(active, named ? *word : "");
    }
    Say(Printable("error PGC-CLI-USAGE: " + what + (remedy.empty() ? "" : "; " + remedy)));
    Say("next: " + PathOf(active) + " --help");
    return kUsage;
  }

  CLI::App app_;
  Values values_;
  std::map<const CLI::App*, Action> actions_;
};

}  // namespace

int Main(int argc, char** argv) {
  rpc::PrepareProcess();
  InitCrypto();
  const int code = CommandLine().Run(argc, argv);
  // A full disk shows only now.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    Say("error PGC-CLI-OUTPUT: the output could not be written completely");
    return code == kOk ? kFailure : code;
  }
  return code;
}

}  // namespace pgconvoy::cli
