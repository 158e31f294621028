#include "provision/desired_state.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "manifest/resource_types.hpp"

namespace kfab::provision {
namespace {

using manifest::Node;
using manifest::ResourceDecl;
using manifest::Role;
using manifest::Site;

// A node's own words go into files on the node, and must not be taken for a mark of a secret.
json::Value without_control_characters(const json::Value& value) {
  if (const auto* text = value.as_string()) return printable(*text);
  if (const auto* items = value.as_array()) {
    json::Array out;
    for (const auto& item : *items) out.push_back(without_control_characters(item));
    return out;
  }
  if (const auto* object = value.as_object()) {
    std::vector<json::Member> out;
    for (const auto& [key, member] : object->members()) out.emplace_back(printable(key), without_control_characters(member));
    return json::Object::from_members(std::move(out));
  }
  return value;
}

// Attributes that only the host understands.
bool is_hosts_own(std::string_view attribute) { return attribute == "source" || attribute == "verbatim"; }

// Where in the manifest something about a resource is wrong.
Diagnostic about(const Node& node, const Role& role, const ResourceDecl& declared, Code code,
                 std::string_view attribute, std::string message) {
  Diagnostic problem = error(code, std::move(message));
  problem.path = fmt::format("roles.{}.{}{}{}", role.name, declared.id, attribute.empty() ? "" : ".", attribute);
  problem.span = declared.span;
  problem.node = node.name;
  return problem;
}

// The indices of a role's resources in an order in which everything stands after what it waits for; otherwise the
// order of declaration. What is left in a circle is not in the result.
std::vector<std::size_t> ordered(const std::vector<std::set<std::size_t>>& waits_for) {
  std::vector<std::size_t> order;
  std::vector<bool> placed(waits_for.size(), false);
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t i = 0; i < waits_for.size(); ++i) {
      const bool free =
          std::all_of(waits_for[i].begin(), waits_for[i].end(), [&](std::size_t other) { return placed[other]; });
      if (placed[i] || !free) continue;
      placed[i] = progress = true;
      order.push_back(i);
      break;   // from the start again: an earlier one may be free now
    }
  }
  return order;
}

// A circle among the resources that could not be placed: follow any of what each waits for until one comes again.
std::vector<std::size_t> circle(const std::vector<std::set<std::size_t>>& waits_for,
                                const std::vector<std::size_t>& order) {
  std::set<std::size_t> left;
  for (std::size_t i = 0; i < waits_for.size(); ++i) left.insert(i);
  for (const auto i : order) left.erase(i);
  std::vector<std::size_t> path;
  std::size_t at = *left.begin();
  for (;;) {
    const auto seen = std::find(path.begin(), path.end(), at);
    if (seen != path.end()) return {seen, path.end()};
    path.push_back(at);
    at = *std::find_if(waits_for[at].begin(), waits_for[at].end(),
                       [&](std::size_t other) { return left.count(other) > 0; });
  }
}

class Planner {
 public:
  Planner(const Site& site, const Node& node, const json::Value& facts) : site_(site), node_(node), facts_(facts) {}

  DesiredStateResult plan() {
    const auto profile = site_.profiles.find(node_.profile);
    if (profile == site_.profiles.end()) {
      Diagnostic problem =
          error(code::profile_unknown, fmt::format("no profile '{}' is defined", one_line(node_.profile, 60)));
      problem.node = node_.name;
      std::vector<std::string> names;
      for (const auto& [name, value] : site_.profiles) names.push_back(name);
      problem.suggestions = nearest(node_.profile, names);
      result_.diagnostics.push_back(std::move(problem));
      return std::move(result_);
    }
    state_.node = node_.name;
    check_secrets("profiles." + profile->second.name, profile->second.vars, profile->second.span);
    check_secrets("nodes." + node_.name, node_.vars, std::nullopt);
    for (const auto& name : profile->second.roles) {
      const auto role = site_.roles.find(name);
      if (role == site_.roles.end()) unknown_role(name, profile->second);
      else add_role(role->second);
    }
    if (has_errors(result_.diagnostics)) return std::move(result_);
    state_.sha256 = declared_sha256(state_);
    result_.state = std::move(state_);
    return std::move(result_);
  }

 private:
  void unknown_role(const std::string& name, const manifest::Profile& profile) {
    Diagnostic problem =
        error(code::role_unknown,
              fmt::format("profile {} asks for the role '{}', which is not defined", profile.name, one_line(name, 60)));
    problem.span = profile.span;
    problem.node = node_.name;
    std::vector<std::string> names;
    for (const auto& [known, value] : site_.roles) names.push_back(known);
    problem.suggestions = nearest(name, names);
    result_.diagnostics.push_back(std::move(problem));
  }

  // Variables without a default, such as the site's mirror: said before anything starts, and in the role's own words.
  bool has_what_it_needs(const Role& role, const Variables& variables) {
    bool all = true;
    for (const auto& [name, purpose] : role.needs) {
      const auto it = variables.find(name);
      const auto* text = it == variables.end() ? nullptr : it->second.as_string();
      const auto* list = it == variables.end() ? nullptr : it->second.as_array();
      if (it != variables.end() && !it->second.is_null() && !(text && text->empty()) && !(list && list->empty())) continue;
      all = false;
      Diagnostic problem = error(code::role_needs, fmt::format("role {} needs the variable {}: {}", role.name, one_line(name, 60), one_line(purpose, 200)));
      problem.path = fmt::format("roles.{}.requires.{}", role.name, name);
      problem.node = node_.name;
      result_.diagnostics.push_back(std::move(problem));
    }
    return all;
  }

  void add_role(const Role& role) {
    if (!roles_added_.insert(role.name).second) return;   // named twice: once is enough
    const Variables variables = variables_of(site_, node_, role, facts_);
    check_secrets("roles." + role.name, role.vars, std::nullopt);
    if (!has_what_it_needs(role, variables)) return;
    std::vector<DesiredResource> resources;
    std::map<std::string, std::size_t> index;   // by the id as declared
    for (const auto& declared : role.resources) {
      if (!index.emplace(declared.id, resources.size()).second)
        result_.diagnostics.push_back(
            about(node_, role, declared, code::resource_id_duplicate, "",
                  fmt::format("the id '{}' is used twice in role {}", one_line(declared.id, 80), role.name)));
      resources.push_back(resolve(role, declared, variables));
    }
    std::vector<std::set<std::size_t>> waits_for(resources.size());
    for (std::size_t i = 0; i < resources.size(); ++i) {
      resources[i].after = connect(role, i, role.resources[i].after, index, resources, waits_for);
      resources[i].restart_on = connect(role, i, role.resources[i].restart_on, index, resources, waits_for);
    }
    const auto order = ordered(waits_for);
    if (order.size() < resources.size()) {
      std::vector<std::string> ids;
      for (const auto i : circle(waits_for, order)) ids.push_back(role.resources[i].id);
      ids.push_back(ids.front());
      result_.diagnostics.push_back(about(
          node_, role, role.resources[index.at(ids.front())], code::resource_cycle, "after",
          fmt::format("resources of role {} wait for each other: {}", role.name, one_line(join(ids, " -> "), 300))));
    }
    for (const auto i : order) {
      warn_of_conflict(role, role.resources[i], resources[i]);
      known_ids_.insert(resources[i].id);
      state_.resources.push_back(std::move(resources[i]));
    }
  }

  // Ids in this role by their declared name, else whole ids of roles before it.
  std::vector<std::string> connect(const Role& role, std::size_t self, const std::vector<std::string>& names,
                                   const std::map<std::string, std::size_t>& index,
                                   const std::vector<DesiredResource>& resources,
                                   std::vector<std::set<std::size_t>>& waits_for) {
    std::vector<std::string> ids;
    for (const auto& name : names) {
      if (const auto it = index.find(name); it != index.end()) {
        waits_for[self].insert(it->second);
        ids.push_back(resources[it->second].id);
      } else if (known_ids_.count(name) > 0) {
        ids.push_back(name);
      } else {
        Diagnostic problem = about(node_, role, role.resources[self], code::resource_dependency_unknown, "after",
                                   fmt::format("{} waits for '{}', which is not in role {}", role.resources[self].id,
                                               one_line(name, 80), role.name));
        std::vector<std::string> known;
        for (const auto& [id, i] : index) known.push_back(id);
        problem.suggestions = nearest(name, known);
        result_.diagnostics.push_back(std::move(problem));
      }
    }
    return ids;
  }

  DesiredResource resolve(const Role& role, const ResourceDecl& declared, const Variables& variables) {
    DesiredResource resource;
    resource.type = declared.type;
    Diagnostics unused;
    resource.id = role.name + "/" + expand_template(declared.id, variables, unused).value_or(declared.id);
    if (role.concurrency > 0) resource.turns.push_back({role.name, role.concurrency});
    if (declared.concurrency > 0) resource.turns.push_back({resource.id, declared.concurrency});
    const auto* type = manifest::find_resource_type(declared.type);
    const auto* attributes = declared.attributes.as_object();
    if (type == nullptr || attributes == nullptr) {
      result_.diagnostics.push_back(about(node_, role, declared, code::resource_invalid, "type",
                                          fmt::format("there is no resource type '{}'", one_line(declared.type, 40))));
      return resource;
    }
    const bool verbatim = declared.attributes.bool_or("verbatim", false);
    json::Object expanded;
    bool good = true;
    for (const auto& [name, value] : attributes->members()) {
      if (is_hosts_own(name) || value.is_null()) continue;
      auto resolved =
          verbatim && name == "content" ? std::optional(value) : expand(role, declared, name, value, variables);
      good = good && resolved;
      if (resolved) expanded.set(name, std::move(*resolved));
    }
    resource.attributes = std::move(expanded);
    if (good) check(role, declared, *type, resource);
    guard_secrets(role, declared, *type, resource);
    return resource;
  }

  // A secret may stand where the agent can be told not to show it, and nowhere else: ids and paths are in every message,
  // and what is in a command is in the node's list of processes.
  void guard_secrets(const Role& role, const ResourceDecl& declared, const manifest::ResourceType& type, DesiredResource& resource) {
    bool any = !secrets_in(resource.id).empty();
    if (any) refuse_secret(role, declared, "id");
    for (const auto& [name, value] : resource.attributes.as_object()->members()) {
      const auto ids = secrets_in(value);
      if (ids.empty()) continue;
      if (name != "content" || type.find("sensitive") == nullptr) refuse_secret(role, declared, name);
      state_.secrets.insert(ids.begin(), ids.end());
      any = true;
    }
    if (!any) return;
    json::Object attributes = *resource.attributes.as_object();
    resource.attributes = std::move(attributes.set("sensitive", true));
  }

  void refuse_secret(const Role& role, const ResourceDecl& declared, std::string_view attribute) {
    result_.diagnostics.push_back(about(node_, role, declared, code::secret_not_allowed, attribute,
                                        fmt::format("a secret cannot stand in {} of {}, where it would be seen", attribute, one_line(declared.id, 80))));
  }

  // A declaration that is none would be taken for an ordinary mapping.
  void check_secrets(const std::string& where, const std::map<std::string, json::Value>& variables, const std::optional<SourceSpan>& span) {
    for (const auto& [name, value] : variables) {
      Diagnostics problems;
      (void)with_marks(value, problems);
      for (auto& problem : problems) {
        problem.path = where + ".vars." + name;
        problem.span = span;
        problem.node = node_.name;
        problem.message = fmt::format("{}: {}", one_line(name, 60), problem.message);
        result_.diagnostics.push_back(std::move(problem));
      }
    }
  }

  std::optional<json::Value> expand(const Role& role, const ResourceDecl& declared, const std::string& attribute,
                                    const json::Value& value, const Variables& variables) {
    Diagnostics problems;
    // A file's content stays text whatever its variable is.
    const bool text = attribute == "content" && value.is_string();
    std::optional<json::Value> expanded;
    if (!text) expanded = expand_value(value, variables, problems);
    else if (auto whole = expand_template(*value.as_string(), variables, problems)) expanded = std::move(*whole);
    for (auto& inner : problems) {
      Diagnostic problem = about(node_, role, declared, inner.code, attribute,
                                 fmt::format("{} of {}, line {}, column {}: {}", attribute, one_line(declared.id, 80),
                                             inner.span->line, inner.span->column, inner.message));
      problem.suggestions = std::move(inner.suggestions);
      result_.diagnostics.push_back(std::move(problem));
    }
    return expanded;
  }

  void check(const Role& role, const ResourceDecl& declared, const manifest::ResourceType& type,
             const DesiredResource& resource) {
    for (const auto& [name, value] : resource.attributes.as_object()->members()) {
      const auto* spec = type.find(name);
      if (spec == nullptr)
        result_.diagnostics.push_back(about(node_, role, declared, code::resource_invalid, name,
                                            fmt::format("a {} has no attribute '{}'", type.name, one_line(name, 40))));
      else if (auto problem = manifest::attribute_problem(*spec, value, true))
        result_.diagnostics.push_back(about(node_, role, declared, code::resource_invalid, name,
                                            fmt::format("{} of {}: {}", name, one_line(declared.id, 80), *problem)));
    }
    for (const auto& spec : type.attributes)
      if (spec.required && resource.attributes[spec.name].is_null())
        result_.diagnostics.push_back(about(node_, role, declared, code::resource_invalid, spec.name,
                                            fmt::format("{} has no {}", one_line(declared.id, 80), spec.name)));
    for (auto& problem : manifest::resource_problems(type, resource.attributes))
      result_.diagnostics.push_back(about(node_, role, declared, code::resource_invalid, problem.attribute,
                                          fmt::format("{}: {}", one_line(declared.id, 80), problem.message)));
  }

  // The same file, service, ... from two roles, said differently: each run would change it back and forth.
  void warn_of_conflict(const Role& role, const ResourceDecl& declared, const DesiredResource& resource) {
    const auto* type = manifest::find_resource_type(resource.type);
    if (type == nullptr) return;
    const std::string key = manifest::resource_identity(*type, resource.attributes);
    if (key.empty()) return;
    const auto [it, fresh] = declared_things_.emplace(key, std::pair(resource.id, json::dump(resource.attributes)));
    if (fresh || it->second.second == json::dump(resource.attributes)) return;
    result_.diagnostics.push_back(
        about(node_, role, declared, code::resource_conflict, "",
              fmt::format("{} and {} declare the same thing differently", it->second.first, resource.id)));
  }

  const Site& site_;
  const Node& node_;
  const json::Value& facts_;
  DesiredState state_;
  DesiredStateResult result_;
  std::set<std::string> known_ids_, roles_added_;
  std::map<std::string, std::pair<std::string, std::string>> declared_things_;
};

}  // namespace

Variables variables_of(const Site& site, const Node& node, const Role& role, const json::Value& facts) {
  Variables variables;
  Diagnostics told_elsewhere;
  const auto add = [&](const std::map<std::string, json::Value>& declared) {
    for (const auto& [name, value] : declared) add_variable(variables, name, with_marks(value, told_elsewhere));
  };
  if (facts.is_object()) add_variable(variables, "facts", without_control_characters(facts));
  add(role.vars);
  if (const auto profile = site.profiles.find(node.profile); profile != site.profiles.end()) add(profile->second.vars);
  add(node.vars);
  const std::pair<const char*, const std::string&> given[] = {
      {"node.name", node.name},          {"node.address", node.address}, {"node.rack", node.rack},
      {"node.slot", node.slot},          {"node.serial", node.serial},   {"node.group", node.group},
      {"site.name", site.metadata.name}, {"tranche.name", node.tranche}, {"profile.name", node.profile}};
  for (const auto& [name, value] : given) variables[name] = value;
  return variables;
}

bool asks_for_facts(const Site& site) {
  for (const auto& [name, role] : site.roles)
    for (const auto& resource : role.resources)
      if (json::dump(resource.attributes).find("facts") != std::string::npos) return true;
  return false;
}

json::Array resources_json(const DesiredState& state, WithPace pace) {
  json::Array resources;
  for (const auto& resource : state.resources) {
    json::Array after, restart_on;
    for (const auto& id : resource.after) after.emplace_back(id);
    for (const auto& id : resource.restart_on) restart_on.emplace_back(id);
    resources.emplace_back(json::Object{{"id", resource.id},
                                        {"type", resource.type},
                                        {"attributes", resource.attributes},
                                        {"after", std::move(after)},
                                        {"restart_on", std::move(restart_on)}});
    if (pace == WithPace::no || resource.turns.empty()) continue;
    json::Array turns;
    for (const auto& turn : resource.turns) turns.emplace_back(json::Object{{"name", turn.name}, {"limit", turn.limit}});
    json::Object with_turns = *resources.back().as_object();
    resources.back() = std::move(with_turns.set("turns", std::move(turns)));
  }
  return resources;
}

std::map<std::string, std::size_t> turn_limits(const std::vector<DesiredState>& states) {
  std::map<std::string, std::size_t> limits;
  for (const auto& state : states)
    for (const auto& resource : state.resources)
      for (const auto& turn : resource.turns) {
        const auto [at, fresh] = limits.emplace(turn.name, turn.limit);
        if (!fresh) at->second = std::min(at->second, turn.limit);
      }
  return limits;
}

DesiredStateResult desired_state(const Site& site, const Node& node, const json::Value& facts) { return Planner(site, node, facts).plan(); }

std::string declared_sha256(const DesiredState& state) { return sha256_hex(json::dump(resources_json(state))); }

void seal(DesiredState& state, const SecretValues& values) {
  if (!state.secrets.empty()) state.sha256 = sha256_hex(json::dump(with_digests(resources_json(state), values)));
}

json::Object agent_request(const DesiredState& state, Mode mode, const SecretValues& values) {
  json::Value resources = resources_json(state, WithPace::yes);
  return json::Object{{"mode", mode == Mode::plan ? "plan" : "apply"}, {"desired_sha256", state.sha256},
                      {"resources", state.secrets.empty() ? std::move(resources) : filled(resources, values)}};
}

}  // namespace kfab::provision
