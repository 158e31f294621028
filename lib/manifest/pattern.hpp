#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kfab::manifest {

// A text that differs from node to node of a group: "10.4.{i/250}.{i%250+1}", "{name}-bmc", "u{i%8*4+1}", "r{n:03}".
//
//   {name}          the node's name
//   {rack}          its rack
//   {n1} {n2} ...   the first, second, ... number in its name, as it is written there
//   {expr}          whole numbers: i (position in the group from 0), n (from 1), n1, n2, ..., digits, + - * / % ( )
//   {expr:03}       the same, padded with zeros to three digits
//   {{  }}          a brace
//
// A text with [ ] is no pattern but a list that goes along with the nodes (nodeset::expand_in_order): whoever reads a
// group asks is_list first.
class Pattern {
 public:
  struct Inputs {
    std::string_view name, rack;
    std::size_t index = 0;   // from 0
  };

  // Errors: bad_pattern, whose span is inside the text (byte_offset from 0, end_column - column characters).
  static Result<Pattern> parse(std::string_view text);
  static bool is_list(std::string_view text) { return text.find('[') != std::string_view::npos; }

  bool constant() const { return constant_; }   // the same for every node
  // Errors: bad_pattern when a name has no such number, a result is negative or a division is by zero.
  Result<std::string> operator()(const Inputs&) const;

 private:
  enum class Op : std::uint8_t { literal, name, rack, number_text, evaluate };
  enum class Step : std::uint8_t { push, index, position, name_number, add, subtract, multiply, divide, remainder };
  struct Instruction { Step step; std::int64_t operand; };
  struct Part {
    Op op = Op::literal;
    std::string text{};                        // of a literal
    std::size_t which = 0;                     // number_text: which number, from 1
    std::vector<Instruction> program{};        // evaluate: in reverse Polish order
    int width = 0;
  };
  friend class PatternParser;

  std::vector<Part> parts_;
  bool constant_ = true;
};

}  // namespace kfab::manifest
