#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "term/stream.hpp"

namespace kfab::term {

// The meaning of a text; what it looks like is the Writer's. Colour never carries a meaning alone: the word is there too.
enum class Style { plain, strong, faint, good, warning, bad, accent };

enum class Align { left, right };

// A column: its title (shown in capitals, with the unit in it: "POWER KW") and on which side its cells stand. Numbers
// stand right. A column that `shrinks` is cut with "..." where a terminal is too narrow for all; of several, the widest.
struct Column {
  std::string title;
  Align align = Align::left;
  bool shrinks = false;
};

// One cell. Its text is made one line and free of control characters when it is drawn, so it may come from a node.
struct Cell {
  Cell(std::string text_, Style style_ = Style::plain) : text(std::move(text_)), style(style_) {}
  Cell(const char* text_, Style style_ = Style::plain) : text(text_), style(style_) {}
  std::string text;
  Style style;
};

// A table without borders: titles in capitals, two blanks between columns, one line per row, no trailing blanks.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<Cell> cells);   // missing cells are empty
  bool empty() const { return rows_.empty(); }
  std::size_t size() const { return rows_.size(); }
  // The whole table, a newline after each line. Nothing is cut when the facts have no width.
  std::string render(const StreamFacts&) const;

 private:
  std::vector<std::size_t> widths(const StreamFacts&) const;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace kfab::term
