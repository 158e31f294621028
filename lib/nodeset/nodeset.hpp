#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

// Node set expressions: "gpu[001-128],login1!gpu7". A node is its exact name: n1, n01 and N1 are three. The grammar
// is ClusterShell's, read strictly: what other tools guess differently about is an error with the fix beside it.
//
//   set   = term { op term }         left to right, all operators of equal rank, as in ClusterShell
//   op    = "," or blanks (union)  "!" (minus)  "&" (intersection)  "^" (in exactly one of both)
//   term  = "(" set ")" | pattern | "@" [source ":"] group | "@*" | "@@" source
//   pattern: text with ranges, "r[1-4]n[01-16/2]-bmc"; "*" and "?" match the known nodes
//
// Digits that touch a bracket belong to it: n0[1-2] is n[01-02].
namespace kfab::nodeset {

class NodeSet;

// The nodes and groups that expressions may name: "@rack:r7" is group "r7" of source "rack", "@all" is group "all" of
// the default source. What it returns is not checked again, so it must outlive only the call.
class GroupSource {
 public:
  virtual ~GroupSource() = default;
  // Every known node: "@*" and the wildcards.
  virtual const NodeSet& all() const = 0;
  // The sources, "rack", "tranche", ...; of these `default_source` answers a group without one.
  virtual std::vector<std::string> sources() const = 0;
  virtual std::string default_source() const = 0;
  // The groups of a source, for "@@source", "@source:*" and "did you mean"; empty for an unknown source.
  virtual std::vector<std::string> groups(std::string_view source) const = 0;
  // The members; null when there is no such group, which is an error of the expression and never the empty set.
  virtual const NodeSet* members(std::string_view source, std::string_view group) const = 0;
};

// A set of node names as a value. Names are kept as patterns and numbers, so that sets of 10^6 nodes stay small and
// operations are linear in the number of nodes.
class NodeSet {
 public:
  // More nodes than this in one expression are taken for a slip of the pen (nodeset_too_large).
  static constexpr std::size_t max_nodes = 1'000'000;
  static constexpr std::size_t max_name_bytes = 255;
  static constexpr std::size_t max_digits = 18;   // of one number in a name: values stay exact in 64 bits

  NodeSet() = default;

  // Reads an expression. The diagnostic of a failure has the span of the offending characters inside the expression
  // (line and column from 1, byte_offset from 0, `file` empty) and, where there is an obvious one, a suggestion that
  // replaces them. Without `groups`, groups and wildcards are errors. Blanks alone are an error; the empty set comes
  // only of operators.
  static Result<NodeSet> parse(std::string_view expression, const GroupSource* groups = nullptr);
  // Plain names, one each: nothing in them is an operator, and what no name may hold is an error (bad_node_name).
  static Result<NodeSet> from_names(const std::vector<std::string>& names);

  std::size_t size() const;
  bool empty() const { return families_.empty(); }
  bool contains(std::string_view name) const;
  bool contains(const NodeSet& subset) const;
  bool operator==(const NodeSet& other) const = default;

  // In place: union, minus, intersection, in exactly one of both.
  NodeSet& operator|=(const NodeSet&);
  NodeSet& operator-=(const NodeSet&);
  NodeSet& operator&=(const NodeSet&);
  NodeSet& operator^=(const NodeSet&);
  friend NodeSet operator|(NodeSet a, const NodeSet& b) { return a |= b; }
  friend NodeSet operator-(NodeSet a, const NodeSet& b) { return a -= b; }
  friend NodeSet operator&(NodeSet a, const NodeSet& b) { return a &= b; }
  friend NodeSet operator^(NodeSet a, const NodeSet& b) { return a ^= b; }

  // The names in order: by pattern, then per number by count of digits and value, the last number running fastest.
  std::vector<std::string> names() const;
  void for_each(const std::function<void(std::string_view name)>&) const;

  // The set as a short expression that parses back to it, folded over every axis as ClusterShell does from single
  // names; the same set gives the same text. "" for the empty set.
  std::string fold() const;

  // `parts` sets in order whose sizes differ by at most one, larger ones first; fewer when there are fewer nodes.
  std::vector<NodeSet> split(std::size_t parts) const;
  // The nodes at these positions (from 0, in the order of names()): "0-18/2,40". Positions past the end are left out.
  Result<NodeSet> slice(std::string_view positions) const;
  // `count` nodes from position `from` on.
  NodeSet section(std::size_t from, std::size_t count) const;

 private:
  friend class Builder;

  // All names of one pattern. A name has `axes` numbers; each is kept as its rank among all digit strings ordered by
  // length and then value, so that 1, 01 and 001 differ and comparing ranks is comparing names.
  struct Family {
    std::size_t axes = 0;
    std::vector<std::uint64_t> points;   // `axes` ranks for each name, names sorted and unique; empty for axes == 0
    bool operator==(const Family&) const = default;
    std::size_t size() const { return axes == 0 ? 1 : points.size() / axes; }
  };
  template <class Keep>
  void combine(const NodeSet& other, Keep keep);

  std::map<std::string, Family> families_;   // by pattern: every number is "%s", a percent sign is "%%"
};

// The names of an expression in the order in which they are written, repeated where they are repeated: for zipping
// names with addresses. n[3,1-2] gives n3 n1 n2. "!" and "&" drop names, "^" is an error; groups come in set order.
Result<std::vector<std::string>> expand_in_order(std::string_view expression, const GroupSource* groups = nullptr);

// Short text for many names: for people. Names that cannot stand in an expression are shown after the folded ones.
std::string fold_names(const std::vector<std::string>& names);

// Whether this may be the name of one node: 1 to 255 bytes of UTF-8 without blanks, control characters and
// , ! & ^ [ ] ( ) * ? @ and not starting with "-"; numbers of at most 18 digits. The error says what is wrong.
Status check_name(std::string_view name);

// Groups held in memory: what most callers need.
class Groups final : public GroupSource {
 public:
  explicit Groups(std::string default_source = "group") : default_source_(std::move(default_source)) {}
  // Adds members to a group, which is made when new; they become known nodes as well. Nodes that are not
  // known yet cost time linear in all known ones: add_known() all of them first, or add a group whole.
  void add(const std::string& source, const std::string& group, const NodeSet& members);
  void add_known(const NodeSet& nodes) { all_ |= nodes; }

  const NodeSet& all() const override { return all_; }
  std::vector<std::string> sources() const override;
  std::string default_source() const override { return default_source_; }
  std::vector<std::string> groups(std::string_view source) const override;
  const NodeSet* members(std::string_view source, std::string_view group) const override;

 private:
  std::string default_source_;
  NodeSet all_;
  std::map<std::string, std::map<std::string, NodeSet, std::less<>>, std::less<>> groups_;
};

}  // namespace kfab::nodeset
