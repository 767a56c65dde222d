// libpq itself is the judge: what is accepted it can parse too, and nothing in it is ours to decide.
#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "common/plan/conninfo.h"
#include "common/plan/secret_ref.h"
#include "tests/fuzz/fuzz.h"

namespace {

using pgconvoy::fuzz::Require;

constexpr std::array<std::string_view, 10> kForbidden = {
    "user",    "password",    "dbname",      "options",          "passfile",
    "service", "sslpassword", "replication", "application_name", "client_encoding"};

void CheckWithLibpq(const std::string& conninfo) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  // A keyword that this libpq is too old for.
  if (conninfo.find("load_balance_hosts") != std::string::npos) {
    return;
  }
  Require(options != nullptr, "libpq parses what is accepted");
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const bool forbidden = std::find(kForbidden.begin(), kForbidden.end(), option->keyword) != kForbidden.end();
    Require(!forbidden || option->val == nullptr, "an accepted conninfo sets nothing that is ours");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string conninfo(pgconvoy::fuzz::Text(data, size));
  if (pgconvoy::plan::CheckConninfo(conninfo).ok()) {
    Require(conninfo.find('\0') == std::string::npos, "an accepted conninfo has no NUL");
    CheckWithLibpq(conninfo);
  }
  return 0;
}
