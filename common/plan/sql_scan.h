// Where quotes and comments begin and end in SQL text, as PostgreSQL's lexer sees it (manual, section 4.1) with
// standard_conforming_strings on. Just enough of it to know whether a place in the text is code.
//
// Thread safety: a scanner belongs to one thread. Ownership: the text must outlive the scanner.
#pragma once

#include <string_view>

namespace pgconvoy::plan {

enum class SqlSpan {
  // Spaces and finished or unfinished `--` comments, and finished block comments.
  kBlank,
  // Anything else outside quotes, one byte at a time.
  kCode,
  // '…', E'…', $tag$…$tag$ (their prefix, if any, is code).
  kString,
  // "…"
  kIdentifier,
  // A quote or block comment that reaches the end of the text.
  kUnterminated,
};

struct SqlPiece {
  SqlSpan span = SqlSpan::kBlank;
  std::string_view text;
};

class SqlScanner {
 public:
  explicit SqlScanner(std::string_view text) : text_(text) {}

  bool done() const { return position_ == text_.size(); }
  size_t position() const { return position_; }
  // The next piece; call only when not done().
  SqlPiece Next();
  // Passes over `bytes` bytes without looking at them: a placeholder.
  void Skip(size_t bytes);

 private:
  SqlPiece Take(SqlSpan span, size_t bytes);
  SqlPiece TakeUntil(SqlSpan span, size_t opening, std::string_view closing);
  SqlPiece TakeQuoted(SqlSpan span, char quote, bool backslash_escapes);
  SqlPiece TakeBlockComment();
  SqlPiece TakeLineComment();
  bool BackslashEscapes() const;
  // Length of a dollar quote's opening tag here, or 0.
  size_t DollarTag() const;

  std::string_view text_;
  size_t position_ = 0;
};

// A byte that continues a word in SQL: letters, digits, _, $ and everything outside ASCII.
bool IsSqlWordByte(char c);

}  // namespace pgconvoy::plan
