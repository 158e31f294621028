#include "commands/interchange.hpp"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/codes/plan.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/kept_records.hpp"
#include "commands/site_session.hpp"
#include "store/store.hpp"
#include "validation/learn.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t largest_file = std::size_t{64} << 20;

// The text as the result, and how many nodes it is about.
CommandOutput text_output(std::string text, std::size_t nodes, CommandOutput output = {}) {
  output.data = json::Object{{"nodes", nodes}, {"text", text}};
  output.render = plain_text(std::move(text));
  return output;
}

// The site of a manifest, or the output of a command that could not start.
std::variant<manifest::Loaded, CommandOutput> site_of(const std::string& path, Env& env) {
  auto loaded = load_manifest(path, env);
  if (has_errors(loaded.diagnostics)) return not_started(loaded.diagnostics, loaded.sources);
  if (loaded.site() == nullptr) return not_started(error(code::not_a_site, fmt::format("{} is not the manifest of a site", one_line(path))));
  return loaded;
}

std::string as_name(std::string_view text) {
  std::string out;
  for (const char c : to_lower(text)) out += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  return out;
}

Result<store::NodeRecord> last_inventory(const manifest::Site& site, const std::string& node, const Env& env) {
  KFAB_TRY(store, open_records(env, site.metadata.name));
  KFAB_TRY(evidence, store->evidence(site.metadata.name, {}, {.full_details = true, .figures = store::EvidenceScope::Figures::none}));
  for (auto& record : evidence.nodes)
    if (record.node == node && record.step == "inventory" && record.detail["facts"].is_object()) return std::move(record);
  return error(code::facts_not_known, fmt::format("no inventory of {} is recorded", one_line(node, 80)));
}

}  // namespace

CommandOutput run_import(const ImportOptions& options, Env& env) {
  auto text = options.file == "-" ? env.read_stdin() : read_file(options.file, largest_file);
  if (!text) return not_started(std::move(text).error());
  auto imported = manifest::import_nodes(options.format, *text, options.file == "-" ? "<stdin>" : options.file);
  if (!imported) return not_started(std::move(imported).error());
  CommandOutput output = text_output(manifest::to_yaml(*imported, options.choices), imported->nodes.size());
  if (has_errors(imported->findings)) output.outcome = Outcome::incomplete;   // a node that could not be read is missing
  output.diagnostics = std::move(imported->findings);
  return output;
}

CommandOutput run_export(const ExportOptions& options, Env& env) {
  auto opened = site_of(options.manifest, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  const auto& loaded = std::get<manifest::Loaded>(opened);
  const auto nodes = select_nodes(*loaded.site(), options.selection);
  CommandOutput output = nodes ? text_output(manifest::export_nodes(options.format, *loaded.site(), *nodes, options.port), nodes->size()) : not_started({nodes.error()}, sources_of(options.selection));
  output.site = {loaded.site()->metadata.name, loaded.sha256};
  return output;
}

CommandOutput run_learn(const LearnOptions& options, Env& env) {
  auto opened = site_of(options.manifest, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  const auto& loaded = std::get<manifest::Loaded>(opened);
  const manifest::Site& site = *loaded.site();
  const auto stop = [&](Diagnostic why) {
    CommandOutput output = not_started(std::move(why));
    output.site = {site.metadata.name, loaded.sha256};
    return output;
  };
  const auto node = std::find_if(site.nodes.begin(), site.nodes.end(), [&](const manifest::Node& one) { return one.name == options.node; });
  if (node == site.nodes.end()) return stop(error(code::unknown_node, fmt::format("the site has no node '{}'", one_line(options.node, 80))));
  auto record = last_inventory(site, options.node, env);
  if (!record) return stop(std::move(record).error());
  const manifest::Profile* present = site.find_profile(node->profile);
  const std::string name = options.name.empty() ? as_name(node->profile + "-learned") : options.name;
  const std::string text = validation::learn_profile(present != nullptr ? *present : manifest::Profile{}, record->detail["facts"],
                                                     {name, node->name, to_string(date_of(record->at))});
  CommandOutput output = text_output(text, 1);
  output.site = {site.metadata.name, loaded.sha256};
  if (record->verdict == Verdict::fail) {
    output.diagnostics.push_back(make_diagnostic(code::node_not_golden, fmt::format("inventory found fault with {}: {}", node->name, one_line(record->reason, 200))));
    output.diagnostics.back().node = node->name;
  }
  return output;
}

}  // namespace kfab::commands
