#include "common/plan/secret_ref.h"

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <string>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/input_file.h"

namespace pgconvoy::plan {
namespace {

struct SecretRef {
  bool is_file = false;
  std::string name;
};

bool IsVariableName(std::string_view name) {
  const auto is_word = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(), is_word);
}

std::optional<SecretRef> Parse(std::string_view text) {
  if (!text.starts_with("${") || !text.ends_with("}")) {
    return std::nullopt;
  }
  const std::string_view inside = text.substr(2, text.size() - 3);
  if (inside.starts_with("env:") && IsVariableName(inside.substr(4))) {
    return SecretRef{false, std::string(inside.substr(4))};
  }
  const bool has_path = inside.starts_with("file:") && inside.size() > 5;
  if (has_path && inside.find_first_of("{}") == std::string_view::npos && IsUtf8(inside)) {
    return SecretRef{true, std::string(inside.substr(5))};
  }
  return std::nullopt;
}

absl::Status Failure(std::string_view code, std::string_view ref, std::string_view what, std::string_view remedy) {
  return InputError(code, Printable(ref) + " " + std::string(what), remedy);
}

absl::StatusOr<std::string> ReadVariable(std::string_view ref, const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  if (value == nullptr) {
    return Failure("PGC-SECRET-MISSING", ref, "is not set", "set the variable where this process is started");
  }
  return std::string(value);
}

absl::StatusOr<std::string> ReadSecretFile(std::string_view ref, const std::string& path, bool is_public) {
  auto file = ReadInputFile(path, kMaxSecretBytes);
  if (!file.ok()) {
    const bool too_large = file.status().code() == absl::StatusCode::kResourceExhausted;
    return Failure(too_large ? "PGC-SECRET-BAD" : "PGC-SECRET-MISSING", ref, MessageOf(file.status()), "");
  }
  if (!is_public && (file->mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0) {
    sodium_memzero(file->content.data(), file->content.size());
    return Failure("PGC-SECRET-MODE", ref, "may be read or written by group or others", "chmod 600 the file");
  }
  if (file->content.ends_with('\n')) {
    file->content.pop_back();
  }
  return std::move(file->content);
}

}  // namespace

bool IsSecretRef(std::string_view text) { return Parse(text).has_value(); }

absl::StatusOr<Secret> ResolveSecret(std::string_view text, bool allow_literal) {
  const std::optional<SecretRef> ref = Parse(text);
  if (!ref.has_value()) {
    if (allow_literal) {
      return Secret(std::string(text));
    }
    return InputError("PGC-SECRET-LITERAL", "a secret is given as plain text",
                      "write ${env:NAME} or ${file:PATH} instead");
  }
  auto value = ref->is_file ? ReadSecretFile(text, ref->name, allow_literal) : ReadVariable(text, ref->name);
  PGC_RETURN_IF_ERROR(value.status());
  Secret secret(*std::move(value));
  if (secret.empty()) {
    return Failure("PGC-SECRET-EMPTY", text, "is empty", "");
  }
  if (!IsUtf8(secret.Reveal())) {
    return Failure("PGC-SECRET-BAD", text, "holds a NUL or is not valid UTF-8", "");
  }
  return secret;
}

}  // namespace pgconvoy::plan
