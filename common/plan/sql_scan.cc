#include "common/plan/sql_scan.h"

namespace pgconvoy::plan {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

bool IsSqlWordByte(char c) {
  return IsLetter(c) || (c >= '0' && c <= '9') || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

SqlPiece SqlScanner::Take(SqlSpan span, size_t bytes) {
  const SqlPiece piece{span, text_.substr(position_, bytes)};
  position_ += piece.text.size();
  return piece;
}

void SqlScanner::Skip(size_t bytes) { Take(SqlSpan::kCode, bytes); }

SqlPiece SqlScanner::TakeUntil(SqlSpan span, size_t opening, std::string_view closing) {
  const size_t end = text_.find(closing, position_ + opening);
  if (end == std::string_view::npos) {
    return Take(SqlSpan::kUnterminated, text_.size() - position_);
  }
  return Take(span, end + closing.size() - position_);
}

SqlPiece SqlScanner::TakeQuoted(SqlSpan span, char quote, bool backslash_escapes) {
  for (size_t i = position_ + 1; i < text_.size(); ++i) {
    if (backslash_escapes && text_[i] == '\\') {
      ++i;
    } else if (text_[i] == quote) {
      if (i + 1 < text_.size() && text_[i + 1] == quote) {
        ++i;
      } else {
        return Take(span, i + 1 - position_);
      }
    }
  }
  return Take(SqlSpan::kUnterminated, text_.size() - position_);
}

SqlPiece SqlScanner::TakeBlockComment() {
  int depth = 0;  // block comments nest
  for (size_t i = position_; i + 1 < text_.size(); ++i) {
    if (text_[i] == '/' && text_[i + 1] == '*') {
      ++depth;
      ++i;
    } else if (text_[i] == '*' && text_[i + 1] == '/') {
      --depth;
      ++i;
      if (depth == 0) {
        return Take(SqlSpan::kBlank, i + 1 - position_);
      }
    }
  }
  return Take(SqlSpan::kUnterminated, text_.size() - position_);
}

SqlPiece SqlScanner::TakeLineComment() {
  const size_t end = text_.find_first_of("\r\n", position_);
  return Take(SqlSpan::kBlank, end == std::string_view::npos ? end : end - position_);
}

bool SqlScanner::BackslashEscapes() const {
  if (position_ == 0 || (text_[position_ - 1] != 'E' && text_[position_ - 1] != 'e')) {
    return false;
  }
  return position_ == 1 || !IsSqlWordByte(text_[position_ - 2]);
}

size_t SqlScanner::DollarTag() const {
  if (position_ > 0 && IsSqlWordByte(text_[position_ - 1])) {
    return 0;
  }
  for (size_t i = position_ + 1; i < text_.size(); ++i) {
    if (text_[i] == '$') {
      return i + 1 - position_;
    }
    const bool digit_first = i == position_ + 1 && text_[i] >= '0' && text_[i] <= '9';
    if (!IsSqlWordByte(text_[i]) || digit_first) {
      return 0;
    }
  }
  return 0;
}

SqlPiece SqlScanner::Next() {
  const char c = text_[position_];
  const std::string_view two = text_.substr(position_, 2);
  if (IsSpace(c)) {
    return Take(SqlSpan::kBlank, 1);
  }
  if (two == "--") {
    return TakeLineComment();
  }
  if (two == "/*") {
    return TakeBlockComment();
  }
  if (c == '\'') {
    return TakeQuoted(SqlSpan::kString, c, BackslashEscapes());
  }
  if (c == '"') {
    return TakeQuoted(SqlSpan::kIdentifier, c, false);
  }
  if (const size_t tag = c == '$' ? DollarTag() : 0; tag > 0) {
    return TakeUntil(SqlSpan::kString, tag, text_.substr(position_, tag));
  }
  return Take(SqlSpan::kCode, 1);
}

}  // namespace pgconvoy::plan
