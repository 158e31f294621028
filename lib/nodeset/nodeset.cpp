#include "nodeset/nodeset.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/codes/nodeset.hpp"
#include "base/text.hpp"
#include "nodeset/builder.hpp"
#include "nodeset/name.hpp"

namespace kfab::nodeset {
namespace {

using Points = std::vector<Rank>;

int compare_points(const Rank* a, const Rank* b, std::size_t axes) {
  for (std::size_t i = 0; i < axes; ++i)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

bool is_sorted_unique(const Points& points, std::size_t axes) {
  for (std::size_t at = axes; at < points.size(); at += axes)
    if (compare_points(&points[at - axes], &points[at], axes) >= 0) return false;
  return true;
}

template <std::size_t Axes>
void sort_unique_fixed(Points& points) {
  std::vector<std::array<Rank, Axes>> rows(points.size() / Axes);
  for (std::size_t i = 0; i < rows.size(); ++i) std::copy_n(&points[i * Axes], Axes, rows[i].begin());
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  points.resize(rows.size() * Axes);
  for (std::size_t i = 0; i < rows.size(); ++i) std::copy_n(rows[i].begin(), Axes, &points[i * Axes]);
}

void sort_unique_any(Points& points, std::size_t axes) {
  std::vector<std::size_t> order(points.size() / axes);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i * axes;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return compare_points(&points[a], &points[b], axes) < 0; });
  Points sorted;
  sorted.reserve(points.size());
  for (const std::size_t at : order) {
    if (!sorted.empty() && compare_points(&sorted[sorted.size() - axes], &points[at], axes) == 0) continue;
    sorted.insert(sorted.end(), &points[at], &points[at] + axes);
  }
  points = std::move(sorted);
}

void sort_unique(Points& points, std::size_t axes) {
  if (axes == 0 || is_sorted_unique(points, axes)) return;
  switch (axes) {
    case 1: return sort_unique_fixed<1>(points);
    case 2: return sort_unique_fixed<2>(points);
    case 3: return sort_unique_fixed<3>(points);
    case 4: return sort_unique_fixed<4>(points);
    default: return sort_unique_any(points, axes);
  }
}

// Which of the points of two sorted lists stay: keep(in a, in b).
template <class Keep>
Points merge_points(const Points& a, const Points& b, std::size_t axes, Keep keep) {
  Points out;
  out.reserve(std::max(a.size(), b.size()));
  const auto take = [&](const Rank* point) { out.insert(out.end(), point, point + axes); };
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    const int order = i == a.size() ? 1 : j == b.size() ? -1 : compare_points(&a[i], &b[j], axes);
    if (keep(order <= 0, order >= 0)) take(order <= 0 ? &a[i] : &b[j]);
    if (order <= 0) i += axes;
    if (order >= 0) j += axes;
  }
  return out;
}

void append_name(std::string& out, const std::vector<std::string>& texts, const Rank* point) {
  out += texts[0];
  for (std::size_t axis = 0; axis + 1 < texts.size(); ++axis) {
    append_number(out, number_of(point[axis]));
    out += texts[axis + 1];
  }
}

bool has_point(const Points& points, const Rank* wanted, std::size_t axes) {
  std::size_t low = 0, high = points.size() / axes;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const int order = compare_points(&points[middle * axes], wanted, axes);
    if (order == 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

Diagnostic bad_name(std::string_view name, const NameFault& fault) {
  Diagnostic d = error(code::bad_node_name, fmt::format("\"{}\" is no node name: {}", one_line(name, 60), fault.message));
  return d;
}

}  // namespace

std::vector<Rank>& Builder::points(const std::string& pattern, std::size_t axes) {
  auto& family = families_[pattern];
  family.axes = axes;
  return family.points;
}

void Builder::add_name(std::string_view name) {
  pattern_.clear();
  numbers_.clear();
  split_name(name, pattern_, numbers_);
  auto& into = points(pattern_, numbers_.size());
  into.insert(into.end(), numbers_.begin(), numbers_.end());
}

void Builder::add(const NodeSet& set) {
  for (const auto& [pattern, family] : set.families_) {
    auto& into = points(pattern, family.axes);
    into.insert(into.end(), family.points.begin(), family.points.end());
  }
}

NodeSet Builder::take() {
  NodeSet set;
  for (auto& [pattern, family] : families_) {
    sort_unique(family.points, family.axes);
    if (family.axes == 0 || !family.points.empty()) set.families_.emplace(pattern, std::move(family));
  }
  families_.clear();
  return set;
}

Result<NodeSet> NodeSet::from_names(const std::vector<std::string>& names) {
  Builder builder;
  for (const auto& name : names) {
    if (const auto fault = find_name_fault(name)) return bad_name(name, *fault);
    builder.add_name(name);
  }
  NodeSet set = builder.take();
  if (set.size() > max_nodes)
    return error(code::nodeset_too_large, fmt::format("{} names: at most {} are allowed", with_thousands(static_cast<long long>(set.size())), with_thousands(max_nodes)));
  return set;
}

std::size_t NodeSet::size() const {
  std::size_t total = 0;
  for (const auto& [pattern, family] : families_) total += family.size();
  return total;
}

bool NodeSet::contains(std::string_view name) const {
  if (name.size() > max_name_bytes || find_name_fault(name)) return false;
  std::string pattern;
  std::vector<Rank> numbers;
  split_name(name, pattern, numbers);
  const auto found = families_.find(pattern);
  if (found == families_.end()) return false;
  return numbers.empty() || has_point(found->second.points, numbers.data(), numbers.size());
}

bool NodeSet::contains(const NodeSet& subset) const {
  for (const auto& [pattern, wanted] : subset.families_) {
    const auto found = families_.find(pattern);
    if (found == families_.end() || wanted.points.size() > found->second.points.size()) return false;
    for (std::size_t at = 0; at < wanted.points.size(); at += wanted.axes)
      if (!has_point(found->second.points, &wanted.points[at], wanted.axes)) return false;
  }
  return true;
}

template <class Keep>
void NodeSet::combine(const NodeSet& other, Keep keep) {
  const NodeSet copy = &other == this ? other : NodeSet();
  const NodeSet& right = &other == this ? copy : other;
  for (auto here = families_.begin(); here != families_.end();) {
    const auto there = right.families_.find(here->first);
    const bool both = there != right.families_.end();
    Family& family = here->second;
    bool stays;
    if (!both) {
      stays = keep(true, false);
    } else if (family.axes == 0) {
      stays = keep(true, true);
    } else {
      family.points = merge_points(family.points, there->second.points, family.axes, keep);
      stays = !family.points.empty();
    }
    here = stays ? std::next(here) : families_.erase(here);
  }
}

NodeSet& NodeSet::operator|=(const NodeSet& other) {
  if (contains(other)) return *this;   // the usual case of groups added to the known nodes: no copy of a large set
  combine(other, [](bool, bool) { return true; });
  for (const auto& [pattern, family] : other.families_) families_.try_emplace(pattern, family);
  return *this;
}

NodeSet& NodeSet::operator-=(const NodeSet& other) {
  combine(other, [](bool a, bool b) { return a && !b; });
  return *this;
}

NodeSet& NodeSet::operator&=(const NodeSet& other) {
  combine(other, [](bool a, bool b) { return a && b; });
  return *this;
}

NodeSet& NodeSet::operator^=(const NodeSet& other) {
  NodeSet only_there = other - *this;
  *this -= other;
  return *this |= only_there;
}

void NodeSet::for_each(const std::function<void(std::string_view)>& visit) const {
  std::string name;
  for (const auto& [pattern, family] : families_) {
    const auto texts = pattern_texts(pattern);
    for (std::size_t i = 0; i < family.size(); ++i) {
      name.clear();
      append_name(name, texts, family.points.data() + i * family.axes);
      visit(name);
    }
  }
}

std::vector<std::string> NodeSet::names() const {
  std::vector<std::string> out;
  out.reserve(size());
  for_each([&](std::string_view name) { out.emplace_back(name); });
  return out;
}

NodeSet NodeSet::section(std::size_t from, std::size_t count) const {
  NodeSet out;
  for (const auto& [pattern, family] : families_) {
    const std::size_t skip = std::min(from, family.size());
    const std::size_t take = std::min(count, family.size() - skip);
    from -= skip;
    count -= take;
    if (take == 0) continue;
    Family& part = out.families_[pattern];
    part.axes = family.axes;
    const Rank* first = family.points.data() + skip * family.axes;
    part.points.assign(first, first + take * family.axes);
  }
  return out;
}

std::vector<NodeSet> NodeSet::split(std::size_t parts) const {
  std::vector<NodeSet> out;
  const std::size_t total = size();
  parts = std::min(parts, total);
  for (std::size_t i = 0, from = 0; i < parts; ++i) {
    const std::size_t count = total / parts + (i < total % parts ? 1 : 0);
    out.push_back(section(from, count));
    from += count;
  }
  return out;
}

std::string fold_names(const std::vector<std::string>& names) {
  Builder builder;
  std::vector<std::string> odd;
  for (const auto& name : names) {
    if (find_name_fault(name)) odd.push_back(one_line(name));
    else builder.add_name(name);
  }
  std::string text = builder.take().fold();
  std::sort(odd.begin(), odd.end());
  odd.erase(std::unique(odd.begin(), odd.end()), odd.end());
  for (const auto& name : odd) text += (text.empty() ? "" : ",") + name;
  return text;
}

Status check_name(std::string_view name) {
  if (const auto fault = find_name_fault(name)) return bad_name(name, *fault);
  return ok();
}

}  // namespace kfab::nodeset
