#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "nodeset/name.hpp"
#include "nodeset/nodeset.hpp"

// Folding over several axes. The outcome is ClusterShell's from single names: begin with one product of one-element
// sets per name, sort the products (large ones first), unite neighbours that differ on one axis only until nothing
// changes, then do the same over all pairs. What is our own is that the sets are ropes with a hash, so that comparing
// and uniting two of them costs constant time, and that partners are looked up instead of tried one by one.
namespace kfab::nodeset {
namespace {

using SetId = std::uint32_t;

std::uint64_t mix(std::uint64_t x) {   // the finalizer of SplitMix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// 128 bits that stand for a set: the sum over its elements, so that the hash of a disjoint union is a sum.
struct Hash {
  std::uint64_t a = 0, b = 0;
  auto operator<=>(const Hash&) const = default;
  Hash operator+(const Hash& other) const { return {a + other.a, b + other.b}; }
  Hash operator-(const Hash& other) const { return {a - other.a, b - other.b}; }
};

// A digit string as it compares as text: 10 before 9, and 1 before 10.
struct TextKey {
  std::uint64_t aligned = 0;
  std::size_t width = 0;
  auto operator<=>(const TextKey&) const = default;
};

TextKey text_key(Rank rank) {
  const Number n = number_of(rank);
  return {n.value * detail::powers[max_width - n.width], n.width};
}

// The sets of one fold. A set is one number or the union of two disjoint sets.
class Sets {
 public:
  static constexpr SetId none = std::numeric_limits<SetId>::max();
  struct Node {
    Hash hash;
    Rank first = 0, last = 0;
    TextKey first_text, last_text;
    std::uint64_t count = 1;
    SetId left = none, right = none;
  };

  SetId single(Rank rank) {
    const auto text = text_key(rank);
    nodes_.push_back({{mix(rank), mix(~rank ^ 0x5851F42D4C957F2Du)}, rank, rank, text, text, 1, none, none});
    return static_cast<SetId>(nodes_.size() - 1);
  }
  SetId unite(SetId a, SetId b) {
    const Node& left = nodes_[a];
    const Node& right = nodes_[b];
    Node both{left.hash + right.hash, left.first, left.last, left.first_text, left.last_text, left.count + right.count, a, b};
    if (right.first < both.first) { both.first = right.first; both.first_text = right.first_text; }
    if (right.last > both.last) { both.last = right.last; both.last_text = right.last_text; }
    nodes_.push_back(both);
    return static_cast<SetId>(nodes_.size() - 1);
  }
  const Node& operator[](SetId id) const { return nodes_[id]; }
  bool equal(SetId a, SetId b) const { return a == b || (nodes_[a].hash == nodes_[b].hash && nodes_[a].count == nodes_[b].count); }

  std::vector<Rank> elements(SetId id) const {
    std::vector<Rank> out;
    std::vector<SetId> open{id};
    while (!open.empty()) {
      const Node& node = nodes_[open.back()];
      open.pop_back();
      if (node.left == none) { out.push_back(node.first); continue; }
      open.push_back(node.left);
      open.push_back(node.right);
    }
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  std::vector<Node> nodes_;
};

class Folder {
 public:
  Folder(const std::vector<Rank>& points, std::size_t axes) : axes_(axes) {
    products_.resize(points.size());
    for (std::size_t axis = 0; axis < axes; ++axis) {
      std::vector<Rank> values;
      for (std::size_t at = axis; at < points.size(); at += axes) values.push_back(points[at]);
      std::sort(values.begin(), values.end());
      values.erase(std::unique(values.begin(), values.end()), values.end());
      const auto base = static_cast<SetId>(first_free_);
      for (const Rank value : values) sets_.single(value);
      first_free_ += values.size();
      for (std::size_t at = axis; at < points.size(); at += axes) {
        const auto where = std::lower_bound(values.begin(), values.end(), points[at]) - values.begin();
        products_[at] = base + static_cast<SetId>(where);
      }
    }
    order_.resize(points.size() / axes);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  void fold() {
    bool changed = true;
    while (changed) {
      sort();
      changed = unite_neighbours();
    }
    do {
      sort();
    } while (unite_all_pairs());
  }

  template <class Visit>
  void for_each(Visit visit) const {   // visit(const SetId* product)
    for (const std::size_t p : order_) visit(&products_[p * axes_]);
  }
  const Sets& sets() const { return sets_; }

 private:
  std::uint64_t size_of(std::size_t p) const {
    std::uint64_t size = 1;
    for (std::size_t axis = 0; axis < axes_; ++axis) size *= sets_[set(p, axis)].count;
    return size;
  }
  SetId& set(std::size_t p, std::size_t axis) { return products_[p * axes_ + axis]; }
  SetId set(std::size_t p, std::size_t axis) const { return products_[p * axes_ + axis]; }

  // Larger products first, then axis by axis larger sets, then lower first and last number, as text.
  void sort() {
    std::vector<std::pair<std::uint64_t, std::size_t>> keyed;
    keyed.reserve(order_.size());
    for (const std::size_t p : order_) keyed.emplace_back(size_of(p), p);
    std::stable_sort(keyed.begin(), keyed.end(), [this](const auto& a, const auto& b) {
      if (a.first != b.first) return a.first > b.first;
      for (std::size_t axis = 0; axis < axes_; ++axis) {
        const SetId left = set(a.second, axis), right = set(b.second, axis);
        if (left == right) continue;
        const Sets::Node& x = sets_[left];
        const Sets::Node& y = sets_[right];
        if (x.count != y.count) return x.count > y.count;
        if (x.first_text != y.first_text) return x.first_text < y.first_text;
        if (x.last_text != y.last_text) return x.last_text < y.last_text;
      }
      return false;
    });
    for (std::size_t i = 0; i < keyed.size(); ++i) order_[i] = keyed[i].second;
  }

  // Products are disjoint, so two of them unite to one product exactly when they differ on one axis.
  bool unite(std::size_t into, std::size_t other) {
    std::size_t differing = axes_;
    for (std::size_t axis = 0; axis < axes_; ++axis) {
      if (sets_.equal(set(into, axis), set(other, axis))) continue;
      if (differing != axes_) return false;
      differing = axis;
    }
    if (differing != axes_) set(into, differing) = sets_.unite(set(into, differing), set(other, differing));
    return true;
  }

  bool unite_neighbours() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < order_.size();) {
      const std::size_t current = order_[i++];
      while (i < order_.size() && unite(current, order_[i])) ++i;
      order_[kept++] = current;
    }
    const bool changed = kept != order_.size();
    order_.resize(kept);
    return changed;
  }

  // The hash of a product without one axis: equal for products that may unite along that axis.
  Hash key_without(std::size_t p, std::size_t axis) const {
    Hash key;
    for (std::size_t i = 0; i < axes_; ++i) {
      if (i == axis) continue;
      const Hash& h = sets_[set(p, i)].hash;
      key = key + Hash{mix(h.a + i), mix(h.b ^ (h.a + 31 * i))};
    }
    return key;
  }

  // Candidates along one axis: (key, position), sorted, with dead ones skipped by path compression.
  struct Index {
    std::vector<std::pair<Hash, std::size_t>> rows;
    std::vector<std::size_t> next;
    std::size_t alive_from(std::size_t at) {
      std::size_t end = at;
      while (end < next.size() && next[end] != end) end = next[end];
      while (at < next.size() && next[at] != at) at = std::exchange(next[at], end);
      return end;
    }
  };

  bool unite_all_pairs() {
    const std::size_t count = order_.size();
    std::vector<Index> indexes(axes_);
    for (std::size_t axis = 0; axis < axes_; ++axis) {
      Index& index = indexes[axis];
      index.rows.reserve(count);
      for (std::size_t i = 0; i < count; ++i) index.rows.emplace_back(key_without(order_[i], axis), i);
      std::sort(index.rows.begin(), index.rows.end());
      index.next.resize(count + 1);
      std::iota(index.next.begin(), index.next.end(), std::size_t{0});
    }
    // A product is changed only while it is the current one, so the keys of those after it are still true.
    const auto row_of = [&](Index& index, const Hash& key, std::size_t position) {
      return static_cast<std::size_t>(std::lower_bound(index.rows.begin(), index.rows.end(), std::pair{key, position}) - index.rows.begin());
    };
    std::vector<char> dead(count, 0);
    bool changed = false;
    for (std::size_t i = 0; i < count; ++i) {
      if (dead[i]) continue;
      for (std::size_t after = i + 1;;) {
        std::size_t partner = count;
        for (std::size_t axis = 0; axis < axes_; ++axis) {
          Index& index = indexes[axis];
          const Hash key = key_without(order_[i], axis);
          const std::size_t row = index.alive_from(row_of(index, key, after));
          if (row < count && index.rows[row].first == key) partner = std::min(partner, index.rows[row].second);
        }
        if (partner == count) break;
        after = partner + 1;
        std::vector<Hash> keys;
        for (std::size_t axis = 0; axis < axes_; ++axis) keys.push_back(key_without(order_[partner], axis));
        if (!unite(order_[i], order_[partner])) continue;
        dead[partner] = 1;
        changed = true;
        for (std::size_t axis = 0; axis < axes_; ++axis) {
          Index& index = indexes[axis];
          const std::size_t row = row_of(index, keys[axis], partner);
          index.next[row] = row + 1;
        }
      }
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i)
      if (!dead[i]) order_[kept++] = order_[i];
    order_.resize(kept);
    return changed;
  }

  std::size_t axes_;
  std::size_t first_free_ = 0;
  Sets sets_;
  std::vector<SetId> products_;        // `axes_` sets for each
  std::vector<std::size_t> order_;     // the products that are left
};

void append_separator(std::string& out) { if (!out.empty()) out += ','; }

void append_set(std::string& out, const std::vector<Rank>& sorted) {
  const std::string text = fold_numbers(sorted);
  out += sorted.size() == 1 ? text : "[" + text + "]";
}

}  // namespace

std::string NodeSet::fold() const {
  std::string out;
  for (const auto& [pattern, family] : families_) {
    const auto texts = pattern_texts(pattern);
    if (family.axes <= 1) {
      append_separator(out);
      out += texts[0];
      if (family.axes == 1) {
        append_set(out, family.points);
        out += texts[1];
      }
      continue;
    }
    Folder folder(family.points, family.axes);
    folder.fold();
    folder.for_each([&](const SetId* product) {
      append_separator(out);
      out += texts[0];
      for (std::size_t axis = 0; axis < family.axes; ++axis) {
        append_set(out, folder.sets().elements(product[axis]));
        out += texts[axis + 1];
      }
    });
  }
  return out;
}

}  // namespace kfab::nodeset
