#include <algorithm>
#include <array>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/csv.hpp"
#include "manifest/decode.hpp"
#include "manifest/pattern.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::manifest {
namespace {

constexpr std::size_t max_nodes = 200'000;   // of one site; the largest anyone has declared is 32,500
constexpr std::size_t max_csv_bytes = std::size_t{64} << 20;

// The attributes of a node that patterns, list items and CSV columns can give.
struct NodeField {
  std::string_view key;
  std::string Node::*member;
};
constexpr std::array node_fields{NodeField{"address", &Node::address}, NodeField{"bmc", &Node::bmc}, NodeField{"rack", &Node::rack},
                                 NodeField{"slot", &Node::slot}, NodeField{"serial", &Node::serial}};

// Where a node and what must be unique about it were declared.
struct Origin {
  Place name, address, serial;
  bool own = false;   // a row of its own, not one of a range
};

// What stands after ssh's options: no blanks, nothing that could be taken for an option or a command.
bool is_address(std::string_view text) {
  if (text.empty() || text.size() > 255 || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == ':' || c == '-' ||
           c == '_' || c == '%';
  });
}

bool is_short_line(std::string_view text) {
  const bool plain = text.size() <= 200 && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  return plain || one_line(text, 200) == text;
}

class NodesReader {
 public:
  NodesReader(const Scope& scope, Site& site) : scope_(scope), site_(site) {}

  void read(Fields& spec) {
    Unique unique("group");
    spec.each("nodes", [&](const Cursor& at) {
      group(at);
      if (!site_.groups.back().name.empty()) unique.add(at, site_.groups.back().name);
    });
    check(spec);
  }

 private:
  void group(const Cursor& at) {
    site_.groups.emplace_back();
    NodeGroup& out = site_.groups.back();
    out.span = at.span();
    Fields fields(at);
    if (!fields.is_map()) return;
    Node common;
    fields.with("group", [&](const Cursor& name) {
      out.span = name.span();
      read_name(name, out.name);
    }, Need::required);
    fields.with("profile", [&](const Cursor& ref) { scope_.library.profile(ref, out.profile); }, Need::required);
    fields.with("tranche", [&](const Cursor& ref) { read_reference(ref, "tranche", scope_.tranches, out.tranche); });
    fields.text("fabric", out.fabric);
    std::string identity;
    fields.word("identity", identity, {"serial", "name"});
    fields.values("vars", common.vars);
    fields.with("ssh", [&](const Cursor& ssh) {
      common.ssh = site_.ssh;
      read_ssh(ssh, *common.ssh);
    });
    common.identity_by_name = identity == "name";
    common.group = out.name;
    common.profile = out.profile;
    common.tranche = out.tranche;
    if (!fields.has("tranche"))
      at.report(code::node_without_tranche, fmt::format("the nodes of group '{}' belong to no tranche", one_line(out.name, 60)),
                "add `tranche`");

    const std::size_t before = site_.nodes.size();
    const int ways = int{fields.has("range")} + int{fields.has("list")} + int{fields.has("csv")};
    if (ways != 1)
      at.report(ways == 0 ? code::missing_key : code::contradictory_keys,
                ways == 0 ? "a group needs its nodes: range, list or csv" : "a group has one of range, list and csv", "in this group");
    fields.with("range", [&](const Cursor& text) { range(text, fields, common, out); });
    fields.with("list", [&](const Cursor& items) { list(items, common); });
    fields.with("csv", [&](const Cursor& path) { csv(path, common, out); });
    if (!fields.has("range"))
      for (const std::string_view key : {"address", "bmc", "rack", "slot", "serial", "nodes_per_rack"})
        if (fields.get(key)) at.report(code::contradictory_keys, fmt::format("'{}' is a pattern, which goes with `range`", key), "in this group");
    fields.done();
    for (std::size_t i = before; i < site_.nodes.size(); ++i) out.node_names.push_back(site_.nodes[i].name);
  }

  bool room(const Cursor& at, std::size_t more) {
    if (site_.nodes.size() + more <= max_nodes) return true;
    at.report(code::manifest_too_large, fmt::format("a site has at most {} nodes", max_nodes), "too many");
    return false;
  }

  static SourceSpan inside(const Cursor& at, const Diagnostic& why) {
    SourceSpan span = at.span();
    if (!why.span || span.line != span.end_line) return span;
    const std::uint32_t length = std::max(1u, why.span->end_column > why.span->column ? why.span->end_column - why.span->column : 1u);
    const std::uint32_t quote = at.node.quoted ? 1 : 0;
    const std::uint32_t shift = why.span->column > 0 ? why.span->column - 1 + quote : quote;
    if (span.column + shift >= span.end_column) return span;
    span.column += shift;
    span.byte_offset += why.span->byte_offset + quote;
    span.end_column = std::min(span.end_column, span.column + length);
    return span;
  }

  static void report_inside(const Cursor& at, Code code, const Diagnostic& why) {
    Diagnostic d = make_diagnostic(code, why.message);
    d.path = at.path.str();
    d.span = inside(at, why);
    d.label = why.label;
    d.help = why.help;
    if (code != why.code) d.help.push_back(fmt::format("{}: {}", to_string(why.code), info(why.code).next_step));
    d.suggestions = why.suggestions;
    at.document.findings->add(std::move(d));
  }

  void range(const Cursor& at, Fields& group, const Node& common, NodeGroup& out) {
    std::int64_t per_rack = 0;
    group.with("nodes_per_rack", [&](const Cursor& value) { read_count(value, per_rack, 1, 1'000'000); });
    std::string expression;
    if (!read_text(at, expression)) return;
    out.expression = expression;
    auto names = nodeset::expand_in_order(expression);
    if (!names) {
      report_inside(at, code::bad_node_range, names.error());
      return;
    }
    if (!room(at, names->size())) return;
    const std::size_t first = site_.nodes.size();
    Origin origin;
    origin.name = at.place();
    group.with("address", [&](const Cursor& c) { origin.address = c.place(); });
    group.with("serial", [&](const Cursor& c) { origin.serial = c.place(); });
    for (std::string& name : *names) {
      site_.nodes.push_back(common);
      site_.nodes.back().name = std::move(name);
      origins_.push_back(origin);
    }
    // The rack comes first, for the other patterns may use it.
    for (const std::string_view key : {"rack", "address", "bmc", "slot", "serial"}) {
      const auto field = std::find_if(node_fields.begin(), node_fields.end(), [&](const NodeField& f) { return f.key == key; });
      group.with(key, [&](const Cursor& pattern) { fill(pattern, *field, first, common.identity_by_name, static_cast<std::size_t>(per_rack)); });
    }
  }

  // Gives one attribute of the nodes from `first` on: from a pattern, or from a list that goes along with them.
  void fill(const Cursor& at, const NodeField& field, std::size_t first, bool may_repeat, std::size_t per_rack) {
    std::string text;
    if (!read_text(at, text)) return;
    const std::size_t count = site_.nodes.size() - first;
    const bool is_rack = field.key == "rack";
    if (Pattern::is_list(text)) {
      if (text.find('{') != std::string::npos) {
        at.report(code::bad_pattern, "a list in brackets and a pattern in braces do not go together", "use one of them");
        return;
      }
      auto values = nodeset::expand_in_order(text);
      if (!values) {
        report_inside(at, code::bad_pattern, values.error());
        return;
      }
      const std::size_t each = is_rack && per_rack > 0 ? per_rack : 1;
      const bool slots = field.key == "slot" && per_rack > 0 && values->size() == per_rack;   // the same in every rack
      const std::size_t needed = slots ? per_rack : (count + each - 1) / each;
      if (values->size() != needed) {
        at.report(code::count_mismatch,
                  fmt::format("{} gives {} for {}", field.key, plural(static_cast<long long>(values->size()), "value"),
                              plural(static_cast<long long>(count), "node")),
                  each > 1 ? fmt::format("{} needed at {} nodes per rack", needed, each) : fmt::format("{} needed", needed));
        return;
      }
      for (std::size_t i = 0; i < count; ++i)
        if (!set(at, field, site_.nodes[first + i], slots ? (*values)[i % per_rack] : (*values)[i / each])) return;
      return;
    }
    const auto pattern = Pattern::parse(text);
    if (!pattern) {
      report_inside(at, code::bad_pattern, pattern.error());
      return;
    }
    const bool shared = is_rack || field.key == "slot" || (field.key == "address" && may_repeat);
    if (pattern->constant() && count > 1 && !shared) {
      at.report(code::count_mismatch, fmt::format("one {} for {} nodes", field.key, count), "write a pattern or a list",
                {}, {fmt::format("for example \"10.4.0.[1-{}]\" or \"10.4.0.{{n}}\"", count)});
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      Node& node = site_.nodes[first + i];
      auto value = (*pattern)({node.name, node.rack, i});
      if (!value) {
        report_inside(at, code::bad_pattern, value.error());
        return;
      }
      if (!set(at, field, node, *std::move(value))) return;
    }
  }

  bool set(const Cursor& at, const NodeField& field, Node& node, std::string value) {
    if (!acceptable(at, field.key, value)) return false;
    node.*(field.member) = std::move(value);
    return true;
  }

  static bool acceptable(const Cursor& at, std::string_view key, const std::string& value) {
    const bool wants_address = key == "address" || key == "bmc";
    if (wants_address ? is_address(value) : is_short_line(value)) return true;
    at.report(code::bad_name, fmt::format("'{}' cannot be the {} of a node", one_line(value, 60), key),
              wants_address ? "expected a host name or an IP address" : "expected one short line");
    return false;
  }

  bool check_name(const Cursor& at, const std::string& name) {
    const Status status = nodeset::check_name(name);
    if (status) return true;
    at.report(code::bad_name, fmt::format("'{}' cannot be the name of a node", one_line(name, 60)), one_line(status.error().message));
    return false;
  }

  void list(const Cursor& at, const Node& common) {
    if (at.node.shape != Shape::sequence) {
      at.wrong_type("a list of nodes");
      return;
    }
    if (!room(at, at.node.items.size())) return;
    for (std::size_t i = 0; i < at.node.items.size(); ++i) {
      const Path path{&at.path, {}, i};
      const Cursor item{at.document, at.node.items[i], path};
      Fields fields(item);
      if (!fields.is_map()) continue;
      Node node = common;
      Origin origin;
      origin.own = true;
      origin.name = item.place();
      bool good = false;
      fields.with("name", [&](const Cursor& name) {
        origin.name = name.place();
        good = read_text(name, node.name) && check_name(name, node.name);
      }, Need::required);
      for (const NodeField& field : node_fields)
        fields.with(field.key, [&](const Cursor& value) {
          std::string text;
          if (!read_text(value, text) || !set(value, field, node, std::move(text))) return;
          if (field.key == "address") origin.address = value.place();
          if (field.key == "serial") origin.serial = value.place();
        });
      std::map<std::string, json::Value> vars;
      fields.values("vars", vars);
      for (auto& [key, value] : vars) node.vars[key] = std::move(value);
      fields.done();
      if (!good) continue;
      site_.nodes.push_back(std::move(node));
      origins_.push_back(origin);
    }
  }

  void csv(const Cursor& at, const Node& common, NodeGroup& group) {
    static const Words columns{"name", "address", "bmc", "rack", "slot", "serial"};
    std::string path;
    if (!read_text(at, path)) return;
    group.csv_file = path;
    const SourcePtr source = scope_.library.open_data(at, path, max_csv_bytes);
    if (!source) return;
    Diagnostics found;
    const CsvTable table = parse_csv(*source, found);
    at.document.findings->add(std::move(found));
    const Document document{source, at.document.findings, {}, {}, false};
    const auto cursor = [&](const CsvField& field, YamlNode& node, const Path& place) {
      node.shape = Shape::scalar;
      node.begin = field.begin;
      node.end = std::max(field.end, field.begin + 1);
      return Cursor{document, node, place};
    };
    const Path no_path;
    YamlNode node_for_place;
    if (table.header.empty()) {
      at.report(code::bad_csv_header, fmt::format("{} is empty", one_line(path)), "expected a header and a row for each node");
      return;
    }
    std::vector<const NodeField*> member(table.header.size(), nullptr);
    std::size_t name_column = table.header.size();
    bool good_header = true;
    Unique unique("column");
    for (std::size_t i = 0; i < table.header.size(); ++i) {
      const std::string& title = table.header[i].text;
      const Cursor place = cursor(table.header[i], node_for_place, no_path);
      if (title == "name") name_column = i;
      for (const NodeField& field : node_fields)
        if (field.key == title) member[i] = &field;
      if (std::find(columns.begin(), columns.end(), title) == columns.end()) {
        auto near = nearest(title, columns, 1);
        std::string label = near.empty() ? std::string("not a column of a node") : std::string();
        place.report(code::bad_csv_header, fmt::format("unknown column '{}'", one_line(title, 60)), std::move(label), std::move(near),
                     {"columns allowed here: " + join(columns, ", ")});
        good_header = false;
      } else {
        unique.add(place, title);
      }
    }
    if (name_column == table.header.size()) {
      cursor(table.header.front(), node_for_place, no_path).report(code::bad_csv_header, "the header has no column 'name'", "expected name,address,bmc,rack,slot,serial");
      return;
    }
    if (!good_header || !room(at, table.rows.size())) return;
    for (const auto& row : table.rows) {
      Node node = common;
      Origin origin;
      origin.own = true;
      bool good = true;
      for (std::size_t i = 0; i < row.size(); ++i) {
        const CsvField& field = row[i];
        const Place place{source.get(), field.begin, std::max(field.end, field.begin + 1)};
        if (i == name_column) {
          origin.name = place;
          if (const Status status = nodeset::check_name(field.text); !status) {
            cursor(field, node_for_place, no_path).report(code::bad_row, fmt::format("'{}' cannot be the name of a node", one_line(field.text, 60)),
                                                          one_line(status.error().message));
            good = false;
          }
          node.name = field.text;
        } else if (!field.text.empty()) {
          const bool wants_address = member[i]->key == "address" || member[i]->key == "bmc";
          if (wants_address ? !is_address(field.text) : !is_short_line(field.text)) {
            cursor(field, node_for_place, no_path).report(code::bad_row, fmt::format("'{}' cannot be the {} of a node", one_line(field.text, 60), member[i]->key),
                                                          wants_address ? "expected a host name or an IP address" : "expected one short line");
            good = false;
          }
          node.*(member[i]->member) = field.text;
          if (member[i]->key == "address") origin.address = place;
          if (member[i]->key == "serial") origin.serial = place;
        }
      }
      if (!good) continue;
      site_.nodes.push_back(std::move(node));
      origins_.push_back(origin);
    }
  }

  // ---- what only all nodes together show

  std::string where(const Place& place) const {
    const SourceSpan span = place.span();
    return fmt::format("{}:{}", span.file, span.line);
  }

  void report_at(Fields& spec, Code code, const Place& place, std::string message, std::string label, std::string node = {}) {
    Diagnostic d = make_diagnostic(code, std::move(message));
    d.path = "spec.nodes";
    d.span = place.span();
    d.label = std::move(label);
    d.node = std::move(node);
    spec.at().document.findings->add(std::move(d));
  }

  void check(Fields& spec) {
    check_names(spec);
    check_unique(spec, code::duplicate_address, "address", &Node::address, &Origin::address);
    check_unique(spec, code::duplicate_serial, "serial", &Node::serial, &Origin::serial);
  }

  // A range that meets another group gives one finding with the folded names, rows give one each.
  void check_names(Fields& spec) {
    std::unordered_map<std::string_view, std::size_t> seen;
    seen.reserve(site_.nodes.size());
    std::map<std::pair<const std::string*, const std::string*>, std::pair<std::size_t, std::vector<std::string>>> ranges;
    for (std::size_t i = 0; i < site_.nodes.size(); ++i) {
      const Node& node = site_.nodes[i];
      const auto [first, is_new] = seen.emplace(node.name, i);
      if (is_new) continue;
      const Node& other = site_.nodes[first->second];
      if (origins_[i].own) {
        report_at(spec, code::overlapping_groups, origins_[i].name, fmt::format("node '{}' is declared twice", node.name),
                  fmt::format("first in group '{}' at {}", other.group, where(origins_[first->second].name)), node.name);
        continue;
      }
      const auto name_of = [&](const Node& of) {
        for (const NodeGroup& group : site_.groups)
          if (group.name == of.group) return &group.name;
        return static_cast<const std::string*>(nullptr);
      };
      auto& [place, names] = ranges[{name_of(other), name_of(node)}];
      if (names.empty()) place = i;
      names.push_back(node.name);
    }
    for (const auto& [groups, found] : ranges) {
      const auto& [place, names] = found;
      report_at(spec, code::overlapping_groups, origins_[place].name,
                fmt::format("{} of group '{}' {} declared already", one_line(nodeset::fold_names(names), 120), site_.nodes[place].group,
                            names.size() == 1 ? "is" : "are"),
                fmt::format("also in group '{}'", groups.first ? *groups.first : std::string("?")));
    }
  }

  void check_unique(Fields& spec, Code code, std::string_view what, std::string Node::*member, Place Origin::*place) {
    std::unordered_map<std::string_view, std::size_t> seen;
    seen.reserve(site_.nodes.size());
    struct Clash { std::size_t node, other, count; };
    std::map<std::pair<const Source*, std::uint32_t>, Clash> ranges;   // by the place of the range's pattern
    for (std::size_t i = 0; i < site_.nodes.size(); ++i) {
      const Node& node = site_.nodes[i];
      const std::string& value = node.*member;
      if (value.empty()) continue;
      const auto [first, is_new] = seen.emplace(value, i);
      if (is_new) continue;
      const Node& other = site_.nodes[first->second];
      if (node.name == other.name) continue;   // the same node twice, which was reported
      const auto port = [&](const Node& of) { return of.ssh ? of.ssh->port : site_.ssh.port; };
      if (code == code::duplicate_address && ((node.identity_by_name && other.identity_by_name) || port(node) != port(other))) continue;
      const Place& at = origins_[i].*place;
      if (origins_[i].own) {
        report_at(spec, code, at, fmt::format("{} {} of '{}' is that of '{}' too", what, one_line(value, 60), node.name, other.name),
                  fmt::format("first at {}", where(origins_[first->second].*place)), node.name);
      } else {
        ++ranges.emplace(std::pair{at.source, at.begin}, Clash{i, first->second, 0}).first->second.count;
      }
    }
    for (const auto& [pattern, clash] : ranges) {
      const Node& node = site_.nodes[clash.node];
      report_at(spec, code, origins_[clash.node].*place,
                clash.count == 1 ? fmt::format("{} {} of '{}' is that of '{}' too", what, one_line(node.*member, 60), node.name, site_.nodes[clash.other].name)
                                 : fmt::format("{} nodes have the {} of another; {} of '{}' is that of '{}' too", clash.count, what,
                                               one_line(node.*member, 60), node.name, site_.nodes[clash.other].name),
                fmt::format("the other is in group '{}'", site_.nodes[clash.other].group));
    }
  }

  const Scope& scope_;
  Site& site_;
  std::vector<Origin> origins_;   // of site_.nodes
};

}  // namespace

void read_nodes(Fields& spec, const Scope& scope, Site& site) { NodesReader(scope, site).read(spec); }

}  // namespace kfab::manifest
