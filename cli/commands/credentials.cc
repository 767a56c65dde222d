#include <filesystem>

#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/files.h"
#include "cli/commands/json.h"
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

}  // namespace

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
