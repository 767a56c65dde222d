#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

std::string Enclose(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) {
      out.push_back(quote);
    }
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

}  // namespace

std::string Ident(std::string_view name) { return Enclose(name, '"'); }

std::string Literal(std::string_view value) { return Enclose(value, '\''); }

std::string Qualified(std::string_view schema, std::string_view name) { return Ident(schema) + "." + Ident(name); }

std::string IdentList(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    out += (out.empty() ? "" : ", ") + Ident(name);
  }
  return out;
}

TableName SplitTable(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) {
    return {"public", std::string(name)};
  }
  return {std::string(name.substr(0, dot)), std::string(name.substr(dot + 1))};
}

}  // namespace pgconvoy::worker
