#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kfab::ssh {

// The names that known_hosts lines hide behind |1|salt|hmac. Whether one line has a given name costs one HMAC whose
// pads were made when the line was read; all of them together are tried several at a time (about 0.1 us a line). A line
// whose name has been found is remembered, and trying all for another name passes over it. Adding needs the object
// for itself; the rest may be called by several threads at once.
class HashedNames {
 public:
  // A line by the caller's number for it. False, and nothing is taken, when the field is not as OpenSSH writes it:
  // salt and digest of 20 bytes each.
  bool add(std::string_view field, std::size_t line);
  std::size_t size() const { return lines_.size(); }

  // Whether the `at`-th line (in the order of adding) has this name.
  bool matches(std::size_t at, std::string_view name) const;
  // The lines that have this name, all of them: each was tried, now or before.
  std::vector<std::size_t> find_all(std::string_view name) const;
  // Finds whose the lines are as far as they stand about in the order of the names, as they do where one program has met
  // all machines in a row: a few tries for each name. Nothing is concluded of a line that is not found.
  void sweep(const std::vector<std::string>& names) const;
  std::size_t found() const;   // how many lines have a name that is known
  // Those of which it is known already, without trying any.
  std::vector<std::size_t> known(std::string_view name) const;
  // Whether find_all() would try nothing for this name.
  bool all_tried(std::string_view name) const;

 private:
  static constexpr std::size_t lanes = 4;
  // `lanes` lines side by side: for each of the five words of a SHA-1 state, that word of each line.
  struct Group {
    alignas(16) std::uint32_t inner[5][lanes];
    alignas(16) std::uint32_t outer[5][lanes];
    alignas(16) std::uint32_t digest[5][lanes];
  };
  struct Name {
    std::vector<std::size_t> lines;
    std::size_t tried = 0;   // how many of the lines, from the first, were all tried
  };
  void remember(std::size_t at, const std::string& name) const;

  std::vector<Group> groups_;
  std::vector<std::size_t> lines_;                  // the caller's numbers
  mutable std::vector<std::uint8_t> found_;         // per group, a bit for each line whose name was found
  mutable std::size_t found_count_ = 0;             // of bits in found_; changed under the mutex
  mutable std::mutex mutex_;                        // of the two below
  mutable std::unordered_map<std::string, Name> names_;
};

}  // namespace kfab::ssh
