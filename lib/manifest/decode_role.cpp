#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/fact_names.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"
#include "manifest/resource_types.hpp"

namespace kfab::manifest {
namespace {

constexpr std::size_t max_source_bytes = std::size_t{8} << 20;   // of a file resource
constexpr std::int64_t most_at_once = 1'000'000;

bool is_template(const std::string& text) { return text.find("{{") != std::string::npos; }

// A value as its attribute wants it: text that YAML would take for a number stays text where text is wanted.
json::Value attribute_value(const AttributeSpec& spec, const YamlNode& node) {
  const bool texts = spec.type != AttributeType::integer && spec.type != AttributeType::boolean && spec.type != AttributeType::scalar;
  if (spec.type == AttributeType::mode) return to_json_value(node);   // 0644 unquoted is a number to others: refused
  if (!texts) return to_json_value(node);
  if (node.shape == Shape::scalar) {
    const json::Value plain = to_json_value(node);
    return plain.is_bool() ? plain : json::Value(node.text);
  }
  if (node.shape == Shape::sequence) {
    json::Array out;
    for (const YamlNode& item : node.items) {
      if (item.shape == Shape::scalar) out.emplace_back(item.text);
      else out.push_back(to_json_value(item));
    }
    return out;
  }
  return to_json_value(node);
}

// One string is a list of one.
json::Value as_declared(const AttributeSpec& spec, json::Value value) {
  const bool list = spec.type == AttributeType::string_list || spec.type == AttributeType::words;
  if (list && value.is_string()) return json::Array{value};
  return value;
}

void read_concurrency(Fields& fields, std::size_t& out) {
  fields.with("concurrency", [&](const Cursor& at) {
    std::int64_t nodes = 0;
    if (read_count(at, nodes, 1, most_at_once)) out = static_cast<std::size_t>(nodes);
  });
}

struct Dependencies {
  std::vector<std::pair<std::string, Place>> after;
};

void read_source(const Cursor& at, Library& library, json::Object& attributes) {
  const std::string& path = at.node.text;
  if (is_template(path)) {
    at.report(code::bad_attribute, "the source of a file is read when the manifest is loaded and cannot hold variables", "write the path out");
    return;
  }
  if (const SourcePtr data = library.open_data(at, path, max_source_bytes)) {
    if (is_valid_utf8(data->text())) attributes.set("content", data->text());
    else at.report(code::bad_referenced_file, fmt::format("{} is not UTF-8 text", one_line(path)), "use `kfab copy` for other files");
  }
}

void read_resource(const Cursor& at, Library& library, ResourceDecl& out, Dependencies& dependencies) {
  out.span = at.span();
  Fields fields(at);
  if (!fields.is_map()) return;
  const ResourceType* type = nullptr;
  fields.with("type", [&](const Cursor& word) {
    out.span = word.span();
    if (read_word(word, out.type, resource_type_names())) type = find_resource_type(out.type);
  }, Need::required);
  fields.with("id", [&](const Cursor& id) { read_text(id, out.id); });
  const auto references = [&](std::string_view key, std::vector<std::string>& ids) {
    fields.with(key, [&](const Cursor& list) {
      const bool one = list.node.shape == Shape::scalar;
      if (!one && list.node.shape != Shape::sequence) {
        list.wrong_type("a list of ids");
        return;
      }
      for (std::size_t i = 0; i < (one ? 1 : list.node.items.size()); ++i) {
        const Path path{&list.path, {}, i};
        const Cursor item{list.document, one ? list.node : list.node.items[i], one ? list.path : path};
        std::string id;
        if (!read_text(item, id)) continue;
        dependencies.after.emplace_back(id, item.place());
        ids.push_back(std::move(id));
      }
    });
  };
  references("after", out.after);
  read_concurrency(fields, out.concurrency);
  if (type && type->name == "service") references("restart_on", out.restart_on);
  if (!type) {
    for (std::size_t i = 0; i < at.node.size(); ++i) fields.get(at.node.key(i).text);   // nobody knows what it may say
    return;
  }
  json::Object attributes;
  for (const AttributeSpec& spec : type->attributes) {
    const bool there = fields.with(spec.name, [&](const Cursor& value) {
      json::Value read = attribute_value(spec, value.node);
      if (const auto problem = attribute_problem(spec, read)) {
        value.report(code::bad_attribute, fmt::format("{}: {}", spec.name, *problem), "not what this takes");
        return;
      }
      if (const auto* fact = type->name == "assertion" && spec.name == "fact" ? read.as_string() : nullptr; fact && !is_template(*fact) && !is_fact_name(*fact))
        value.report(code::unknown_fact, fmt::format("nodes tell no fact '{}', so that this can never hold", one_line(*fact, 60)), "no fact of a node", similar_fact_names(*fact));
      attributes.set(std::string(spec.name), as_declared(spec, std::move(read)));
      if (type->name == "file" && spec.name == "source") read_source(value, library, attributes);
    });
    if (!there && spec.required)
      at.report(code::bad_attribute, fmt::format("a {} needs '{}': {}", type->name, spec.name, spec.help), "in this resource");
  }
  fields.done();
  out.attributes = std::move(attributes);
  for (const ResourceProblem& problem : resource_problems(*type, out.attributes)) {
    const YamlNode* value = problem.attribute.empty() ? nullptr : at.node.find(problem.attribute);
    const Path path{&at.path, problem.attribute, 0};
    if (value) Cursor{at.document, *value, path}.report(code::bad_attribute, problem.message, "here");
    else at.report(code::bad_attribute, problem.message, "in this resource");
  }
  if (type->name == "reboot" && out.attributes.string_or("when") == "changed" && out.after.empty())
    at.report(code::bad_attribute, "a reboot with when: changed needs 'after': the resources whose change it waits for", "in this resource");
  if (out.id.empty()) out.id = default_resource_id(*type, out.attributes);
}

}  // namespace

void read_role(const Cursor& root, Library& library, Role& out) {
  out.file = root.document.source->file();
  Fields document(root);
  document.get("apiVersion");
  document.get("kind");
  document.with("metadata", [&](const Cursor& at) {
    Metadata metadata;
    read_metadata(at, metadata);
    out.name = metadata.name;
    out.version = metadata.version;
  }, Need::required);
  std::vector<Dependencies> dependencies;
  std::vector<Place> places;
  document.with("spec", [&](const Cursor& spec) {
    Fields fields(spec);
    fields.text("description", out.description);
    fields.values("vars", out.vars);
    fields.text_map("requires", out.needs);
    read_concurrency(fields, out.concurrency);
    fields.each("resources", [&](const Cursor& at) {
      out.resources.emplace_back();
      dependencies.emplace_back();
      places.push_back(at.place());
      read_resource(at, library, out.resources.back(), dependencies.back());
    }, Need::required);
  }, Need::required);

  std::unordered_map<std::string, std::size_t> by_id;
  Words ids;
  const auto report = [&](Code code, const Place& place, std::size_t resource, std::string message, std::string label,
                          Words suggestions = {}) {
    Diagnostic d = make_diagnostic(code, std::move(message));
    d.path = fmt::format("spec.resources[{}]", resource);
    d.span = place.span();
    d.label = std::move(label);
    d.suggestions = std::move(suggestions);
    root.document.findings->add(std::move(d));
  };
  for (std::size_t i = 0; i < out.resources.size(); ++i) {
    const std::string& id = out.resources[i].id;
    if (id.empty()) continue;
    const auto [first, is_new] = by_id.emplace(id, i);
    ids.push_back(id);
    if (!is_new)
      report(code::duplicate_name, places[i], i, fmt::format("a second resource has the id '{}'", one_line(id, 80)),
             fmt::format("first declared on line {}; give one of them its own id", places[first->second].span().line));
  }
  std::vector<std::vector<std::size_t>> before(out.resources.size());
  for (std::size_t i = 0; i < out.resources.size(); ++i)
    for (const auto& [id, place] : dependencies[i].after) {
      const auto found = by_id.find(id);
      if (found != by_id.end()) {
        before[i].push_back(found->second);
        continue;
      }
      auto near = nearest(id, ids, 1);
      std::string label = near.empty() ? std::string("not in this role") : std::string();
      report(code::unknown_reference, place, i, fmt::format("there is no resource '{}'", one_line(id, 80)), std::move(label), std::move(near));
    }
  for (const auto& circle : find_cycles(before)) {
    Words words;
    for (const std::size_t i : circle) words.push_back(out.resources[i].id);
    words.push_back(words.front());
    report(code::dependency_cycle, places[circle.front()], circle.front(),
           "resources wait for each other: " + one_line(join(words, " after "), 300), "part of the circle");
  }
}

}  // namespace kfab::manifest
