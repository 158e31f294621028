#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/codes/nodeset.hpp"
#include "base/text.hpp"
#include "nodeset/builder.hpp"
#include "nodeset/name.hpp"
#include "nodeset/nodeset.hpp"
#include "nodeset/syntax.hpp"

namespace kfab::nodeset {
namespace {

// Bounds on what one expression may cost, for expressions come from manifests that others wrote.
constexpr std::size_t max_written = 4 * NodeSet::max_nodes;   // names before duplicates are dropped
constexpr std::size_t max_work = 200 * NodeSet::max_nodes;    // names touched by all operators and wildcards together

// A wildcard inside a text to be matched: bytes that no name can hold.
constexpr char any_mark = '\x01';
constexpr char one_mark = '\x02';

// A name with ranges as texts around numbers, digits beside a bracket drawn into it.
struct Shape {
  std::vector<std::string> texts{std::string()};
  std::vector<std::vector<Rank>> axes;
  std::size_t longest() const {
    std::size_t bytes = 0;
    for (const auto& text : texts) bytes += text.size();
    for (const auto& axis : axes) {
      std::size_t width = 0;
      for (const Rank rank : axis) width = std::max(width, number_of(rank).width);
      bytes += width;
    }
    return bytes;
  }
};

std::vector<Rank> numbers_of(const std::vector<Range>& ranges) {
  std::vector<Rank> out;
  for (const Range& range : ranges)
    for (std::size_t i = 0; i < range.count(); ++i) {
      const std::uint64_t value = range.first.value + i * range.step;
      out.push_back(rank_of({value, range.padded ? range.first.width : digits_of(value)}));
    }
  // A single number keeps its own digits: [007].
  return out;
}

// The digit strings of `numbers` with `digits` before or after each. False when one has more than 18 digits.
bool join_digits(std::vector<Rank>& numbers, std::string_view digits, bool before) {
  const Number fixed = read_number(digits);
  for (Rank& rank : numbers) {
    const Number n = number_of(rank);
    if (n.width + fixed.width > max_width) return false;
    const Number& high = before ? fixed : n;
    const Number& low = before ? n : fixed;
    rank = rank_of({high.value * detail::powers[low.width] + low.value, n.width + fixed.width});
  }
  return true;
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == any_mark) {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == name[n] || pattern[p] == one_mark)) {
      // "?" stands for a character, not for a byte of one.
      const bool whole = pattern[p++] == one_mark;
      ++n;
      while (whole && n < name.size() && (static_cast<unsigned char>(name[n]) & 0xC0) == 0x80) ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == any_mark) ++p;
  return p == pattern.size();
}

class Evaluator {
 public:
  Evaluator(std::string_view expression, const GroupSource* groups) : expression_(expression), groups_(groups) {}

  Result<NodeSet> set(const std::vector<Term::Next>& terms) {
    NodeSet result;
    for (std::size_t i = 0; i < terms.size();) {
      const Op op = terms[i].op;
      // a,b,c and a!b!c are done in one go: one by one they would be quadratic.
      std::size_t end = i + 1;
      while ((op == Op::unite || op == Op::subtract) && end < terms.size() && terms[end].op == op) ++end;
      KFAB_TRY(operand, unite(terms, i, end));
      const Place place{terms[i].term.place.begin, terms[end - 1].term.place.end};
      const std::size_t before = result.size();
      if (i == 0) result = std::move(operand);
      else KFAB_TRY_VOID(charge(before + operand.size(), place));
      if (i > 0) apply(op, result, operand);
      KFAB_TRY_VOID(check_ceiling(result.size(), place));
      i = end;
    }
    return result;
  }

  Result<std::vector<std::string>> list(const std::vector<Term::Next>& terms) {
    std::vector<std::string> result;
    for (std::size_t i = 0; i < terms.size();) {
      const auto& [op, term] = terms[i];
      if (op == Op::differ) return fail(term.place, code::nodeset_syntax, "'^' has no order: names that are paired with addresses cannot use it");
      if (op == Op::unite) {
        KFAB_TRY_VOID(append_in_order(term, result));
        KFAB_TRY_VOID(check_ceiling(result.size(), term.place));
        ++i;
        continue;
      }
      std::size_t end = i + 1;
      while (op == Op::subtract && end < terms.size() && terms[end].op == op) ++end;
      KFAB_TRY(operand, unite(terms, i, end));
      KFAB_TRY_VOID(charge(8 * (result.size() + operand.size()), term.place));
      const bool wanted = op == Op::intersect;
      std::erase_if(result, [&](const std::string& name) { return operand.contains(name) != wanted; });
      i = end;
    }
    return result;
  }

 private:
  Diagnostic fail(Place place, Code code, std::string message) const { return at_place(expression_, place, code, std::move(message)); }

  Status check_ceiling(std::size_t nodes, Place place) const {
    if (nodes <= NodeSet::max_nodes) return ok();
    return fail(place, code::nodeset_too_large,
                fmt::format("{} nodes: at most {} are allowed", with_thousands(static_cast<long long>(nodes)),
                            with_thousands(NodeSet::max_nodes)));
  }

  Status charge(std::size_t work, Place place) {
    work_ += work;
    if (work_ <= max_work) return ok();
    return fail(place, code::nodeset_too_large, "working this expression out costs too much: it repeats operators over large sets");
  }

  Status charge_written(std::size_t names, Place place) {
    written_ += names;
    if (written_ <= max_written) return ok();
    return fail(place, code::nodeset_too_large,
                fmt::format("the expression writes out more than {} names, repeated ones included", with_thousands(max_written)));
  }

  static void apply(Op op, NodeSet& left, const NodeSet& right) {
    switch (op) {
      case Op::unite: left |= right; return;
      case Op::subtract: left -= right; return;
      case Op::intersect: left &= right; return;
      case Op::differ: left ^= right; return;
    }
  }

  Result<NodeSet> unite(const std::vector<Term::Next>& terms, std::size_t begin, std::size_t end) {
    Builder builder;
    for (std::size_t i = begin; i < end; ++i) KFAB_TRY_VOID(add(terms[i].term, builder));
    return builder.take();
  }

  static bool has_wildcard(const std::vector<Piece>& pieces, std::size_t from = 0) {
    return std::any_of(pieces.begin() + static_cast<std::ptrdiff_t>(from), pieces.end(),
                       [](const Piece& p) { return p.kind == Piece::Kind::any || p.kind == Piece::Kind::one; });
  }

  Status add(const Term& term, Builder& builder) {
    if (term.kind == Term::Kind::parentheses) {
      KFAB_TRY(inside, set(term.inside));
      builder.add(inside);
      return charge_written(inside.size(), term.place);
    }
    if (term.kind != Term::Kind::names || has_wildcard(term.pieces)) {
      KFAB_TRY(found, look_up(term));
      builder.add(found);
      return charge_written(found.size(), term.place);
    }
    KFAB_TRY(shape, shape_of(term.pieces, term.place));
    std::string pattern;
    for (std::size_t i = 0; i < shape.texts.size(); ++i) {
      if (i > 0) pattern += "%s";
      append_literal(pattern, shape.texts[i]);
    }
    auto& points = builder.points(pattern, shape.axes.size());
    for_each_point(shape, [&](const std::vector<Rank>& point) { points.insert(points.end(), point.begin(), point.end()); });
    return ok();
  }

  Status append_in_order(const Term& term, std::vector<std::string>& out) {
    if (term.kind == Term::Kind::parentheses) {
      KFAB_TRY(inside, list(term.inside));
      out.insert(out.end(), inside.begin(), inside.end());
      return charge_written(inside.size(), term.place);
    }
    if (term.kind != Term::Kind::names || has_wildcard(term.pieces)) {
      KFAB_TRY(found, look_up(term));
      found.for_each([&](std::string_view name) { out.emplace_back(name); });
      return charge_written(found.size(), term.place);
    }
    return append_texts(term.pieces, term.place, out);
  }

  // Every text that the pieces stand for, in the order in which they are written; wildcards become their marks.
  Status append_texts(const std::vector<Piece>& pieces, Place place, std::vector<std::string>& out) {
    KFAB_TRY(shape, shape_of(pieces, place));
    for_each_point(shape, [&](const std::vector<Rank>& point) {
      std::string text = shape.texts[0];
      for (std::size_t axis = 0; axis < point.size(); ++axis) {
        append_number(text, number_of(point[axis]));
        text += shape.texts[axis + 1];
      }
      out.push_back(std::move(text));
    });
    return ok();
  }

  // Refuses what is too large before anything is written out.
  Status check_count(const std::vector<Piece>& pieces, Place place) {
    std::size_t total = 1;
    for (const Piece& piece : pieces) {
      if (piece.kind != Piece::Kind::ranges) continue;
      std::size_t count = 0;
      for (const Range& range : piece.ranges) {
        count += std::min(range.count(), NodeSet::max_nodes + 1);
        if (count > NodeSet::max_nodes) break;
      }
      total *= count;
      if (total > NodeSet::max_nodes)
        return fail(place, code::nodeset_too_large,
                    fmt::format("more than {} nodes in one name pattern", with_thousands(NodeSet::max_nodes)));
    }
    return charge_written(total, place);
  }

  Result<Shape> shape_of(const std::vector<Piece>& pieces, Place place) {
    KFAB_TRY_VOID(check_count(pieces, place));
    Shape shape;
    bool after_digits = false;   // the last axis was written as digits right before this piece
    bool after_ranges = false;   // or as a bracket
    for (const Piece& piece : pieces) {
      if (piece.kind == Piece::Kind::ranges) {
        std::vector<Rank> numbers = numbers_of(piece.ranges);
        if (after_digits) {
          std::string digits;
          append_number(digits, number_of(shape.axes.back().front()));
          if (!join_digits(numbers, digits, true)) return too_wide(piece.place);
          shape.axes.back() = std::move(numbers);
        } else {
          shape.axes.push_back(std::move(numbers));
          shape.texts.emplace_back();
        }
        after_ranges = true;
        after_digits = false;
        continue;
      }
      const std::string text = piece.kind == Piece::Kind::text ? piece.text : std::string(1, piece.kind == Piece::Kind::any ? any_mark : one_mark);
      for (std::size_t i = 0; i < text.size();) {
        std::size_t end = i;
        while (end < text.size() && is_digit(text[end])) ++end;
        if (end == i) {
          shape.texts.back() += text[i++];
          after_digits = after_ranges = false;
          continue;
        }
        const auto digits = std::string_view(text).substr(i, end - i);
        if (after_ranges) {
          if (!join_digits(shape.axes.back(), digits, false)) return too_wide(piece.place);
        } else {
          shape.axes.push_back({rank_of(read_number(digits))});
          shape.texts.emplace_back();
          after_digits = true;
        }
        after_ranges = false;
        i = end;
      }
    }
    if (shape.longest() > NodeSet::max_name_bytes)
      return fail(place, code::bad_node_name, fmt::format("names of more than {} bytes", NodeSet::max_name_bytes));
    return shape;
  }

  Diagnostic too_wide(Place place) const {
    return fail(place, code::nodeset_syntax, fmt::format("a number of more than {} digits", max_width));
  }

  template <class Visit>
  static void for_each_point(const Shape& shape, Visit visit) {
    const std::size_t count = shape.axes.size();
    std::vector<std::size_t> at(count, 0);
    std::vector<Rank> point(count);
    for (std::size_t i = 0; i < count; ++i) point[i] = shape.axes[i][0];
    for (;;) {
      visit(point);
      std::size_t axis = count;
      while (axis > 0) {
        --axis;
        if (++at[axis] < shape.axes[axis].size()) { point[axis] = shape.axes[axis][at[axis]]; break; }
        at[axis] = 0;
        point[axis] = shape.axes[axis][0];
        if (axis == 0) return;
      }
      if (count == 0) return;
    }
  }

  // --- groups and wildcards ------------------------------------------------------------------------------------

  Result<NodeSet> look_up(const Term& term) {
    if (groups_ == nullptr) {
      auto d = fail(term.place, code::no_known_nodes,
                    term.kind == Term::Kind::names ? "a wildcard needs known nodes" : "a group needs known groups");
      return d;
    }
    if (term.kind == Term::Kind::names) return match_nodes(term);
    if (term.kind == Term::Kind::source_names) return source_names(term);
    return members_of(term);
  }

  Result<NodeSet> match_nodes(const Term& term) {
    std::vector<std::string> globs;
    KFAB_TRY_VOID(append_texts(term.pieces, term.place, globs));
    if (!known_) known_ = groups_->all().names();
    Builder builder;
    KFAB_TRY_VOID(charge(globs.size() * std::max(known_->size(), std::size_t{1}), term.place));
    for (const auto& glob : globs)
      for (const auto& name : *known_)
        if (glob_matches(glob, name)) builder.add_name(name);
    NodeSet found = builder.take();
    if (found.empty())
      return fail(term.place, code::nodeset_no_match,
                  fmt::format("no known node matches \"{}\"", one_line(written(term.place), 60)));
    return found;
  }

  std::string_view written(Place place) const { return expression_.substr(place.begin, place.end - place.begin); }

  struct Reference { std::string source; std::vector<Piece> group; };

  Reference reference_of(const Term& term) const {
    Reference out{groups_->default_source(), term.pieces};
    if (out.group.front().kind != Piece::Kind::text) return out;
    Piece& first = out.group.front();
    const auto colon = first.text.find(':');
    if (colon == std::string::npos) return out;
    out.source = first.text.substr(0, colon);
    first.text.erase(0, colon + 1);
    first.place.begin += colon + 1;
    if (first.text.empty()) out.group.erase(out.group.begin());
    return out;
  }

  Result<NodeSet> members_of(const Term& term) {
    const bool everything = term.pieces.size() == 1 && term.pieces[0].kind == Piece::Kind::any;
    if (everything) return groups_->all();
    const Reference reference = reference_of(term);
    if (reference.group.empty()) return fail(term.place, code::nodeset_syntax, "a group name is missing after ':'");
    const auto sources = groups_->sources();
    if (std::find(sources.begin(), sources.end(), reference.source) == sources.end()) return unknown_source(term, reference.source, sources);
    std::vector<std::string> names;
    KFAB_TRY_VOID(append_texts(reference.group, term.place, names));
    if (has_wildcard(reference.group)) {
      KFAB_TRY(matching, matching_groups(term, reference.source, names));
      names = std::move(matching);
    }
    Builder builder;
    std::size_t total = 0;
    for (const auto& name : names) {
      const NodeSet* members = groups_->members(reference.source, name);
      if (members == nullptr) return unknown_group(term, reference.source, name);
      total += members->size();
      KFAB_TRY_VOID(charge(members->size() + 1, term.place));
      if (total > max_written) return charge_written(total, term.place).error();
      builder.add(*members);
    }
    return builder.take();
  }

  Result<std::vector<std::string>> matching_groups(const Term& term, const std::string& source, const std::vector<std::string>& globs) {
    const auto known = groups_->groups(source);
    KFAB_TRY_VOID(charge(globs.size() * std::max(known.size(), std::size_t{1}), term.place));
    std::vector<std::string> found;
    for (const auto& group : known)
      if (std::any_of(globs.begin(), globs.end(), [&](const auto& glob) { return glob_matches(glob, group); })) found.push_back(group);
    if (found.empty())
      return fail(term.place, code::nodeset_no_match,
                  fmt::format("no group of \"{}\" matches \"{}\"", one_line(source, 60), one_line(written(term.place), 60)));
    return found;
  }

  Result<NodeSet> source_names(const Term& term) {
    if (term.pieces.empty()) return NodeSet::from_names(groups_->sources());
    std::vector<std::string> names;
    KFAB_TRY_VOID(append_texts(term.pieces, term.place, names));
    const auto sources = groups_->sources();
    std::vector<std::string> all;
    for (const auto& name : names) {
      if (std::find(sources.begin(), sources.end(), name) == sources.end()) return unknown_source(term, name, sources);
      for (auto& group : groups_->groups(name)) all.push_back(std::move(group));
    }
    return NodeSet::from_names(all);
  }

  Diagnostic unknown_source(const Term& term, const std::string& source, const std::vector<std::string>& known) const {
    auto d = fail(term.place, code::unknown_group, fmt::format("there is no group source \"{}\"", one_line(source, 60)));
    const auto rest = std::string(written(term.place)).substr(std::min(written(term.place).size(), source.size() + 1));
    for (const auto& near : nearest(source, known)) d.suggestions.push_back("@" + near + rest);
    if (!known.empty()) d.help.push_back("sources: " + one_line(join(known, ", ")));
    return d;
  }

  Diagnostic unknown_group(const Term& term, const std::string& source, const std::string& group) const {
    auto d = fail(term.place, code::unknown_group,
                  fmt::format("there is no group \"{}\" in source \"{}\"", one_line(group, 60), one_line(source, 60)));
    const std::string prefix = source == groups_->default_source() ? "@" : "@" + source + ":";
    const auto known = groups_->groups(source);
    for (const auto& near : nearest(group, known)) d.suggestions.push_back(prefix + near);
    if (!known.empty()) d.help.push_back(fmt::format("groups of {}: {}", source, one_line(join(known, ", "))));
    return d;
  }

  std::string_view expression_;
  const GroupSource* groups_;
  std::optional<std::vector<std::string>> known_;
  std::size_t written_ = 0, work_ = 0;
};

}  // namespace

Result<NodeSet> NodeSet::parse(std::string_view expression, const GroupSource* groups) {
  KFAB_TRY(terms, parse_syntax(expression));
  return Evaluator(expression, groups).set(terms);
}

Result<std::vector<std::string>> expand_in_order(std::string_view expression, const GroupSource* groups) {
  KFAB_TRY(terms, parse_syntax(expression));
  return Evaluator(expression, groups).list(terms);
}

Result<NodeSet> NodeSet::slice(std::string_view positions) const {
  std::size_t at = 0;
  KFAB_TRY(ranges, parse_ranges(positions, at));
  if (at != positions.size()) return at_place(positions, {at, at + 1}, code::nodeset_syntax, "']' cannot stand in a list of positions");
  std::vector<char> wanted(size(), 0);
  for (const Range& range : ranges)
    for (std::uint64_t i = range.first.value; i <= range.last.value && i < wanted.size(); i += range.step) wanted[static_cast<std::size_t>(i)] = 1;
  Builder builder;
  std::size_t at_node = 0;
  for_each([&](std::string_view name) { if (wanted[at_node++]) builder.add_name(name); });
  return builder.take();
}

}  // namespace kfab::nodeset
