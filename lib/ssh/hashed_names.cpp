#include "ssh/hashed_names.hpp"

#include <algorithm>
#include <atomic>
#include <bit>

#include "ssh/codec.hpp"
#include "ssh/sha1.hpp"

namespace kfab::ssh {
namespace {

constexpr std::size_t digest_bytes = 20;
using Lanes = std::uint32_t __attribute__((vector_size(16)));

sha1::State<Lanes> loaded(const std::uint32_t (&words)[5][4]) {
  sha1::State<Lanes> state;
  for (std::size_t i = 0; i < 5; ++i) state[i] = Lanes{words[i][0], words[i][1], words[i][2], words[i][3]};
  return state;
}

void put_lane(std::uint32_t (&words)[5][4], std::size_t lane, const sha1::State<std::uint32_t>& state) {
  for (std::size_t i = 0; i < 5; ++i) words[i][lane] = state[i];
}

sha1::State<std::uint32_t> lane_of(const std::uint32_t (&words)[5][4], std::size_t lane) {
  return {words[0][lane], words[1][lane], words[2][lane], words[3][lane], words[4][lane]};
}

}  // namespace

bool HashedNames::add(std::string_view field, std::size_t line) {
  if (!field.starts_with("|1|")) return false;
  const std::size_t bar = field.find('|', 3);
  if (bar == std::string_view::npos) return false;
  const auto salt = base64_decode(field.substr(3, bar - 3));
  const auto digest = base64_decode(field.substr(bar + 1));
  if (!salt || !digest || salt->size() != digest_bytes || digest->size() != digest_bytes) return false;
  const std::size_t lane = lines_.size() % lanes;
  if (lane == 0) {
    groups_.push_back(Group{});
    found_.push_back(0);
  }
  const sha1::Pads pads = sha1::pads_of(*salt);
  put_lane(groups_.back().inner, lane, pads.inner);
  put_lane(groups_.back().outer, lane, pads.outer);
  put_lane(groups_.back().digest, lane, sha1::words_of(*digest));
  lines_.push_back(line);
  return true;
}

void HashedNames::remember(std::size_t at, const std::string& name) const {
  const auto bit = static_cast<std::uint8_t>(1u << at % lanes);
  if ((std::atomic_ref(found_[at / lanes]).fetch_or(bit, std::memory_order_relaxed) & bit) == 0) ++found_count_;
  std::vector<std::size_t>& known = names_[name].lines;
  if (std::find(known.begin(), known.end(), lines_[at]) == known.end()) known.push_back(lines_[at]);
}

bool HashedNames::matches(std::size_t at, std::string_view name) const {
  const Group& group = groups_[at / lanes];
  auto inner = lane_of(group.inner, at % lanes);
  for (const sha1::Block& block : sha1::blocks_of(name, 64)) sha1::compress<std::uint32_t, std::uint32_t>(inner, block);
  auto outer = lane_of(group.outer, at % lanes);
  sha1::compress<std::uint32_t, std::uint32_t>(outer, sha1::outer_block(inner));
  if (outer != lane_of(group.digest, at % lanes)) return false;
  const std::lock_guard lock(mutex_);
  remember(at, std::string(name));
  return true;
}

std::vector<std::size_t> HashedNames::find_all(std::string_view name) const {
  std::size_t from = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = names_.find(std::string(name)); known != names_.end()) {
      if (known->second.tried == lines_.size()) return known->second.lines;
      from = known->second.tried;
    }
    if (found_count_ == lines_.size()) {   // each line has its name, and none has two
      Name& result = names_[std::string(name)];
      result.tried = lines_.size();
      return result.lines;
    }
  }
  const auto blocks = sha1::blocks_of(name, 64);
  std::vector<std::size_t> hits;
  constexpr std::uint8_t whole = (1u << lanes) - 1;
  for (std::size_t g = from / lanes; g < groups_.size(); ++g) {
    if (std::atomic_ref(found_[g]).load(std::memory_order_relaxed) == whole) continue;
    sha1::State<Lanes> inner = loaded(groups_[g].inner);
    for (const sha1::Block& block : blocks) sha1::compress<Lanes, std::uint32_t>(inner, block);
    sha1::State<Lanes> outer = loaded(groups_[g].outer);
    sha1::compress<Lanes, Lanes>(outer, sha1::outer_block(inner));
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      if (outer[0][lane] != groups_[g].digest[0][lane]) continue;
      const std::size_t at = g * lanes + lane;
      bool all = at < lines_.size();
      for (std::size_t i = 1; i < 5; ++i) all = all && outer[i][lane] == groups_[g].digest[i][lane];
      if (all) hits.push_back(at);
    }
  }
  const std::lock_guard lock(mutex_);
  for (const std::size_t at : hits) remember(at, std::string(name));
  Name& result = names_[std::string(name)];
  result.tried = lines_.size();
  return result.lines;
}

void HashedNames::sweep(const std::vector<std::string>& names) const {
  constexpr std::size_t reach = 8;        // lines that are tried for a name, from where the one before was found
  std::size_t searches = 100;             // of all lines, where the order breaks off: some milliseconds each
  std::size_t at = 0;
  const auto untried = [&](std::size_t line) { return (std::atomic_ref(found_[line / lanes]).load(std::memory_order_relaxed) >> line % lanes & 1u) == 0; };
  for (const std::string& name : names) {
    bool hit = false;
    std::size_t misses = 0;
    for (std::size_t line = at; line < lines_.size() && misses < reach; ++line) {
      if (!untried(line)) continue;
      if (matches(line, name)) {          // and the lines after it may be its other keys
        hit = true;
        at = line + 1;
        misses = reach / 2;
      } else {
        ++misses;
      }
    }
    if (hit || searches == 0) continue;
    --searches;
    // The numbers of lines rise with their places.
    if (const auto found = find_all(name); !found.empty())
      at = static_cast<std::size_t>(std::lower_bound(lines_.begin(), lines_.end(), found.back()) - lines_.begin()) + 1;
  }
}

std::size_t HashedNames::found() const {
  const std::lock_guard lock(mutex_);
  return found_count_;
}

std::vector<std::size_t> HashedNames::known(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(std::string(name));
  return found == names_.end() ? std::vector<std::size_t>{} : found->second.lines;
}

bool HashedNames::all_tried(std::string_view name) const {
  if (lines_.empty()) return true;
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(std::string(name));
  return found != names_.end() && found->second.tried == lines_.size();
}

}  // namespace kfab::ssh
