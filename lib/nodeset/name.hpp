#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodeset/number.hpp"

// A name as its pattern and numbers: "r2n07-bmc" is "r%sn%s-bmc" with 2 and 07. A percent sign is "%%" in a pattern.
namespace kfab::nodeset {

// Why a text is no name; null when it is one. `at` and `length` are the offending bytes.
struct NameFault { std::string message; std::size_t at = 0, length = 0; };
std::optional<NameFault> find_name_fault(std::string_view name);

// Appends to `pattern` and `numbers`, which the caller clears. `name` must have no fault.
void split_name(std::string_view name, std::string& pattern, std::vector<Rank>& numbers);

// The literal texts of a pattern around its numbers: one more than there are numbers.
std::vector<std::string> pattern_texts(std::string_view pattern);
void append_literal(std::string& pattern, std::string_view text);   // with percent signs doubled

// The text of a sorted list of numbers as it stands in brackets: "1-3,7,08-12".
std::string fold_numbers(const std::vector<Rank>& sorted);

}  // namespace kfab::nodeset
