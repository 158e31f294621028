#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ssh/hashed_names.hpp"

namespace kfab::ssh {

// One line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
struct KnownHost {
  enum class Marker { none, revoked, cert_authority };
  Marker marker = Marker::none;
  std::string names;       // as they stand there
  std::string type;        // "ssh-ed25519"
  std::string blob;        // the public key itself
  std::size_t line = 0;    // from 1
  std::size_t file = 0;    // the caller's number of the file
};

// The name under which a known_hosts file knows a machine: "host", or "[host]:port" when the port is not 22. ASCII
// letters in lower case.
std::string known_hosts_name(std::string_view host, unsigned port);

// Several known_hosts files, read once. Plain names are found by hash, patterns with wildcards and negation one by one.
// A hashed |1| line does not say whom it is about; but who shows a key need only be held against the lines with that
// very key, which is one HMAC for a machine that is known. All hashed lines are tried only where the answer must tell
// unknown from changed. Lines are never moved, so what is returned stays valid while lines are added. Adding needs the
// object for itself; the rest may be called by several threads at once.
class KnownHosts {
 public:
  using Marker = KnownHost::Marker;
  using Lines = std::vector<const KnownHost*>;

  // Lines that cannot be read are skipped and counted, as OpenSSH does.
  void add(std::string_view text, std::size_t file = 0);
  // One more line, as it was just stored.
  void add_line(std::string_view line, std::size_t line_number, std::size_t file);

  // The unmarked lines that apply to a name (known_hosts_name). Tries every hashed line whose name is not known yet.
  Lines find(std::string_view name) const { return matching(name, Marker::none); }
  // Likewise the lines with this marker.
  Lines find_marked(std::string_view name, Marker marker) const { return matching(name, marker); }
  // The unmarked lines that apply to a name as far as that is known without trying hashed ones.
  Lines find_readable(std::string_view name) const;
  // The first line with this marker, this name and this key; null when there is none. Cheap, also for hashed lines.
  const KnownHost* find_key(std::string_view name, std::string_view blob, Marker marker = Marker::none) const;

  // For many names that will be asked for, in their order: finds what hashed lines are theirs with few tries, where the lines
  // stand in about that order. Returns how many lines are left of which it is not known whose they are.
  std::size_t sweep(const std::vector<std::string>& names) const;

  // Every line with this key, whatever its names and marker.
  Lines lines_of_key(std::string_view blob) const;
  // The key types of unmarked hashed lines, the most frequent first; empty when find() would try none for this name.
  std::vector<std::string> types_not_tried(std::string_view name) const;
  // Whether an unmarked hashed line has this type and it is not known whether it is this name's.
  bool may_hide(std::string_view name, std::string_view type) const;

  std::size_t size() const { return entries_.size(); }
  std::size_t hashed() const { return hashed_[0].size() + hashed_[1].size() + hashed_[2].size(); }
  std::size_t skipped() const { return skipped_; }

 private:
  struct Patterns { std::vector<std::string> words; std::size_t entry; };
  struct Place { std::size_t entry, hashed_at; };   // hashed_at: in its marker's HashedNames, or not_hashed
  static constexpr std::size_t not_hashed = static_cast<std::size_t>(-1);
  void add_names(std::string_view names, std::size_t entry);
  Lines matching(std::string_view name, Marker) const;
  void add_readable(std::string_view name, Marker, Lines&) const;

  std::deque<KnownHost> entries_;
  std::unordered_map<std::string, std::vector<std::size_t>> plain_;
  std::vector<Patterns> patterns_;
  HashedNames hashed_[3];                                            // by marker
  std::unordered_map<std::string_view, std::vector<Place>> by_key_;  // the views are of entries_
  std::map<std::string, std::size_t> hashed_types_;                  // of unmarked hashed lines: how many of each
  std::size_t skipped_ = 0;
};

}  // namespace kfab::ssh
