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

std::string TextArray(const std::vector<std::string>& values) {
  std::string out = "{";
  for (const std::string& value : values) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        out += '\\';
      }
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

std::vector<std::string> SplitName(std::string_view name) {
  std::vector<std::string> parts(1);
  bool quoted = false;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool doubled = quoted && name.substr(i, 2) == "\"\"";
    if (name[i] == '"' && !doubled) {
      quoted = !quoted;
    } else if (name[i] == '.' && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += name[i];
      i += doubled ? 1 : 0;
    }
  }
  return parts;
}

TableName SplitTable(std::string_view name) {
  const std::vector<std::string> parts = SplitName(name);
  return parts.size() == 1 ? TableName{"public", parts[0]} : TableName{parts[0], parts[1]};
}

}  // namespace pgconvoy::worker
