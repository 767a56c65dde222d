#include "worker/backup/json_row.h"

#include <array>
#include <cstdio>
#include <optional>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::backup {
namespace {

absl::Status BadRow(const std::string& why) {
  return MakeError(Verdict::kPermanent, "PGC-EXPORT-ROW", "a row cannot be exported: " + why);
}

// One field of COPY text; nothing for \N.
std::optional<std::string> Unescape(std::string_view field) {
  if (field == "\\N") {
    return std::nullopt;
  }
  std::string text;
  text.reserve(field.size());
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] != '\\' || i + 1 == field.size()) {
      text += field[i];
      continue;
    }
    switch (field[++i]) {
      case 'b': text += '\b'; break;
      case 'f': text += '\f'; break;
      case 'n': text += '\n'; break;
      case 'r': text += '\r'; break;
      case 't': text += '\t'; break;
      case 'v': text += '\v'; break;
      default: text += field[i];
    }
  }
  return text;
}

bool TakeDigits(std::string_view& text) {
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(end);
  return end > 0;
}

bool TakeAny(std::string_view& text, std::string_view of) {
  const bool there = !text.empty() && of.find(text[0]) != std::string_view::npos;
  text.remove_prefix(there ? 1 : 0);
  return there;
}

// RFC 8259, section 6.
bool IsJsonNumber(std::string_view text) {
  TakeAny(text, "-");
  if (!TakeAny(text, "0") && !TakeDigits(text)) {
    return false;
  }
  if (TakeAny(text, ".") && !TakeDigits(text)) {
    return false;
  }
  if (TakeAny(text, "eE")) {
    TakeAny(text, "+-");
    if (!TakeDigits(text)) {
      return false;
    }
  }
  return text.empty();
}

bool IsNumeric(std::string_view type) {
  for (const char* const numeric : {"smallint", "integer", "bigint", "real", "double precision", "numeric"}) {
    if (type == numeric) {
      return true;
    }
  }
  return false;
}

// "2026-01-02 03:04:05+00 BC" as "2026-01-02T03:04:05+00:00 BC"; the infinities have no blank.
std::string Timestamp(std::string text, bool with_zone) {
  const size_t blank = text.find(' ');
  if (blank == std::string::npos) {
    return text;
  }
  text[blank] = 'T';
  const size_t sign = text.find_first_of("+-", blank);
  if (with_zone && sign != std::string::npos) {
    const size_t end = std::min(text.find(' ', sign), text.size());
    if (end - sign == 3) {
      text.insert(end, ":00");
    }
  }
  return text;
}

void AppendValue(std::string_view type, const std::string& text, std::string& out);

// array_out's text form: {1,NULL,"a\"b",{2}}, perhaps with bounds before it.
class ArrayText {
 public:
  ArrayText(std::string_view text, std::string_view type)
      : left_(text), type_(type), delimiter_(type == "box" ? ';' : ',') {}

  // Nothing when it is no array.
  std::optional<std::string> ToJson() {
    if (!left_.empty() && left_[0] == '[') {
      left_.remove_prefix(std::min(left_.find('=') + 1, left_.size()));
    }
    const bool whole = Level(0) && left_.empty();
    return whole ? std::optional(out_) : std::nullopt;
  }

 private:
  // PostgreSQL's own limit.
  static constexpr int kMaxDimensions = 6;

  bool Take(char c) {
    const bool there = !left_.empty() && left_[0] == c;
    left_.remove_prefix(there ? 1 : 0);
    return there;
  }

  bool Level(int depth) {
    if (depth == kMaxDimensions || !Take('{')) {
      return false;
    }
    out_ += '[';
    if (Take('}')) {
      out_ += ']';
      return true;
    }
    do {
      out_ += out_.back() == '[' ? "" : ",";
      if (!Element(depth)) {
        return false;
      }
    } while (Take(delimiter_));
    out_ += ']';
    return Take('}');
  }

  bool Element(int depth) {
    if (!left_.empty() && left_[0] == '{') {
      return Level(depth + 1);
    }
    std::string text;
    const bool quoted = Take('"');
    while (!left_.empty() && (quoted ? left_[0] != '"' : left_[0] != delimiter_ && left_[0] != '}')) {
      left_.remove_prefix(left_[0] == '\\' && left_.size() > 1 ? 1 : 0);
      text += left_[0];
      left_.remove_prefix(1);
    }
    if (quoted && !Take('"')) {
      return false;
    }
    if (!quoted && text == "NULL") {
      out_ += "null";
    } else {
      AppendValue(type_, text, out_);
    }
    return true;
  }

  std::string_view left_;
  const std::string_view type_;
  const char delimiter_;
  std::string out_;
};

void AppendArray(std::string_view element, const std::string& text, std::string& out) {
  if (const auto json = ArrayText(text, element).ToJson()) {
    out += *json;
  } else {
    AppendJsonString(text, out);
  }
}

// A value that does not look like its type, as an expression of the plan may make one, is a string.
void AppendValue(std::string_view type, const std::string& text, std::string& out) {
  if (type.ends_with("[]")) {
    AppendArray(type.substr(0, type.size() - 2), text, out);
  } else if ((type == "json" || type == "jsonb" || IsNumeric(type)) && (!IsNumeric(type) || IsJsonNumber(text))) {
    out += text;
  } else if (type == "boolean" && (text == "t" || text == "f")) {
    out += text == "t" ? "true" : "false";
  } else if (type == "timestamp without time zone" || type == "timestamp with time zone") {
    AppendJsonString(Timestamp(text, type == "timestamp with time zone"), out);
  } else {
    AppendJsonString(text, out);
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          std::array<char, 8> escape{};
          std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
          out += escape.data();
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

absl::Status AppendJsonRow(const std::vector<std::string>& columns,
                           const std::vector<std::string>& types,
                           std::string_view row,
                           std::string& out) {
  if (!IsUtf8(row)) {
    return BadRow("its text is not UTF-8");
  }
  row.remove_suffix(row.ends_with('\n') ? 1 : 0);
  out += '{';
  for (size_t i = 0; i < columns.size(); ++i) {
    const size_t end = std::min(row.find('\t'), row.size());
    const bool last = i + 1 == columns.size();
    if (last != (end == row.size())) {
      return BadRow("it does not have " + std::to_string(columns.size()) + " fields");
    }
    out += i == 0 ? "" : ",";
    AppendJsonString(columns[i], out);
    out += ':';
    if (const auto text = Unescape(row.substr(0, end))) {
      AppendValue(types[i], *text, out);
    } else {
      out += "null";
    }
    row.remove_prefix(last ? end : end + 1);
  }
  out += '}';
  return absl::OkStatus();
}

}  // namespace pgconvoy::backup
