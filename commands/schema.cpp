#include "commands/schema.hpp"

#include "base/codes/cli.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "json/schema.hpp"

namespace kfab::commands {
namespace {

CommandOutput list_all() {
  CommandOutput out;
  out.schema = "kfab.schema/1.0";
  json::Array rows;
  term::Table table({{"name"}, {"about", term::Align::left, true}});
  for (const json::PublishedSchema& schema : json::published_schemas()) {
    rows.emplace_back(json::Object{{"name", schema.name}, {"about", schema.about}});
    table.row({std::string(schema.name), std::string(schema.about)});
  }
  out.data = json::Object{{"schemas", std::move(rows)}};
  out.render = [table = std::move(table)](term::Writer& writer) { writer.table(table); };
  return out;
}

}  // namespace

CommandOutput run_schema(const SchemaOptions& options) {
  if (options.name == "list") return list_all();
  const json::PublishedSchema* schema = json::find_schema(options.name);
  if (schema == nullptr) {
    Diagnostic diagnostic = error(code::unknown_schema, "'" + one_line(options.name, 60) + "' is no schema of kfab");
    std::vector<std::string> names;
    for (const json::PublishedSchema& known : json::published_schemas()) names.emplace_back(known.name);
    diagnostic.suggestions = nearest(options.name, names);
    return not_started(std::move(diagnostic));
  }
  CommandOutput out;
  out.schema = "kfab.schema/1.0";
  auto document = json::parse(schema->text);
  if (!document) return not_started(std::move(document).error());
  out.data = json::Object{{"name", schema->name}, {"schema", std::move(document).value()}};
  out.render = [text = schema->text](term::Writer& writer) { writer.raw(text); };
  return out;
}

}  // namespace kfab::commands
