#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/fact_names.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"

namespace kfab::manifest {
namespace {

// Which of the agent's devices tests the accelerators of a vendor, unless the profile says otherwise.
std::string_view device_of(std::string_view vendor) {
  if (vendor == "nvidia") return "cuda";
  return vendor == "cpu" ? "cpu" : "vendor";
}

void read_nominal(const Cursor& at, Profile& out) {
  if (at.node.shape != Shape::map) {
    at.wrong_type("a map of figures");
    return;
  }
  for (std::size_t i = 0; i < at.node.size(); ++i) {
    const std::string& key = at.node.key(i).text;
    const Path path{&at.path, key, 0};
    const Cursor value{at.document, at.node.value(i), path};
    double number = 0;
    if (value.node.shape == Shape::map) {
      Fields fields(value);
      fields.with("value", [&](const Cursor& bare) {
        if (read_number(bare, number, 0, 1e15)) out.nominal[key] = number;
      }, Need::required);
      std::string source;
      fields.source(source);
      if (!source.empty()) out.nominal_sources[key] = source;
      fields.with("as_of", [&](const Cursor& day) {
        Date date;
        read_date(day, date);
      });
    } else if (read_number(value, number, 0, 1e15)) {
      out.nominal[key] = number;
    }
  }
}

// {"cpu.threads": {min: 64}}: each fact with min, max, equal or one_of.
void read_expect(const Cursor& at, json::Value& out) {
  if (at.node.shape != Shape::map) {
    at.wrong_type("a map of facts");
    return;
  }
  json::Object all;
  for (std::size_t i = 0; i < at.node.size(); ++i) {
    const std::string& key = at.node.key(i).text;
    const Path path{&at.path, key, 0};
    if (!is_fact_name(key))
      Cursor{at.document, at.node.key(i), path}.report(code::unknown_fact, fmt::format("nodes tell no fact '{}', so that it can never be judged", one_line(key, 60)), "no fact of a node",
                                                       similar_fact_names(key));
    const Cursor fact{at.document, at.node.value(i), path};
    Fields fields(fact);
    if (!fields.is_map()) continue;
    json::Object limits;
    for (const std::string_view limit : {"min", "max"})
      fields.with(limit, [&](const Cursor& value) {
        double number = 0;
        if (read_number(value, number, -1e18, 1e18)) limits.set(std::string(limit), to_json_value(value.node));
      });
    fields.with("equal", [&](const Cursor& value) { limits.set("equal", to_json_value(value.node)); });
    fields.with("one_of", [&](const Cursor& value) {
      if (value.node.shape == Shape::sequence) limits.set("one_of", to_json_value(value.node));
      else value.wrong_type("a list");
    });
    fields.done();
    if (limits.empty() && fact.node.items.empty()) fact.report(code::missing_key, "a fact needs min, max, equal or one_of", "says nothing");
    all.set(key, std::move(limits));
  }
  out = std::move(all);
}

void read_pcie(const Cursor& at, Profile& out) {
  Fields fields(at);
  fields.small_count("gen", out.pcie_gen, 1, 8);
  fields.small_count("width", out.pcie_width, 1, 32);
}

void read_criterion(const Cursor& at, Criterion& out) {
  static const Words devices{"cuda", "cpu", "vendor", "any"}, directions{"min", "max", "equal"},
      bases{"nominal", "fleet_relative", "record_only"};
  out.span = at.span();
  out.device = "any";
  Fields fields(at);
  fields.name("id", out.id, Need::required);
  fields.text("metric", out.metric, Need::required);
  fields.word("device", out.device, devices);
  fields.text("unit", out.unit, Need::required);
  for (const auto& [key, span] : {std::pair{"metric", &out.metric_span}, std::pair{"unit", &out.unit_span}})
    if (const YamlNode* value = at.node.find(key)) *span = Cursor{at.document, *value, at.path}.span();
  std::string word;
  fields.word("basis", word, bases);
  if (word == "fleet_relative") out.basis = Basis::fleet_relative;
  if (word == "record_only") out.basis = Basis::record_only;
  const bool judged = out.basis != Basis::record_only;
  word.clear();
  fields.word("direction", word, directions, judged ? Need::required : Need::optional);
  if (word == "max") out.direction = Direction::max;
  if (word == "equal") out.direction = Direction::equal;
  fields.with("limit", [&](const Cursor& value) {
    double number = 0;
    if (read_number(value, number, -1e15, 1e15)) out.limit = number;
    out.limit_span = value.span();
  });
  fields.text("nominal", out.nominal_key);
  fields.with("factor", [&](const Cursor& value) { read_number(value, out.factor, 0, 1e6); });
  fields.with("on_violation", [&](const Cursor& value) {
    std::string verdict;
    if (read_word(value, verdict, {"fail", "degraded"})) out.on_violation = verdict == "fail" ? Verdict::fail : Verdict::degraded;
  });
  fields.with("on_missing", [&](const Cursor& value) {
    std::string verdict;
    if (!read_word(value, verdict, {"not_judged", "fail", "skip", "skip_unsupported"})) return;
    out.on_missing = verdict == "fail" ? Verdict::fail : Verdict::not_judged;
    out.optional = verdict == "skip";
    out.optional_if_unsupported = verdict == "skip_unsupported";
  });
  fields.text("action", out.action);
  fields.source(out.source);
  if (!judged && (fields.has("limit") || fields.has("nominal")))
    at.report(code::contradictory_keys, "a criterion that is only recorded has no limit", "remove limit and nominal, or choose another basis");
  if (judged && !fields.has("limit") && !fields.has("nominal"))
    at.report(code::missing_key, "a criterion needs a limit, or a nominal figure that gives one", "add `limit` or `nominal`",
              {}, {"where no threshold is agreed yet, write `basis: record_only`"});
  if (fields.has("limit") && fields.has("nominal"))
    at.report(code::contradictory_keys, "a criterion has a limit or a nominal figure, not both", "remove one of the two");
  if (out.basis == Basis::fleet_relative && fields.has("nominal"))
    at.report(code::contradictory_keys, "a criterion relative to the fleet has no nominal figure", "give `limit` in robust standard deviations");
}

// Adds it, or puts it in the place of the one with the same id.
void take_criterion(CriteriaSet& set, Criterion one) {
  const auto same = std::find_if(set.criteria.begin(), set.criteria.end(), [&](const Criterion& c) { return !c.id.empty() && c.id == one.id; });
  if (same == set.criteria.end()) set.criteria.push_back(std::move(one));
  else *same = std::move(one);
}

}  // namespace

void read_profile(const Cursor& root, Library& library, Profile& out) {
  static const Words vendors{"nvidia", "furiosa", "rebellions", "amd", "intel", "cpu", "unknown"};
  Fields document(root);
  document.get("apiVersion");
  document.get("kind");
  document.with("metadata", [&](const Cursor& at) {
    Metadata metadata;
    read_metadata(at, metadata);
    out.name = metadata.name;
    out.version = metadata.version;
    out.span = at.span();
  }, Need::required);
  document.with("spec", [&](const Cursor& spec) {
    Fields fields(spec);
    fields.word("vendor", out.vendor, vendors, Need::required);
    fields.text("accelerator", out.accelerator, Need::required);
    fields.word("function", out.function, {"pf", "vf"});
    out.device = device_of(out.vendor);
    fields.word("device", out.device, {"cuda", "cpu", "vendor"});
    fields.small_count("per_node", out.per_node, 0, 1024);
    fields.quantity("nameplate", out.nameplate_kw, power_kw, 0, 1e6);
    fields.quantity("memory", out.memory_gib, memory_gib, 0, 1e9);
    fields.with("pcie", [&](const Cursor& at) { read_pcie(at, out); });
    fields.small_count("nvlinks", out.nvlinks, 0, 1024);
    fields.with("nominal", [&](const Cursor& at) { read_nominal(at, out); });
    fields.text_map("pins", out.pins);
    fields.each("roles", [&](const Cursor& ref) {
      std::string name;
      if (library.role(ref, name)) out.roles.push_back(std::move(name));
    });
    fields.with("criteria", [&](const Cursor& ref) {
      library.criteria(ref, out.criteria);
      out.criteria_span = ref.span();
    });
    fields.values("vars", out.vars);
    fields.with("expect", [&](const Cursor& at) { read_expect(at, out.expect); });
    read_facts(fields, out.facts);
  }, Need::required);
  if (const CriteriaSet* set = out.criteria.empty() ? nullptr : &library.criteria_sets[out.criteria])
    for (const Criterion& one : set->criteria) {
      // A limit that refers to a figure which the profile does not state could never be judged.
      const bool same_device = one.device == "any" || one.device == out.device;
      if (one.nominal_key.empty() || !same_device || one.optional || figure_of(out, one.nominal_key) || told_by_device(out.device, one.nominal_key)) continue;
      const YamlNode* spec = root.node.find("spec");
      const YamlNode* place = spec ? spec->find("criteria") : nullptr;
      if (!place) continue;
      const Path spec_path{&root.path, "spec", 0}, path{&spec_path, "criteria", 0};
      Words known;
      for (const auto& [key, value] : out.nominal) known.push_back(key);
      Cursor{root.document, *place, path}.report(
          code::unknown_reference, fmt::format("criterion '{}' of '{}' refers to nominal.{}, which the profile does not state", one.id, set->name, one.nominal_key),
          "these criteria need it", nearest(one.nominal_key, known, 1), {fmt::format("add `{}` to spec.nominal, or choose other criteria", one.nominal_key)});
    }
}

void read_criteria(const Cursor& root, Library& library, CriteriaSet& out) {
  Fields document(root);
  document.get("apiVersion");
  document.get("kind");
  std::map<std::string, std::string> sources;
  document.with("metadata", [&](const Cursor& at) {
    Metadata metadata;
    read_metadata(at, metadata);
    out.name = metadata.name;
    out.version = metadata.version;
    sources = std::move(metadata.sources);
    if (metadata.version.empty() && at.node.shape == Shape::map)
      at.report(code::missing_key, "the key 'version' is missing", "criteria are named in verdicts as name@version");
  }, Need::required);
  document.with("spec", [&](const Cursor& spec) {
    Fields fields(spec);
    std::string description;
    fields.text("description", description);
    fields.each("extends", [&](const Cursor& ref) {
      std::string name;
      if (!library.criteria(ref, name)) return;
      const auto base = library.criteria_sets.find(name);
      if (base == library.criteria_sets.end()) {   // still being read: this very set, by one way or another
        ref.report(code::contradictory_keys, fmt::format("the criteria '{}' extend themselves", one_line(name, 60)), "in a circle");
        return;
      }
      out.extends.push_back(name);
      for (const Criterion& one : base->second.criteria) take_criterion(out, one);
    });
    fields.each("without", [&](const Cursor& at) {
      std::string id;
      if (!read_text(at, id)) return;
      const auto gone = std::remove_if(out.criteria.begin(), out.criteria.end(), [&](const Criterion& c) { return c.id == id; });
      if (gone == out.criteria.end()) {
        Words known;
        for (const Criterion& one : out.criteria) known.push_back(one.id);
        at.report(code::unknown_reference, fmt::format("no criterion '{}' is extended here", one_line(id, 60)), "nothing to leave out", nearest(id, known));
      }
      out.criteria.erase(gone, out.criteria.end());
    });
    Unique unique("criterion");
    fields.each("criteria", [&](const Cursor& at) {
      Criterion one;
      read_criterion(at, one);
      if (const YamlNode* id = at.node.find("id"); id && !one.id.empty()) unique.add({at.document, *id, at.path}, one.id);
      // The short name means something in this document only; sets that extend this one hold the words.
      if (const auto words = sources.find(one.source); words != sources.end()) one.source = words->second;
      take_criterion(out, std::move(one));
    }, out.extends.empty() ? Need::required : Need::optional);
  }, Need::required);
}

}  // namespace kfab::manifest
