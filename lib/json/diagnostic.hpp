#pragma once

#include "base/diagnostic.hpp"
#include "json/value.hpp"

namespace kfab::json {

// A diagnostic as every JSON document of kfab shows it: code, severity, message, node, path, file, line, column,
// end_line, end_column, byte_offset, label, help[], suggestions[], next_step. Every key is always there.
Value to_json(const Diagnostic&);
Value to_json(const Diagnostics&);

}  // namespace kfab::json
