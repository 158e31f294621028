#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "json/value.hpp"
#include "manifest/csv.hpp"
#include "manifest/interchange.hpp"
#include "manifest/yaml.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::manifest {
namespace {

constexpr std::size_t most_nodes = 100'000;
constexpr std::size_t most_findings = 20;

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  char quote = 0;
  bool any = false;
  for (const char c : line) {
    if (quote != 0) {
      if (c == quote) quote = 0;
      else word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      any = true;
    } else if (c == ' ' || c == '\t') {
      if (any || !word.empty()) words.push_back(std::move(word));
      word.clear();
      any = false;
    } else {
      word += c;
    }
  }
  if (any || !word.empty()) words.push_back(std::move(word));
  return words;
}

// What may stand in a field: one word without control characters.
bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f && c != '"' && c != '\''; });
}

// A host's name or address.
bool is_host_name(std::string_view text) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return is_word(text) && (alnum(text.front()) || text.front() == ':') &&
         std::all_of(text.begin(), text.end(), [&](char c) { return alnum(c) || c == '.' || c == '-' || c == '_' || c == ':'; });
}

// An expression of node sets, or nothing.
std::vector<std::string> expanded(const std::string& expression) {
  const auto set = nodeset::NodeSet::parse(expression);
  if (!set || set->size() > most_nodes) return {};
  return set->names();
}

class Collector {
 public:
  explicit Collector(std::string file) : file_(std::move(file)) {}

  // The node of that name, or null when there is no room or it is no name.
  ImportedNode* node(const std::string& name, std::size_t line) {
    if (const auto known = places_.find(name); known != places_.end()) return &out.nodes[known->second];
    if (!is_host_name(name) || out.nodes.size() >= most_nodes || !nodeset::NodeSet::from_names({name})) {
      leave_out(line, fmt::format("'{}' is no name for a node", one_line(name, 60)));
      return nullptr;
    }
    places_.emplace(name, out.nodes.size());
    out.nodes.emplace_back();
    out.nodes.back().name = name;
    return &out.nodes.back();
  }
  ImportedNode* known(const std::string& name) {
    const auto place = places_.find(name);
    return place == places_.end() ? nullptr : &out.nodes[place->second];
  }
  void leave_out(std::size_t line, std::string why) {
    if (out.findings.size() >= most_findings) return;
    Diagnostic finding = make_diagnostic(code::import_left_out, std::move(why));
    if (line > 0) {
      finding.span = SourceSpan{};
      finding.span->file = file_;
      finding.span->line = finding.span->end_line = static_cast<std::uint32_t>(line);
      finding.span->column = finding.span->end_column = 1;
    }
    out.findings.push_back(std::move(finding));
  }

  Imported out;

 private:
  std::string file_;
  std::map<std::string, std::size_t> places_;
};

void set_word(std::string& field, std::string_view value) {
  if (field.empty() && is_word(value)) field = value;
}

// What logs in and where to: letters, digits and what such names have beside them.
void set_login(std::string& field, std::string_view value, std::string_view beside) {
  const auto fits = [&](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || beside.find(c) != std::string_view::npos; };
  if (std::all_of(value.begin(), value.end(), fits)) set_word(field, value);
}
void set_address(ImportedNode& node, std::string_view value) { set_login(node.address, value, ".:-_%"); }
void set_user(ImportedNode& node, std::string_view value) { set_login(node.user, value, ".-_@"); }

void set_port(ImportedNode& node, std::string_view text) {
  int port = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (wrong == std::errc{} && end == text.data() + text.size() && port > 0 && port < 65536) node.port = port;
}

void set_ansible(ImportedNode& node, std::string_view key, std::string_view value) {
  if (key == "ansible_host" || key == "ansible_ssh_host") set_address(node, value);
  else if (key == "ansible_user" || key == "ansible_ssh_user") set_user(node, value);
  else if (key == "ansible_port" || key == "ansible_ssh_port") set_port(node, value);
  else if (key == "rack") set_word(node.rack, value);
  else if (key == "serial") set_word(node.serial, value);
}

// "gpu[01:50]" as Ansible writes it is "gpu[01-50]" here; a step, [1:9:2], is "[1-9/2]".
std::string as_node_set(std::string text) {
  bool inside = false;
  int colons = 0;
  for (char& c : text) {
    if (c == '[') inside = true, colons = 0;
    else if (c == ']') inside = false;
    else if (c == ':' && inside) c = colons++ == 0 ? '-' : '/';
  }
  return text;
}

void read_ansible_ini(std::string_view text, Collector& to) {
  std::string group, kind;
  std::size_t number = 0;
  for (const auto raw : split_lines(text)) {
    ++number;
    const std::string line(trim(raw.substr(0, raw.find(" #"))));
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      const std::string section = line.substr(1, line.size() - 2);
      const auto colon = section.find(':');
      group = section.substr(0, colon);
      kind = colon == std::string::npos ? "" : section.substr(colon + 1);
      continue;
    }
    if (!kind.empty()) continue;   // variables and children of groups name no further node
    const auto words = words_of(line);
    if (words.empty()) continue;
    const auto stray = std::find_if(words.begin() + 1, words.end(), [](const std::string& word) { return word.find('=') == std::string::npos; });
    if (stray != words.end()) {   // prose, or another tool's file
      to.leave_out(number, fmt::format("'{}' is no variable, such as ansible_host=10.0.0.1, so the line names no node", one_line(*stray, 60)));
      continue;
    }
    const auto names = words[0].find('[') == std::string::npos ? std::vector<std::string>{words[0]} : expanded(as_node_set(words[0]));
    if (names.empty()) to.leave_out(number, fmt::format("'{}' is no range of nodes", one_line(words[0], 60)));
    for (const auto& name : names) {
      ImportedNode* node = to.node(name, number);
      if (node == nullptr) continue;
      if (group != "all" && group != "ungrouped") set_word(node->group, group);
      for (std::size_t i = 1; i < words.size(); ++i)
        if (const auto equals = words[i].find('='); equals != std::string::npos) set_ansible(*node, words[i].substr(0, equals), std::string_view(words[i]).substr(equals + 1));
    }
  }
}

void read_ansible_group(const std::string& name, const YamlNode& group, Collector& to, int depth) {
  if (group.shape != Shape::map || depth > 32) return;
  if (const auto* hosts = group.find("hosts"); hosts != nullptr && hosts->shape == Shape::map)
    for (std::size_t i = 0; i < hosts->size(); ++i) {
      const std::string& pattern = hosts->key(i).text;
      const auto names = pattern.find('[') == std::string::npos ? std::vector<std::string>{pattern} : expanded(as_node_set(pattern));
      for (const auto& host : names) {
        ImportedNode* node = to.node(host, 0);
        if (node == nullptr) continue;
        if (name != "all" && name != "ungrouped") set_word(node->group, name);
        const YamlNode& variables = hosts->value(i);
        for (std::size_t v = 0; variables.shape == Shape::map && v < variables.size(); ++v)
          if (variables.value(v).shape == Shape::scalar) set_ansible(*node, variables.key(v).text, variables.value(v).text);
      }
    }
  if (const auto* children = group.find("children"); children != nullptr && children->shape == Shape::map)
    for (std::size_t i = 0; i < children->size(); ++i) read_ansible_group(children->key(i).text, children->value(i), to, depth + 1);
}

Status read_ansible(std::string_view text, const std::string& file, Collector& to) {
  const bool yaml = file.ends_with(".yml") || file.ends_with(".yaml") || file.ends_with(".json") || trim(text).starts_with("all:") || trim(text).starts_with("---");
  if (!yaml) return read_ansible_ini(text, to), ok();
  Diagnostics problems;
  const Source source(file, std::string(text));
  const auto documents = parse_yaml(source, problems);
  if (has_errors(problems)) return problems.front();
  for (const auto& document : documents)
    for (std::size_t i = 0; document.shape == Shape::map && i < document.size(); ++i) read_ansible_group(document.key(i).text, document.value(i), to, 0);
  return ok();
}

// Lines that end with a backslash go on; with the number of the first.
void each_line(std::string_view text, const std::function<void(std::size_t, const std::string&)>& take) {
  std::string whole;
  std::size_t number = 0, first = 0;
  for (const auto raw : split_lines(text)) {
    ++number;
    std::string_view line = raw.substr(0, raw.find('#'));
    if (whole.empty()) first = number;
    const bool goes_on = trim(line).ends_with('\\');
    whole += goes_on ? line.substr(0, line.rfind('\\')) : line;
    if (goes_on && whole.size() < 1'000'000) continue;
    if (!trim(whole).empty()) take(first, whole);
    whole.clear();
  }
  if (!trim(whole).empty()) take(first, whole);
}

void read_slurm(std::string_view text, Collector& to) {
  each_line(text, [&](std::size_t number, const std::string& line) {
    std::map<std::string, std::string> values;
    for (const auto& word : words_of(line))
      if (const auto equals = word.find('='); equals != std::string::npos) values.emplace(to_lower(word.substr(0, equals)), word.substr(equals + 1));
    const auto said = values.find("nodename");
    if (said == values.end() || to_lower(said->second) == "default") return;
    const auto names = expanded(said->second);
    if (names.empty()) return to.leave_out(number, fmt::format("'{}' is no set of nodes", one_line(said->second, 60)));
    const auto address = values.find("nodeaddr");
    auto addresses = address == values.end() ? std::vector<std::string>{} : expanded(address->second);
    if (address != values.end() && addresses.size() != names.size()) {
      to.leave_out(number, fmt::format("NodeAddr is of {}, NodeName of {}: the addresses are left out", plural(static_cast<long long>(addresses.size()), "node"), names.size()));
      addresses.clear();
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      ImportedNode* node = to.node(names[i], number);
      if (node != nullptr && !addresses.empty()) set_address(*node, addresses[i]);
    }
  });
}

void read_genders(std::string_view text, Collector& to) {
  each_line(text, [&](std::size_t number, const std::string& line) {
    const auto words = words_of(line);
    if (words.empty()) return;
    const auto names = expanded(words[0]);
    if (names.empty()) to.leave_out(number, fmt::format("'{}' is no set of nodes", one_line(words[0], 60)));
    for (const auto& name : names) {
      ImportedNode* node = to.node(name, number);
      if (node == nullptr || words.size() < 2) continue;
      for (const auto& attribute : split(words[1], ',')) {
        const auto equals = attribute.find('=');
        if (equals == std::string::npos) set_word(node->group, attribute);
        else if (attribute.substr(0, equals) == "rack") set_word(node->rack, std::string_view(attribute).substr(equals + 1));
      }
    }
  });
}

void read_ssh_config(std::string_view text, Collector& to) {
  std::vector<std::string> hosts;
  std::size_t number = 0;
  for (const auto raw : split_lines(text)) {
    ++number;
    std::string line(trim(raw));
    if (line.empty() || line.front() == '#') continue;
    if (const auto equals = line.find('='); equals != std::string::npos && line.find(' ') > equals) line[equals] = ' ';
    auto words = words_of(line);
    if (words.size() < 2) continue;
    const std::string key = to_lower(words[0]);
    if (key == "match") hosts.clear();
    if (key == "host") {
      hosts.clear();
      for (std::size_t i = 1; i < words.size(); ++i)
        if (words[i].find_first_of("*?!") == std::string::npos && to.node(words[i], number) != nullptr) hosts.push_back(words[i]);
      continue;
    }
    for (const auto& host : hosts) {
      ImportedNode& node = *to.known(host);
      if (key == "hostname") set_address(node, words[1] == "%h" ? host : words[1]);
      else if (key == "user") set_user(node, words[1]);
      else if (key == "port" && !node.port) set_port(node, words[1]);
    }
  }
}

Status read_csv(std::string_view text, const std::string& file, Collector& to) {
  Diagnostics problems;
  const Source source(file, std::string(text));
  const CsvTable table = parse_csv(source, problems);
  const auto column = [&](std::string_view name) {
    const auto at = std::find_if(table.header.begin(), table.header.end(), [&](const CsvField& field) { return to_lower(field.text) == name; });
    return static_cast<std::size_t>(at - table.header.begin());
  };
  const std::size_t named = column("name") < table.header.size() ? column("name") : column("hostname");
  if (named >= table.header.size()) return error(code::import_unreadable, fmt::format("{}: no column is called name or hostname", one_line(file, 160)));
  const std::array<std::pair<std::string_view, std::string ImportedNode::*>, 6> fields{
      {{"address", &ImportedNode::address}, {"bmc", &ImportedNode::bmc}, {"rack", &ImportedNode::rack}, {"slot", &ImportedNode::slot}, {"serial", &ImportedNode::serial}, {"group", &ImportedNode::group}}};
  for (const auto& row : table.rows) {
    ImportedNode* node = to.node(row[named].text, 0);
    if (node == nullptr) continue;
    for (const auto& [name, member] : fields)
      if (const std::size_t at = column(name); at < row.size()) set_word(node->*member, row[at].text);
  }
  to.out.findings.insert(to.out.findings.end(), problems.begin(), problems.end());
  return ok();
}

// In double quotes, as JSON and YAML both read it.
std::string in_quotes(const std::string& text) { return json::dump(json::Value(text)); }

}  // namespace

std::optional<ImportFormat> parse_import_format(std::string_view word) {
  constexpr std::array<std::string_view, 5> words{"ansible", "slurm", "genders", "ssh-config", "csv"};
  const auto at = std::find(words.begin(), words.end(), word);
  return at == words.end() ? std::nullopt : std::optional(static_cast<ImportFormat>(at - words.begin()));
}

Result<Imported> import_nodes(ImportFormat format, std::string_view text, const std::string& file) {
  if (!is_valid_utf8(text)) return error(code::import_unreadable, fmt::format("{} is no text in UTF-8", one_line(file, 160)));
  Collector to(file);
  switch (format) {
    case ImportFormat::ansible: KFAB_TRY_VOID(read_ansible(text, file, to)); break;
    case ImportFormat::slurm: read_slurm(text, to); break;
    case ImportFormat::genders: read_genders(text, to); break;
    case ImportFormat::ssh_config: read_ssh_config(text, to); break;
    case ImportFormat::csv: KFAB_TRY_VOID(read_csv(text, file, to)); break;
  }
  if (to.out.nodes.empty()) return error(code::import_unreadable, fmt::format("{} names no node", one_line(file, 160)));
  return std::move(to.out);
}

std::string to_yaml(const Imported& imported, const ImportChoices& choices) {
  // One group per group of the text and way in: settings of ssh are a group's.
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ImportedNode*>> groups;
  for (const auto& node : imported.nodes) {
    const std::string key = (node.group.empty() ? choices.group : node.group) + '\n' + node.user + '\n' + (node.port ? std::to_string(*node.port) : "");
    if (groups[key].empty()) order.push_back(key);
    groups[key].push_back(&node);
  }
  std::set<std::string> names;
  std::string out = "nodes:\n";
  for (const auto& key : order) {
    const auto& nodes = groups[key];
    const ImportedNode& first = *nodes.front();
    std::string name;
    for (const char c : to_lower(first.group.empty() ? choices.group : first.group)) name += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
    std::string unique = name;
    for (int i = 2; !names.insert(unique).second; ++i) unique = fmt::format("{}-{}", name, i);
    out += fmt::format("  - group: {}\n    profile: {}\n", in_quotes(unique), choices.profile.empty() ? "cpu-generic   # say which profile these nodes have" : in_quotes(choices.profile));
    if (!choices.tranche.empty()) out += fmt::format("    tranche: {}\n", in_quotes(choices.tranche));
    if (!first.user.empty() || first.port) {
      std::vector<std::string> settings;
      if (!first.user.empty()) settings.push_back("user: " + in_quotes(first.user));
      if (first.port) settings.push_back(fmt::format("port: {}", *first.port));
      out += "    ssh: {" + join(settings, ", ") + "}\n";
    }
    const bool bare = std::all_of(nodes.begin(), nodes.end(), [](const ImportedNode* n) { return n->address.empty() && n->bmc.empty() && n->rack.empty() && n->slot.empty() && n->serial.empty(); });
    if (bare) {
      std::vector<std::string> all;
      for (const auto* node : nodes) all.push_back(node->name);
      out += "    range: " + in_quotes(nodeset::fold_names(all)) + "\n";
      continue;
    }
    out += "    list:\n";
    for (const auto* node : nodes) {
      std::string line = "      - {name: " + in_quotes(node->name);
      for (const auto& [field, value] : {std::pair{"address", &node->address}, {"bmc", &node->bmc}, {"rack", &node->rack}, {"slot", &node->slot}, {"serial", &node->serial}})
        if (!value->empty()) line += fmt::format(", {}: {}", field, in_quotes(*value));
      out += line + "}\n";
    }
  }
  return out;
}

}  // namespace kfab::manifest
