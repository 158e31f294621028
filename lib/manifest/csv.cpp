#include "manifest/csv.hpp"

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"

namespace kfab::manifest {
namespace {

class CsvReader {
 public:
  CsvReader(const Source& source, Diagnostics& diagnostics) : source_(source), text_(source.text()), diagnostics_(diagnostics) {}

  CsvTable read() {
    CsvTable table;
    if (text_.rfind("\xef\xbb\xbf", 0) == 0) at_ = 3;
    while (at_ < text_.size()) {
      const std::size_t begin = at_;
      if (skip_line()) continue;
      std::vector<CsvField> row;
      if (!record(row)) continue;
      if (table.header.empty()) {
        table.header = std::move(row);
      } else if (row.size() != table.header.size()) {
        report(begin, row.back().end,
               fmt::format("the row has {} and the header {}", plural(static_cast<long long>(row.size()), "field"), table.header.size()),
               row.size() > table.header.size() ? "too many" : "too few");
      } else {
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

 private:
  bool skip_line() {
    std::size_t end = text_.find('\n', at_);
    if (end == std::string::npos) end = text_.size();
    const std::string_view line = trim(std::string_view(text_).substr(at_, end - at_));
    if (!line.empty() && line.front() != '#') return false;
    at_ = end == text_.size() ? end : end + 1;
    return true;
  }

  void next_line() {
    const std::size_t end = text_.find('\n', at_);
    at_ = end == std::string::npos ? text_.size() : end + 1;
  }

  // One record; on an error it is reported and the rest of the line is left.
  bool record(std::vector<CsvField>& row) {
    row.reserve(6);
    for (;;) {
      CsvField field;
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
      field.begin = static_cast<std::uint32_t>(at_);
      if (at_ < text_.size() && text_[at_] == '"') {
        if (!quoted(field)) return false;
      } else {
        while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '"') ++at_;
        if (at_ < text_.size() && text_[at_] == '"') {
          report(at_, at_ + 1, "a quote stands in the middle of a field", "quote the whole field and double this quote");
          next_line();
          return false;
        }
        std::size_t end = at_;
        while (end > field.begin && (text_[end - 1] == ' ' || text_[end - 1] == '\t' || text_[end - 1] == '\r')) --end;
        field.text.assign(text_, field.begin, end - field.begin);
        field.end = static_cast<std::uint32_t>(end);
      }
      row.push_back(std::move(field));
      if (at_ < text_.size() && text_[at_] == ',') {
        ++at_;
        continue;
      }
      if (at_ < text_.size()) ++at_;   // the end of the line
      return true;
    }
  }

  bool quoted(CsvField& field) {
    const std::size_t open = at_++;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] != '"') {
        field.text += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        field.text += text_[at_++];
      } else {
        field.end = static_cast<std::uint32_t>(++at_);
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
        if (at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n') return true;
        report(at_, at_ + 1, "something stands after a closing quote", "expected a comma or the end of the line");
        next_line();
        return false;
      }
    }
    report(open, open + 1, "a quote is never closed", "opened here");
    return false;
  }

  void report(std::size_t begin, std::size_t end, std::string message, std::string label) {
    Diagnostic d = make_diagnostic(code::bad_row, std::move(message));
    d.span = source_.span(begin, end);
    d.label = std::move(label);
    diagnostics_.push_back(std::move(d));
  }

  const Source& source_;
  const std::string& text_;
  Diagnostics& diagnostics_;
  std::size_t at_ = 0;
};

}  // namespace

CsvTable parse_csv(const Source& source, Diagnostics& diagnostics) {
  if (!is_valid_utf8(source.text()) || source.text().find('\0') != std::string::npos) {
    Diagnostic d = make_diagnostic(code::manifest_not_text, fmt::format("{} is not UTF-8 text", one_line(source.file())));
    d.span = source.span(0, 0);
    diagnostics.push_back(std::move(d));
    return {};
  }
  return CsvReader(source, diagnostics).read();
}

}  // namespace kfab::manifest
