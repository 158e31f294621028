#include "commands/explain.hpp"

#include "base/codes/cli.hpp"
#include "base/result.hpp"
#include "base/text.hpp"

namespace kfab::commands {
namespace {

std::optional<Code> find_code(const std::string& word) {
  if (const auto code = parse_code(word)) return code;
  for (const CodeInfo& row : all_codes())
    if (row.name == word) return row.code;
  return std::nullopt;
}

Diagnostic no_such_code(const std::string& word) {
  Diagnostic diagnostic = error(code::unknown_code, "'" + one_line(word, 60) + "' is no code of kfab");
  std::vector<std::string> names;
  for (const CodeInfo& row : all_codes()) {
    names.push_back(to_string(row.code));
    names.emplace_back(row.name);
  }
  diagnostic.suggestions = nearest(word, names);
  return diagnostic;
}

json::Object to_json(const CodeInfo& row) {
  return {{"code", to_string(row.code)}, {"name", row.name}, {"severity", to_string(row.severity)},
          {"cause", row.cause},          {"next_step", row.next_step}};
}

void render_all(const std::vector<Code>& codes, term::Writer& out) {
  term::Table table({{"code"}, {"severity"}, {"name"}, {"cause", term::Align::left, true}});
  for (const Code code : codes) {
    const CodeInfo& row = info(code);
    table.row({to_string(code), {std::string(to_string(row.severity)), term::style_of(to_string(row.severity))},
               std::string(row.name), std::string(row.cause)});
  }
  out.table(table);
}

void render_each(const std::vector<Code>& codes, term::Writer& out) {
  bool first = true;
  for (const Code code : codes) {
    const CodeInfo& row = info(code);
    if (!first) out.line();
    first = false;
    out.text(term::Style::strong, to_string(code)).text("  ").text(row.name).text("  ").line(std::string(to_string(row.severity)));
    out.line("  cause: " + std::string(row.cause));
    out.line("  try:   " + std::string(row.next_step));
  }
}

}  // namespace

ExplainResult run_explain(const ExplainOptions& options) {
  ExplainResult result;
  result.all = options.codes.empty();
  if (result.all)
    for (const CodeInfo& row : all_codes()) result.codes.push_back(row.code);
  for (const std::string& word : options.codes) {
    if (const auto code = find_code(word)) result.codes.push_back(*code);
    else result.diagnostics.push_back(no_such_code(word));
  }
  return result;
}

CommandOutput to_output(ExplainResult result) {
  if (has_errors(result.diagnostics)) return not_started(std::move(result.diagnostics));
  CommandOutput out;
  out.schema = "kfab.explain/1.0";
  json::Array codes;
  for (const Code code : result.codes) codes.emplace_back(to_json(info(code)));
  out.data = json::Object{{"codes", std::move(codes)}};
  out.render = [codes_ = std::move(result.codes), all = result.all](term::Writer& writer) {
    if (all) render_all(codes_, writer);
    else render_each(codes_, writer);
  };
  return out;
}

}  // namespace kfab::commands
