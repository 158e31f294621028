#include "term/table.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "term/writer.hpp"

namespace kfab::term {
namespace {

constexpr std::string_view gap = "  ";
constexpr std::size_t no_limit = 100000;   // a cell is one line, however long
constexpr std::size_t narrowest = 6;       // of a column that shrinks

std::string upper(std::string_view ascii) {
  std::string out(ascii);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

// Appends the text in its column. The last column of a line gets no blanks after it.
void put(std::string& line, const StreamFacts& facts, const Column& column, const Cell& cell, std::size_t width, bool last) {
  const std::string shown = fit(cell.text, width);
  const std::size_t blanks = width - std::min(width, display_width(shown));
  if (column.align == Align::right) line.append(blanks, ' ');
  line += paint(facts, cell.style, shown);
  if (column.align == Align::left && !last) line.append(blanks, ' ');
}

}  // namespace

void Table::row(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  for (Cell& cell : cells) cell.text = one_line(cell.text, no_limit);
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(const StreamFacts& facts) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c].text));
    widths.push_back(width);
  }
  if (!facts.width) return widths;
  std::size_t total = gap.size() * (columns_.size() - std::min<std::size_t>(columns_.size(), 1));
  for (const std::size_t width : widths) total += width;
  while (total > *facts.width) {   // takes from the widest that shrinks, down to the next widest
    std::size_t widest = columns_.size();
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].shrinks && widths[c] > narrowest && (widest == columns_.size() || widths[c] > widths[widest])) widest = c;
    if (widest == columns_.size()) break;
    std::size_t next = narrowest;
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].shrinks && widths[c] < widths[widest]) next = std::max(next, widths[c]);
    const std::size_t take = std::min(total - *facts.width, std::max<std::size_t>(1, widths[widest] - next));
    widths[widest] -= take;
    total -= take;
  }
  return widths;
}

std::string Table::render(const StreamFacts& facts) const {
  if (columns_.empty()) return {};
  const auto width = widths(facts);
  std::string out;
  const auto draw = [&](const auto& cell_of) {
    std::string line;
    std::size_t last = columns_.size();   // the last cell with anything in it
    while (last > 1 && cell_of(last - 1).text.empty()) --last;
    for (std::size_t c = 0; c < last; ++c) {
      if (c > 0) line += gap;
      put(line, facts, columns_[c], cell_of(c), width[c], c + 1 == last);
    }
    out += line;
    out += '\n';
  };
  draw([&](std::size_t c) { return Cell(upper(columns_[c].title), Style::strong); });
  for (const auto& row : rows_) draw([&](std::size_t c) -> const Cell& { return row[c]; });
  return out;
}

}  // namespace kfab::term
