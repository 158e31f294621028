#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json/value.hpp"

// Small values that documents are full of.
namespace kfab::json {

// Text that may be missing: null where it is empty.
inline Value text_or_null(std::string_view text) { return text.empty() ? Value() : Value(text); }

inline Array array_of(const std::vector<std::string>& texts) { return Array(texts.begin(), texts.end()); }

}  // namespace kfab::json
