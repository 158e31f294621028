#include "commands/lint.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>

#include <fmt/format.h>

#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "commands/criteria_checks.hpp"
#include "json/diagnostic.hpp"
#include "provision/desired_state.hpp"
#include "ssh/ssh_config.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_groups_checked = 1000;   // of one site: mistakes in roles repeat from group to group

std::pair<std::string, std::string> kind_and_name(const manifest::Loaded& loaded) {
  struct Visitor {
    using Pair = std::pair<std::string, std::string>;
    Pair operator()(const std::monostate&) const { return {}; }
    Pair operator()(const manifest::Site& site) const { return {"Site", site.metadata.name}; }
    Pair operator()(const manifest::Program& program) const { return {"Program", program.metadata.name}; }
    Pair operator()(const manifest::Profile& profile) const { return {"Profile", profile.name}; }
    Pair operator()(const manifest::CriteriaSet& set) const { return {"Criteria", set.name}; }
    Pair operator()(const manifest::Role& role) const { return {"Role", role.name}; }
  };
  return std::visit(Visitor{}, loaded.document);
}

std::size_t count_of(const Diagnostics& all, Severity severity) {
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const Diagnostic& d) { return d.severity == severity; }));
}

// What only working out a node's desired state shows: undefined template names, cycles, two resources on one thing. One
// node of each group stands for its group.
void check_roles(const manifest::Site& site, Diagnostics& diagnostics) {
  std::set<std::string> groups;
  for (const manifest::Node& node : site.nodes) {
    if (!groups.insert(node.group).second || groups.size() > most_groups_checked) continue;
    for (Diagnostic& why : provision::desired_state(site, node).diagnostics) {
      const bool told = std::any_of(diagnostics.begin(), diagnostics.end(), [&](const Diagnostic& d) {
        return d.code == why.code && d.message == why.message && d.path == why.path;
      });
      if (!told) diagnostics.push_back(std::move(why));
    }
  }
}

// What every command that reaches nodes would refuse.
void check_reach(const manifest::Site& site, Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < site.connectivity.via.size(); ++i) {
    auto spec = ssh::parse_host_spec(site.connectivity.via[i]);
    if (spec) continue;
    Diagnostic why = std::move(spec).error();
    why.path = fmt::format("spec.connectivity.via[{}]", i);
    diagnostics.push_back(std::move(why));
  }
}

}  // namespace

LintedFile linted(std::string file, manifest::Loaded loaded) {
  LintedFile out;
  out.file = std::move(file);
  std::tie(out.kind, out.name) = kind_and_name(loaded);
  if (const auto* site = loaded.site()) {
    check_roles(*site, loaded.diagnostics);
    check_reach(*site, loaded.diagnostics);
  }
  auto of_criteria = check_criteria(loaded);
  std::move(of_criteria.begin(), of_criteria.end(), std::back_inserter(loaded.diagnostics));
  out.valid = !has_errors(loaded.diagnostics);
  if (out.valid) out.manifest_sha256 = loaded.sha256;
  out.diagnostics = std::move(loaded.diagnostics);
  out.sources = std::move(loaded.sources);
  return out;
}

json::Value to_json(const LintResult& result) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? json::Value() : json::Value(text); };
  json::Array files;
  for (const LintedFile& one : result.files) {
    json::Object row;
    row.set("file", one.file).set("kind", text_or_null(one.kind)).set("name", text_or_null(one.name));
    row.set("valid", one.valid).set("manifest_sha256", text_or_null(one.manifest_sha256));
    row.set("errors", count_of(one.diagnostics, Severity::error)).set("warnings", count_of(one.diagnostics, Severity::warning));
    row.set("diagnostics", json::to_json(one.diagnostics));
    files.push_back(std::move(row));
  }
  return json::Object{{"files", std::move(files)}};
}

void render(const LintResult& result, term::Writer& out) {
  for (const LintedFile& one : result.files) {
    const auto errors = static_cast<long long>(count_of(one.diagnostics, Severity::error));
    const auto warnings = static_cast<long long>(count_of(one.diagnostics, Severity::warning));
    out.text(one.file).text(": ");
    if (!one.readable) {
      out.line(term::Style::bad, "cannot be read");
      continue;
    }
    if (one.valid) out.text(term::Style::good, "valid").text(fmt::format(": {} {}", one.kind, one.name));
    else out.text(term::Style::bad, "invalid").text(fmt::format(": {}", plural(errors, "error")));
    out.line(warnings > 0 ? ", " + plural(warnings, "warning") : "");
  }
}

CommandOutput run_lint(const LintOptions& options, Env& env) {
  LintResult result;
  CommandOutput out;
  for (const std::string& file : options.files) {
    if (file == "-") {
      auto text = env.read_stdin();
      if (text) {
        result.files.push_back(linted("-", manifest::load_text(*text, "-", std::filesystem::path())));
      } else {
        LintedFile unread;
        unread.file = file;
        unread.readable = false;
        unread.diagnostics.push_back(text.error());
        result.files.push_back(std::move(unread));
      }
    } else {
      result.files.push_back(linted(file, manifest::load_file(file)));
      LintedFile& one = result.files.back();
      one.readable = std::none_of(one.diagnostics.begin(), one.diagnostics.end(),
                                  [](const Diagnostic& d) { return d.code == code::file_unreadable; });
    }
    LintedFile& one = result.files.back();
    out.diagnostics.insert(out.diagnostics.end(), one.diagnostics.begin(), one.diagnostics.end());
    out.sources.insert(out.sources.end(), one.sources.begin(), one.sources.end());
    if (!one.readable) out.outcome = Outcome::invalid;
    else if (!one.valid && out.outcome == Outcome::yes) out.outcome = Outcome::no;
  }
  if (result.files.size() == 1 && result.files.front().valid) out.site = {result.files.front().name, result.files.front().manifest_sha256};
  out.data = to_json(result);
  out.render = [result = std::move(result)](term::Writer& writer) { render(result, writer); };
  return out;
}

}  // namespace kfab::commands
