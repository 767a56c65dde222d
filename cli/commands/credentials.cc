#include <filesystem>
#include <string>

#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/files.h"
#include "cli/commands/follow.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/render/text.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/plan/secret_ref.h"

namespace pgconvoy::cli {
namespace {

constexpr mode_t kPrivateMode = 0600;
constexpr mode_t kPublicMode = 0644;

absl::Status WriteKeyPair(const KeyPair& pair, const std::string& file) {
  PGC_RETURN_IF_ERROR(WriteNewFile(file + ".pub", pair.public_key + "\n", kPublicMode));
  absl::Status status = WriteNewFile(file, pair.private_key.Reveal() + "\n", kPrivateMode);
  if (!status.ok()) {
    unlink((file + ".pub").c_str());
  }
  return status;
}

absl::StatusOr<Secret> LoadKey(const std::string& key_file) {
  std::error_code ignored;
  const std::string path = std::filesystem::absolute(key_file, ignored).string();
  return plan::ResolveSecret("${file:" + path + "}", false);
}

absl::StatusOr<Secret> OpenCredential(const v1::SealedCredential& sealed,
                                      const Secret& key,
                                      const std::string& key_file) {
  PGC_ASSIGN_OR_RETURN(const std::string public_key, PublicKeyOf(key));
  if (public_key != sealed.recipient()) {
    return InputError("PGC-KEY-OTHER", key_file + " is not the key that this password was sealed to",
                      "the password was sealed to the public key " + sealed.recipient());
  }
  return OpenSealed(key, sealed.sealed_password());
}

// What differs between rotate and revoke.
struct Change {
  v1::ChangeCredentialsRequest::Action action;
  const char* verb;
  // What it does to a login, and what the operator has to do then.
  const char* does;
  const char* next;
};

constexpr Change kRotate = {v1::ChangeCredentialsRequest::ROTATE, "rotate",
                            "gets a new password, and the present one is refused from then on (open sessions go on)",
                            "pgconvoy credentials reveal shows the new password of each project"};
constexpr Change kRevoke = {v1::ChangeCredentialsRequest::REVOKE, "revoke",
                            "may not log in any more, and its open sessions are ended",
                            "pgconvoy credentials rotate gives a login back, with a new password"};

std::string SameCommand(const Change& change, const ChangeCredentialsOptions& options, const std::string& id) {
  return std::string("pgconvoy credentials ") + change.verb + " --migration " + id +
         (options.all ? " --all" : " --projects " + options.projects) + (options.wait ? " --wait" : "") + " --yes";
}

// kOk when the operator agrees.
int ConfirmChange(Session& session,
                  const Change& change,
                  const ChangeCredentialsOptions& options,
                  const v1::Migration& migration) {
  const std::string which = options.all ? "every project that ended well" : "project " + options.projects;
  Say("this " + std::string(change.verb) + "s the login of " + Printable(which) + " of migration " + migration.id() +
      " (" + Printable(migration.name()) + "): it " + change.does);
  if (options.yes) {
    return kOk;
  }
  return Confirm(session, {.what = std::string("credentials ") + change.verb,
                           .next = SameCommand(change, options, migration.id())});
}

int ChangeCredentials(Session& session, const Change& change, const ChangeCredentialsOptions& options) {
  if (options.all == !options.projects.empty()) {
    return FailUsage(session, std::string("credentials ") + change.verb + " wants either --projects REF,… or --all",
                     "--all takes every project of the migration that ended well");
  }
  const auto origin = FindMigration(session, options.migration);
  if (!origin.ok()) {
    return Fail(session, origin.status());
  }
  if (const int code = ConfirmChange(session, change, options, *origin); code != kOk) {
    return code;
  }
  v1::ChangeCredentialsRequest request;
  request.set_request_id(options.request_id.empty() ? RandomUuid() : options.request_id);
  request.set_migration_id(origin->id());
  request.set_all(options.all);
  for (const std::string& ref : SplitList(options.projects)) {
    request.add_project_refs(ref);
  }
  request.set_action(change.action);
  request.set_reason(options.reason);
  request.set_actor(Actor());
  const auto begun = session.client().Call(request);
  if (!begun.ok()) {
    return Fail(session, begun.status());
  }
  const v1::Migration& migration = begun->migration();
  if (begun->existed()) {
    Say("this request id is known: it made migration " + migration.id());
  }
  if (options.wait) {
    Say("migration " + migration.id() + " with " + render::Count(migration.projects_total()) + " projects");
    const int code = Follow(session, migration, FollowMode::kWait);
    Say(std::string("next: ") + change.next);
    return code;
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*begun));
  } else if (session.format() == Format::kName) {
    Out(migration.id() + "\n");
  } else {
    Out("migration " + migration.id() + " (" + Printable(migration.name()) + ") with " +
        render::Count(migration.projects_total()) + " projects\n");
  }
  Say("next: pgconvoy watch " + migration.id() + "; " + change.next);
  return kOk;
}

}  // namespace

int RotateCredentials(Session& session, const ChangeCredentialsOptions& options) {
  return ChangeCredentials(session, kRotate, options);
}

int RevokeCredentials(Session& session, const ChangeCredentialsOptions& options) {
  return ChangeCredentials(session, kRevoke, options);
}

int Keygen(Session& session, const std::string& file) {
  const KeyPair pair = GenerateKeyPair();
  if (const absl::Status status = WriteKeyPair(pair, file); !status.ok()) {
    return Fail(session, status);
  }
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"public_key", pair.public_key},
                                             {"private_key_file", file},
                                             {"public_key_file", file + ".pub"}}));
  } else {
    Out(pair.public_key + "\n");
  }
  Say("private key: " + file + " (keep it offline; without it no password can be revealed)");
  Say("public key:  " + file + ".pub");
  Say("next: put the public key into the plan as credentials.recipient");
  return kOk;
}

int Reveal(Session& session, const std::string& name, const std::string& ref, const std::string& key_file) {
  const auto key = LoadKey(key_file);
  if (!key.ok()) {
    return Fail(session, key.status());
  }
  const auto migration = FindMigration(session, name);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::GetSealedCredentialRequest request;
  request.set_migration_id(migration->id());
  request.set_project_ref(ref);
  const auto sealed = session.client().Call(request);
  if (!sealed.ok()) {
    return Fail(session, sealed.status());
  }
  const auto password = OpenCredential(*sealed, *key, key_file);
  if (!password.ok()) {
    return Fail(session, password.status());
  }
  if (!sealed->delivered()) {
    Say("warning: the registry does not hold this credential; no cutover has delivered it");
  }
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"project_ref", sealed->project_ref()},
                                             {"user", sealed->user()},
                                             {"database", sealed->database()},
                                             {"password", password->Reveal()},
                                             {"delivered", sealed->delivered()}}));
    return kOk;
  }
  Out("user      " + Printable(sealed->user()) + "\n" + "database  " + Printable(sealed->database()) + "\n" +
      "password  ");
  Out(password->Reveal());
  Out("\n");
  return kOk;
}

}  // namespace pgconvoy::cli
