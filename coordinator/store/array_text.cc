#include "coordinator/store/array_text.h"

namespace pgconvoy::store {

void ArrayText::Separate() {
  if (text_.size() > 1) {
    text_ += ',';
  }
}

void ArrayText::Add(int64_t value) {
  Separate();
  text_ += std::to_string(value);
}

void ArrayText::Add(bool value) {
  Separate();
  text_ += value ? 't' : 'f';
}

void ArrayText::Add(std::string_view value) {
  Separate();
  text_ += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text_ += '\\';
    }
    text_ += c;
  }
  text_ += '"';
}

void ArrayText::AddNull() {
  Separate();
  text_ += "NULL";
}

void ArrayText::AddOrNull(std::string_view value) {
  if (value.empty()) {
    AddNull();
  } else {
    Add(value);
  }
}

void ArrayText::AddOrNull(int64_t value) {
  if (value == 0) {
    AddNull();
  } else {
    Add(value);
  }
}

std::string ToArrayText(const std::vector<std::string>& values) {
  ArrayText array;
  for (const std::string& value : values) {
    array.Add(std::string_view(value));
  }
  return array.Finish();
}

std::string ToArrayText(const std::vector<int64_t>& values) {
  ArrayText array;
  for (const int64_t value : values) {
    array.Add(value);
  }
  return array.Finish();
}

std::vector<std::string> ParseArrayText(std::string_view literal) {
  std::vector<std::string> values;
  if (literal.size() <= 2) {
    return values;
  }
  std::string value;
  bool quoted = false;
  bool was_quoted = false;
  for (size_t i = 1; i < literal.size(); ++i) {
    const char c = literal[i];
    if (quoted && c == '\\') {
      value += literal[++i];
    } else if (c == '"') {
      quoted = !quoted;
      was_quoted = true;
    } else if (!quoted && (c == ',' || c == '}')) {
      values.push_back(!was_quoted && value == "NULL" ? "" : value);
      value.clear();
      was_quoted = false;
    } else {
      value += c;
    }
  }
  return values;
}

}  // namespace pgconvoy::store
