#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "nodeset/number.hpp"

// An expression as it is written: what the grammar of nodeset.hpp makes of the text, before anything is looked up.
namespace kfab::nodeset {

// Bytes of the expression.
struct Place { std::size_t begin = 0, end = 0; };

enum class Op : std::uint8_t { unite, subtract, intersect, differ };

// "1-5" or "007" or "0-10/2" inside brackets: `first.width` is the width of all when the range is padded.
struct Range {
  Number first, last;
  std::uint64_t step = 1;
  bool padded = false;
  std::size_t count() const { return static_cast<std::size_t>((last.value - first.value) / step + 1); }
};

// A part of a name: a fixed text, or what stands in brackets, or a wildcard.
struct Piece {
  enum class Kind : std::uint8_t { text, ranges, any, one };
  Kind kind = Kind::text;
  std::string text;             // for text
  std::vector<Range> ranges;    // for ranges
  Place place;
};

struct Term {
  enum class Kind : std::uint8_t { names, group, source_names, parentheses };
  struct Next;
  Kind kind = Kind::names;
  std::vector<Piece> pieces;    // the name or group; for source_names the source, possibly nothing
  std::vector<Next> inside;     // of parentheses
  Place place;
};
struct Term::Next {
  Op op = Op::unite;            // to the left of the term; unite for the first one
  Term term;
};

// The terms of a whole expression. Errors: nodeset_syntax, nodeset_padding, bad_node_name, with span and suggestions.
Result<std::vector<Term::Next>> parse_syntax(std::string_view expression);

// Reads "1-5,7,0-10/2" from `at` to the end or a ']'. Blanks are ignored.
Result<std::vector<Range>> parse_ranges(std::string_view expression, std::size_t& at);

// A diagnostic that points at these bytes of the expression.
Diagnostic at_place(std::string_view expression, Place, Code, std::string message);

}  // namespace kfab::nodeset
