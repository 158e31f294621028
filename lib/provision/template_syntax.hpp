#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "json/value.hpp"

// Templates as trees: what template.hpp describes, read but not yet expanded. Not for use outside lib/provision.
namespace kfab::provision::syntax {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline constexpr std::size_t most_nesting = 16;   // of blocks, and of expressions

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind { literal, list, name, index, filter, negate, both, either, compare, in, not_in, defined, undefined };
  Kind kind = Kind::literal;
  std::size_t offset = 0, size = 0;       // in the template's text
  json::Value value{};                    // of a literal
  std::string word{};                     // the dotted name, the filter, the operator of a comparison
  std::vector<ExpressionPtr> parts{};     // operands; of a filter what it is applied to, then its arguments
};

struct Block;
using Blocks = std::vector<Block>;

struct Branch {
  ExpressionPtr condition;                // absent: else
  Blocks body;
};

struct Block {
  enum class Kind { text, output, repeat, choose, set };
  Kind kind = Kind::text;
  std::size_t offset = 0, size = 0;
  std::string text{};                     // of text
  ExpressionPtr expression{};             // of output, set, and what is gone through
  std::vector<std::string> names{};       // of a loop: one, or two for a mapping's keys and values; of set
  Blocks body{};                          // of a loop
  std::vector<Branch> branches{};
};

// The template, or everything that is wrong with it in `problems` (template_syntax, with line and column).
std::optional<Blocks> parse(std::string_view text, Diagnostics& problems);

// Where a byte stands in a text, as a diagnostic.
Diagnostic problem_at(Code, std::string message, std::string_view text, std::size_t offset, std::size_t size);

}  // namespace kfab::provision::syntax
