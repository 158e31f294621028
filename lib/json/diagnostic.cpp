#include "json/diagnostic.hpp"

#include "json/shorthand.hpp"

namespace kfab::json {

Value to_json(const Diagnostic& d) {
  Object out;
  out.set("code", to_string(d.code)).set("severity", to_string(d.severity)).set("message", d.message);
  out.set("node", text_or_null(d.node)).set("path", text_or_null(d.path));
  const bool at = d.span.has_value();
  out.set("file", at ? text_or_null(d.span->file) : Value());
  out.set("line", at ? Value(d.span->line) : Value()).set("column", at ? Value(d.span->column) : Value());
  out.set("end_line", at ? Value(d.span->end_line) : Value()).set("end_column", at ? Value(d.span->end_column) : Value());
  out.set("byte_offset", at ? Value(d.span->byte_offset) : Value());
  out.set("label", text_or_null(d.label)).set("help", array_of(d.help)).set("suggestions", array_of(d.suggestions));
  out.set("next_step", info(d.code).next_step);
  return out;
}

Value to_json(const Diagnostics& all) {
  Array out;
  for (const Diagnostic& d : all) out.push_back(to_json(d));
  return out;
}

}  // namespace kfab::json
