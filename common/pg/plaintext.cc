#include "common/pg/plaintext.h"

#include <libpq-fe.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/address.h"
#include "common/pg/connection.h"

namespace pgconvoy::pg {
namespace {

std::atomic<bool> allowed = false;

std::map<std::string, std::string> KeywordsOf(const std::string& conninfo) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  std::map<std::string, std::string> keywords;
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option) {
    if (option->val != nullptr) {
      keywords[option->keyword] = option->val;
    }
  }
  return keywords;
}

std::vector<std::string> SplitList(const std::string& list) {
  std::vector<std::string> items;
  for (size_t from = 0; from <= list.size();) {
    const size_t end = std::min(list.find(',', from), list.size());
    items.push_back(list.substr(from, end - from));
    from = end + 1;
  }
  return items;
}

// A host as libpq has it: a socket's folder or abstract name, or "" for the usual one, are local.
bool IsLocalHost(std::string_view host) {
  return host.empty() || host.starts_with('/') || host.starts_with('@') || IsLoopbackHost(host);
}

// Where there is an address, the name beside it is not looked up.
bool IsAllLocal(const std::string& host, const std::string& hostaddr) {
  const std::vector<std::string> names = SplitList(host);
  const std::vector<std::string> addresses = SplitList(hostaddr);
  for (size_t i = 0; i < std::max(names.size(), addresses.size()); ++i) {
    const bool by_address = i < addresses.size() && !addresses[i].empty();
    if (!IsLocalHost(by_address ? addresses[i] : i < names.size() ? names[i] : "")) {
      return false;
    }
  }
  return true;
}

}  // namespace

void AllowPlaintext() { allowed = true; }

std::optional<std::string> ForbiddenPlaintext(const std::string& conninfo) {
  auto keywords = KeywordsOf(conninfo);
  const std::string& mode = keywords["sslmode"];
  const bool plaintext = mode == "disable" || mode == "allow" || mode == "prefer";
  if (allowed || !plaintext || keywords["gssencmode"] == "require" ||
      IsAllLocal(keywords["host"], keywords["hostaddr"])) {
    return std::nullopt;
  }
  return mode;
}

bool IsExposed(Connection& connection) {
  PGconn* const conn = connection.raw();
  if (PQsslInUse(conn) == 1 || PQgssEncInUse(conn) == 1) {
    return false;
  }
  // What a name stood for; a socket has no address.
  const std::string_view address = PQhostaddr(conn);
  return !IsLocalHost(address.empty() ? PQhost(conn) : address);
}

}  // namespace pgconvoy::pg
