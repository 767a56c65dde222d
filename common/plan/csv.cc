#include "common/plan/csv.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <unordered_map>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/model/model.h"
#include "common/plan/input_file.h"
#include "common/plan/problem_list.h"
#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

// A million rows of 256 bytes; a larger file is no list of projects.
constexpr size_t kMaxCsvBytes = 256u << 20;
constexpr size_t kMaxFieldBytes = 64u << 10;
constexpr size_t kMaxRowBytes = 1u << 20;
constexpr size_t kMaxColumns = 64;

constexpr char kRefRemedy[] = "allowed: [a-z0-9][a-z0-9_-]{0,39}";

struct Row {
  int line = 0;
  std::vector<std::string> fields;
};

// Splits RFC 4180 text into rows. After a fault inside a row, reading goes on with the next line.
class RowReader {
 public:
  RowReader(std::string_view text, const std::string& file, ProblemList& problems)
      : text_(text), file_(file), problems_(problems) {}

  // The next row that has no fault; nothing at the end.
  std::optional<Row> Next();

 private:
  bool AtEnd() const { return position_ == text_.size(); }
  bool AtLineEnd() const { return AtEnd() || text_[position_] == '\n' || text_[position_] == '\r'; }
  void SkipLineEnd();
  void SkipLine();
  bool ReadRow(Row& row);
  bool ReadField(std::string& field);
  bool ReadQuoted(std::string& field);
  bool Fault(int line, std::string_view code, std::string_view message, std::string_view remedy = "");

  std::string_view text_;
  const std::string& file_;
  ProblemList& problems_;
  size_t position_ = 0;
  int line_ = 1;
};

bool RowReader::Fault(int line, std::string_view code, std::string_view message, std::string_view remedy) {
  problems_.Add({file_, line, 0, "", std::string(code), std::string(message), std::string(remedy), false});
  return false;
}

// CR, LF and CR LF all end a line.
void RowReader::SkipLineEnd() {
  if (AtEnd()) {
    return;
  }
  position_ += text_.substr(position_, 2) == "\r\n" ? 2 : 1;
  ++line_;
}

void RowReader::SkipLine() {
  position_ = std::min(text_.find_first_of("\r\n", position_), text_.size());
  SkipLineEnd();
}

bool RowReader::ReadQuoted(std::string& field) {
  const int first_line = line_;
  ++position_;
  while (!AtEnd()) {
    if (text_[position_] == '"') {
      ++position_;
      if (AtEnd() || text_[position_] != '"') {
        return true;
      }
      field += text_[position_++];
    } else if (AtLineEnd()) {
      const size_t begin = position_;
      SkipLineEnd();
      field += text_.substr(begin, position_ - begin);
    } else {
      field += text_[position_++];
    }
    if (field.size() > kMaxFieldBytes) {
      break;
    }
  }
  const bool too_large = !AtEnd();
  position_ = text_.size();  // after an open quote, rows and fields cannot be told apart
  return too_large
             ? Fault(first_line, "PGC-CSV-TOO-LARGE", "a quoted field is larger than 64 KiB", "is its quote closed?")
             : Fault(first_line, "PGC-CSV-QUOTE", "the quote that begins here is never closed");
}

bool RowReader::ReadField(std::string& field) {
  if (!AtEnd() && text_[position_] == '"') {
    if (!ReadQuoted(field)) {
      return false;
    }
    const bool ended = AtLineEnd() || text_[position_] == ',';
    return ended ||
           Fault(line_, "PGC-CSV-QUOTE", "text follows a closing quote", "write a quote inside quotes twice");
  }
  const size_t end = std::min(text_.find_first_of(",\r\n", position_), text_.size());
  field = text_.substr(position_, end - position_);
  position_ = end;
  if (field.find('"') != std::string::npos) {
    return Fault(line_, "PGC-CSV-QUOTE", "a quote inside a field that is not quoted",
                 "put the whole field in quotes and write the quote inside twice");
  }
  return field.size() <= kMaxFieldBytes || Fault(line_, "PGC-CSV-TOO-LARGE", "a field is larger than 64 KiB");
}

bool RowReader::ReadRow(Row& row) {
  const size_t begin = position_;
  while (true) {
    std::string field;
    if (!ReadField(field)) {
      return false;
    }
    row.fields.push_back(std::move(field));
    if (position_ - begin > kMaxRowBytes) {
      return Fault(row.line, "PGC-CSV-TOO-LARGE", "the row is larger than 1 MiB");
    }
    if (AtLineEnd()) {
      SkipLineEnd();
      return true;
    }
    ++position_;  // the comma
  }
}

std::optional<Row> RowReader::Next() {
  while (!AtEnd() && !problems_.full()) {
    if (AtLineEnd()) {
      SkipLineEnd();  // an empty line holds no row
      continue;
    }
    Row row;
    row.line = line_;
    if (ReadRow(row)) {
      return row;
    }
    SkipLine();
  }
  return std::nullopt;
}

// "Abc " and "abc" would be one project to the eye.
std::string Folded(std::string_view ref) {
  const size_t begin = std::min(ref.find_first_not_of(" \t\r\n"), ref.size());
  const size_t end = ref.find_last_not_of(" \t\r\n") + 1;
  std::string folded(ref.substr(begin, end > begin ? end - begin : 0));
  std::transform(folded.begin(), folded.end(), folded.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return folded;
}

class CsvParser {
 public:
  CsvParser(std::string_view csv, const std::string& file) : file_(file), reader_(csv, file, problems_) {}

  ParsedProjects Run() &&;

 private:
  void Add(int line, std::string_view field, std::string_view code, std::string message, std::string remedy = "") {
    problems_.Add(
        {file_, line, 0, std::string(field), std::string(code), std::move(message), std::move(remedy), false});
  }
  bool ReadHeader();
  bool CheckColumn(int line, const std::string& name);
  void ReadProject(Row row);
  void CheckRef(const std::string& ref, int line);
  void CheckDuplicate(const std::string& ref, int line);
  int64_t EstimatedBytes(const std::string& text, int line);

  const std::string& file_;
  ProblemList problems_;
  RowReader reader_;
  std::vector<std::string> columns_;
  std::unordered_map<std::string, int> line_of_ref_;
  std::vector<ProjectEntry> projects_;
};

bool CsvParser::CheckColumn(int line, const std::string& name) {
  static const std::set<std::string> kTaken = {"database", "user", "verifier"};
  if (!IsPlaceholderName(name)) {
    Add(line, name, "PGC-CSV-HEADER", "not a column name", "allowed: [a-z][a-z0-9_]*");
    return false;
  }
  if (std::count(columns_.begin(), columns_.end(), name) > 1) {
    Add(line, name, "PGC-CSV-HEADER", "the column occurs twice");
    return false;
  }
  if (kTaken.contains(name)) {
    Add(line, name, "PGC-CSV-HEADER", "the name is taken by a placeholder of cutover.set", "rename the column");
    return false;
  }
  return true;
}

bool CsvParser::ReadHeader() {
  std::optional<Row> header = reader_.Next();
  if (!header.has_value()) {
    if (problems_.all().empty()) {
      Add(0, "", "PGC-CSV-EMPTY", "the file is empty", "the first line must name the columns, one of them \"ref\"");
    }
    return false;
  }
  columns_ = std::move(header->fields);
  const int line = header->line;
  if (columns_.size() == 1 && columns_[0].find_first_of(";\t|") != std::string::npos) {
    Add(line, "", "PGC-CSV-HEADER", "the columns are not separated by commas", "save the file with commas");
    return false;
  }
  if (columns_.size() > kMaxColumns) {
    Add(line, "", "PGC-CSV-HEADER", "there are more than " + std::to_string(kMaxColumns) + " columns");
    return false;
  }
  bool good = true;
  for (const std::string& name : columns_) {
    good = CheckColumn(line, name) && good;
  }
  if (std::find(columns_.begin(), columns_.end(), "ref") == columns_.end()) {
    const auto near =
        std::find_if(columns_.begin(), columns_.end(), [](const auto& c) { return Folded(c) == "ref"; });
    Add(line, "", "PGC-CSV-HEADER", "there is no column \"ref\"",
        near == columns_.end() ? "the first line must name the columns" : "write ref in lower case, without spaces");
    return false;
  }
  return good;
}

void CsvParser::CheckRef(const std::string& ref, int line) {
  if (!IsValidRef(ref)) {
    // A hostile ref is shown, but only so much of it.
    const std::string shown = Printable(std::string_view(ref).substr(0, 60));
    Add(line, "ref", "PGC-CSV-REF", ref.empty() ? "the ref is empty" : "\"" + shown + "\" is no project ref",
        kRefRemedy);
  }
}

void CsvParser::CheckDuplicate(const std::string& ref, int line) {
  const auto [it, inserted] = line_of_ref_.emplace(Folded(ref), line);
  if (!inserted && !ref.empty()) {
    Add(line, "ref", "PGC-CSV-DUPLICATE",
        "the ref of line " + std::to_string(it->second) + " occurs again in line " + std::to_string(line),
        "refs must differ by more than case and spaces");
  }
}

int64_t CsvParser::EstimatedBytes(const std::string& text, int line) {
  if (text.empty()) {
    return 0;
  }
  const std::optional<int64_t> bytes = ParseDecimal(text);
  if (!bytes.has_value()) {
    Add(line, "estimated_bytes", "PGC-CSV-VALUE", "not a plain decimal number of bytes", "for example 1048576");
  }
  return bytes.value_or(0);
}

void CsvParser::ReadProject(Row row) {
  if (row.fields.size() != columns_.size()) {
    Add(row.line, "", "PGC-CSV-FIELDS",
        "the row has " + std::to_string(row.fields.size()) + " fields, the header has " +
            std::to_string(columns_.size()));
    return;
  }
  ProjectEntry project;
  project.line = row.line;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == "ref") {
      project.ref = std::move(row.fields[i]);
    } else if (columns_[i] == "estimated_bytes") {
      project.estimated_bytes = EstimatedBytes(row.fields[i], row.line);
    } else {
      project.attributes[columns_[i]] = std::move(row.fields[i]);
    }
  }
  CheckRef(project.ref, row.line);
  CheckDuplicate(project.ref, row.line);
  projects_.push_back(std::move(project));
}

ParsedProjects CsvParser::Run() && {
  if (ReadHeader()) {
    while (std::optional<Row> row = reader_.Next()) {
      if (projects_.size() == kMaxProjects) {
        Add(row->line, "", "PGC-CSV-TOO-MANY", "there are more than 1000000 projects",
            "split the fleet into several files");
        break;
      }
      ReadProject(*std::move(row));
    }
    if (projects_.empty() && problems_.all().empty()) {
      Add(0, "", "PGC-CSV-EMPTY", "the file has a header but no projects");
    }
  }
  return {std::move(projects_), problems_.Take()};
}

ParsedProjects Refused(
    const std::string& file, int line, std::string_view code, std::string message, std::string remedy) {
  return {{}, {{file, line, 0, "", std::string(code), std::move(message), std::move(remedy), false}}};
}

}  // namespace

bool ParsedProjects::ok() const { return HasNoError(problems); }

ParsedProjects ParseProjects(std::string_view csv, const std::string& file) {
  if (csv.size() > kMaxCsvBytes) {
    return Refused(file, 0, "PGC-CSV-TOO-LARGE", "the file is larger than 256 MiB",
                   "split the fleet into several files");
  }
  if (csv.starts_with("\x1F\x8B")) {
    return Refused(file, 0, "PGC-CSV-COMPRESSED", "the file is gzip, not CSV", "unpack it first");
  }
  if (csv.starts_with("PK\x03\x04")) {
    return Refused(file, 0, "PGC-CSV-COMPRESSED", "the file is a zip archive or a spreadsheet, not CSV",
                   "export it as CSV");
  }
  if (auto fault = FindEncodingFault(csv)) {
    return Refused(file, fault->line, "PGC-CSV-ENCODING", fault->message, fault->remedy);
  }
  return CsvParser(WithoutBom(csv), file).Run();
}

ParsedProjects LoadProjects(const std::string& path) {
  const auto file = ReadInputFile(path, kMaxCsvBytes);
  if (!file.ok()) {
    const bool too_large = file.status().code() == absl::StatusCode::kResourceExhausted;
    return Refused(path, 0, too_large ? "PGC-CSV-TOO-LARGE" : "PGC-CSV-FILE", MessageOf(file.status()), "");
  }
  return ParseProjects(file->content, path);
}

}  // namespace pgconvoy::plan
