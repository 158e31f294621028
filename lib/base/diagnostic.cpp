#include "base/diagnostic.hpp"

#include <algorithm>

namespace kfab {

Diagnostic make_diagnostic(Code code, std::string message) {
  Diagnostic d;
  d.code = code;
  d.severity = info(code).severity;
  d.message = std::move(message);
  return d;
}

bool has_errors(const Diagnostics& all) {
  return std::any_of(all.begin(), all.end(), [](const Diagnostic& d) { return d.severity == Severity::error; });
}

}  // namespace kfab
