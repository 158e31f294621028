#include "json/schema.hpp"

#include <string>
#include <vector>

#include "base/embedded.hpp"
#include "json/value.hpp"

KFAB_EMBEDDED(schema_completion)
KFAB_EMBEDDED(schema_copy)
KFAB_EMBEDDED(schema_copy_1_1)
KFAB_EMBEDDED(schema_demo)
KFAB_EMBEDDED(schema_doctor)
KFAB_EMBEDDED(schema_envelope)
KFAB_EMBEDDED(schema_events)
KFAB_EMBEDDED(schema_exec)
KFAB_EMBEDDED(schema_exec_1_1)
KFAB_EMBEDDED(schema_explain)
KFAB_EMBEDDED(schema_help)
KFAB_EMBEDDED(schema_hostkeys)
KFAB_EMBEDDED(schema_inventory)
KFAB_EMBEDDED(schema_inventory_1_1)
KFAB_EMBEDDED(schema_judge)
KFAB_EMBEDDED(schema_lint)
KFAB_EMBEDDED(schema_lock)
KFAB_EMBEDDED(schema_nodeset)
KFAB_EMBEDDED(schema_plan)
KFAB_EMBEDDED(schema_plan_1_1)
KFAB_EMBEDDED(schema_plan_1_2)
KFAB_EMBEDDED(schema_plan_1_3)
KFAB_EMBEDDED(schema_plan_1_4)
KFAB_EMBEDDED(schema_plan_file)
KFAB_EMBEDDED(schema_plan_file_1_1)
KFAB_EMBEDDED(schema_provision)
KFAB_EMBEDDED(schema_provision_1_1)
KFAB_EMBEDDED(schema_provision_1_2)
KFAB_EMBEDDED(schema_provision_1_3)
KFAB_EMBEDDED(schema_provision_1_4)
KFAB_EMBEDDED(schema_readiness)
KFAB_EMBEDDED(schema_reboot)
KFAB_EMBEDDED(schema_reboot_1_1)
KFAB_EMBEDDED(schema_reboot_1_2)
KFAB_EMBEDDED(schema_report)
KFAB_EMBEDDED(schema_runs)
KFAB_EMBEDDED(schema_runs_1_1)
KFAB_EMBEDDED(schema_runs_1_2)
KFAB_EMBEDDED(schema_schema)
KFAB_EMBEDDED(schema_selftest)
KFAB_EMBEDDED(schema_show)
KFAB_EMBEDDED(schema_text)
KFAB_EMBEDDED(schema_undo)
KFAB_EMBEDDED(schema_validate)
KFAB_EMBEDDED(schema_validate_1_1)
KFAB_EMBEDDED(schema_validate_1_2)
KFAB_EMBEDDED(schema_validate_1_3)
KFAB_EMBEDDED(schema_version)
KFAB_EMBEDDED(schema_version_1_1)

namespace kfab::json {
namespace {

// A file of lib/json/schemas under the name by which it is published. A new version of a result gets a new row and a
// new file; the old one stays as long as somebody may hold such documents.
struct Source {
  std::string_view name;
  std::string_view (*text)();
};

constexpr Source sources[] = {
    {"kfab.completion/1.0", embedded_schema_completion},
    {"kfab.copy/1.0", embedded_schema_copy},
    {"kfab.copy/1.1", embedded_schema_copy_1_1},
    {"kfab.demo/1.0", embedded_schema_demo},
    {"kfab.doctor/1.0", embedded_schema_doctor},
    {"kfab.envelope/1.0", embedded_schema_envelope},
    {"kfab.events/1.0", embedded_schema_events},
    {"kfab.exec/1.0", embedded_schema_exec},
    {"kfab.exec/1.1", embedded_schema_exec_1_1},
    {"kfab.explain/1.0", embedded_schema_explain},
    {"kfab.help/1.0", embedded_schema_help},
    {"kfab.hostkeys/1.0", embedded_schema_hostkeys},
    {"kfab.inventory/1.0", embedded_schema_inventory},
    {"kfab.inventory/1.1", embedded_schema_inventory_1_1},
    {"kfab.judge/1.0", embedded_schema_judge},
    {"kfab.lint/1.0", embedded_schema_lint},
    {"kfab.lock/1.0", embedded_schema_lock},
    {"kfab.nodeset/1.0", embedded_schema_nodeset},
    {"kfab.plan-file/1.0", embedded_schema_plan_file},
    {"kfab.plan-file/1.1", embedded_schema_plan_file_1_1},
    {"kfab.plan/1.0", embedded_schema_plan},
    {"kfab.plan/1.1", embedded_schema_plan_1_1},
    {"kfab.plan/1.2", embedded_schema_plan_1_2},
    {"kfab.plan/1.3", embedded_schema_plan_1_3},
    {"kfab.plan/1.4", embedded_schema_plan_1_4},
    {"kfab.provision/1.0", embedded_schema_provision},
    {"kfab.provision/1.1", embedded_schema_provision_1_1},
    {"kfab.provision/1.2", embedded_schema_provision_1_2},
    {"kfab.provision/1.3", embedded_schema_provision_1_3},
    {"kfab.provision/1.4", embedded_schema_provision_1_4},
    {"kfab.readiness/1.0", embedded_schema_readiness},
    {"kfab.reboot/1.0", embedded_schema_reboot},
    {"kfab.reboot/1.1", embedded_schema_reboot_1_1},
    {"kfab.reboot/1.2", embedded_schema_reboot_1_2},
    {"kfab.report/1.0", embedded_schema_report},
    {"kfab.runs/1.0", embedded_schema_runs},
    {"kfab.runs/1.1", embedded_schema_runs_1_1},
    {"kfab.runs/1.2", embedded_schema_runs_1_2},
    {"kfab.schema/1.0", embedded_schema_schema},
    {"kfab.selftest/1.0", embedded_schema_selftest},
    {"kfab.show/1.0", embedded_schema_show},
    {"kfab.text/1.0", embedded_schema_text},
    {"kfab.undo/1.0", embedded_schema_undo},
    {"kfab.validate/1.0", embedded_schema_validate},
    {"kfab.validate/1.1", embedded_schema_validate_1_1},
    {"kfab.validate/1.2", embedded_schema_validate_1_2},
    {"kfab.validate/1.3", embedded_schema_validate_1_3},
    {"kfab.version/1.0", embedded_schema_version},
    {"kfab.version/1.1", embedded_schema_version_1_1},
};

Object of_type(std::string_view type) { return {{"type", type}}; }
Object nullable(std::string_view type) { return {{"type", Array{type, "null"}}}; }
Object date_time() { return {{"type", "string"}, {"format", "date-time"}}; }
Object list_of(Object items) { return {{"type", "array"}, {"items", std::move(items)}}; }

// An object all of whose keys are always there.
Object closed(Object properties) {
  Array required;
  for (const auto& [key, unused] : properties.members()) required.emplace_back(key);
  return {{"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}};
}

Object diagnostic_schema() {
  const auto whole = [] { return nullable("integer"); };
  return closed({{"code", Object{{"type", "string"}, {"pattern", "^KF[0-9]{4}$"}}},
                 {"severity", Object{{"enum", Array{"note", "warning", "error"}}}},
                 {"message", of_type("string")},
                 {"node", nullable("string")},
                 {"path", nullable("string")},
                 {"file", nullable("string")},
                 {"line", whole()},
                 {"column", whole()},
                 {"end_line", whole()},
                 {"end_column", whole()},
                 {"byte_offset", whole()},
                 {"label", nullable("string")},
                 {"help", list_of(of_type("string"))},
                 {"suggestions", list_of(of_type("string"))},
                 {"next_step", of_type("string")}});
}

// The envelope around a `data` of its own schema, which may always be null: a run that did not start has none.
Object envelope_schema(std::string_view name, const Value& data) {
  const bool any = name.starts_with("kfab.envelope/");
  Object schema = any ? Object{{"type", "string"}, {"pattern", "^kfab\\.[a-z-]+/[0-9]+\\.[0-9]+$"}} : Object{{"const", name}};
  return closed({{"schema", std::move(schema)},
                 {"kfab", closed({{"version", of_type("string")}})},
                 {"run", closed({{"id", of_type("string")},
                                 {"started_at", date_time()},
                                 {"finished_at", date_time()},
                                 {"argv", list_of(of_type("string"))}})},
                 {"site", closed({{"name", nullable("string")}, {"manifest_sha256", nullable("string")}})},
                 {"outcome", Object{{"enum", Array{"yes", "no", "invalid", "incomplete", "bug", "cancelled"}}}},
                 {"exit_code", of_type("integer")},
                 {"data", any ? data : Value(Object{{"anyOf", Array{of_type("null"), data}}})},
                 {"diagnostics", list_of(diagnostic_schema())}});
}

struct Composed {
  std::string about, text;
};

Composed compose(const Source& source) {
  const auto file = parse(source.text());
  if (!file) return {};   // the unit test over all of them would fail
  Object document{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                  {"$id", "urn:" + std::string(source.name)},
                  {"title", source.name},
                  {"description", (*file)["about"]}};
  const Value& whole = (*file)["document"];
  const Object body = whole.as_object() != nullptr ? *whole.as_object() : envelope_schema(source.name, (*file)["data"]);
  for (const auto& [key, value] : body.members()) document.set(key, value);
  return {file->string_or("about"), dump_pretty(Value(std::move(document))) + "\n"};
}

}  // namespace

std::span<const PublishedSchema> published_schemas() {
  static const std::vector<Composed> texts = [] {
    std::vector<Composed> all;
    for (const Source& source : sources) all.push_back(compose(source));
    return all;
  }();
  static const std::vector<PublishedSchema> rows = [] {
    std::vector<PublishedSchema> all;
    for (std::size_t i = 0; i < texts.size(); ++i) all.push_back({sources[i].name, texts[i].about, texts[i].text});
    return all;
  }();
  return rows;
}

const PublishedSchema* find_schema(std::string_view name) {
  const PublishedSchema* found = nullptr;
  for (const PublishedSchema& row : published_schemas()) {
    const std::string_view major = row.name.substr(0, row.name.rfind('.'));
    const std::string_view bare = row.name.substr(0, row.name.find('/'));
    const bool short_name = bare.substr(5) == name;   // "exec" for "kfab.exec"
    if (row.name == name || major == name || bare == name || short_name) found = &row;   // rows ascend: the newest wins
  }
  return found;
}

}  // namespace kfab::json
