// What is known of machines and of the keys that they show, told without deciding or storing anything.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/host_names.hpp"

namespace kfab::ssh {

std::string HostKeys::at(const Book& book, const KnownHost& host) { return fmt::format("{}:{}", one_line(book.files[host.file]), host.line); }

HostKeys::Line HostKeys::line(const Book& book, const KnownHost& host, bool in_store) const {
  return {host.type, host.blob, book.files[host.file], host.line, host.marker, in_store, host.names};
}

Result<std::vector<HostKeys::Standing>> HostKeys::standings(const Target& target, const std::vector<std::string>& key_blobs) {
  using State = Standing::State;
  KFAB_TRY_VOID(read_books(target));
  const std::shared_lock lock(mutex_);
  const auto [users, store] = books(target);
  std::vector<Standing> all(key_blobs.size());
  const auto vouched_for = certified(target);
  bool one_known = false;
  const auto judged = [&](std::size_t i, Tries tries) {
    const Known known = this->known(target, key_blobs[i], tries);
    if (known.trusted) {
      all[i] = {State::known, at(*known.book, *known.lines.front()), {}};
      return;
    }
    const auto same_type = [&](const KnownHost* host) { return host->type == key_type(key_blobs[i]); };
    if (std::any_of(known.lines.begin(), known.lines.end(), same_type)) all[i].state = State::changed;
    for (const KnownHost* host : known.lines) {
      if (all[i].state == State::changed && !same_type(host)) continue;
      all[i].known_by.push_back(fmt::format("{} {} ({})", one_line(host->type), fingerprint(host->blob), at(*known.book, *host)));
    }
  };
  // First what costs little. A store of hashed lines decides only once all are tried.
  const Tries cheap = store == nullptr || store->hosts.hashed() == 0 ? Tries::readable : Tries::all;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (const KnownHost* host = revoked(target, key_blobs[i])) all[i] = {State::revoked, one_line(host->names), {}};
    else if (std::find(vouched_for.begin(), vouched_for.end(), key_blobs[i]) != vouched_for.end()) all[i].state = State::certified;
    else judged(i, cheap);
    one_known = one_known || all[i].state == State::known;
  }
  // The hashed lines are tried for what is still open, unless they can tell nothing new.
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].state != State::unknown) continue;
    const bool may_hide = users->hosts.may_hide(address_name(target), key_type(key_blobs[i]));
    if (one_known ? may_hide : users->hosts.hashed() > 0) {
      all[i] = {};
      judged(i, Tries::all);
    }
  }
  return all;
}

Result<std::uint64_t> HostKeys::sweep(const std::vector<Target>& targets) {
  std::map<const Book*, std::pair<std::vector<std::string>, std::vector<std::string>>> names;   // of nodes, and addresses
  for (const Target& target : targets) {
    KFAB_TRY_VOID(read_books(target));
    const std::shared_lock lock(mutex_);
    const auto [users, store] = books(target);
    if (store != nullptr && store->hosts.hashed() > 0) {
      names[store].first.push_back(node_name(target));
      names[store].second.push_back(address_name(target));
    }
    if (users->hosts.hashed() > 0) names[users].second.push_back(address_name(target));
  }
  const std::shared_lock lock(mutex_);
  std::uint64_t left = 0;
  for (const auto& [book, both] : names) {
    (void)book->hosts.sweep(both.second);
    left += static_cast<std::uint64_t>(book->hosts.sweep(both.first)) * (both.first.size() + both.second.size());
  }
  return left;
}

Result<std::vector<HostKeys::Line>> HostKeys::lines_of(const Target& target, bool try_hashed) {
  KFAB_TRY_VOID(read_books(target));
  const std::shared_lock lock(mutex_);
  std::vector<Line> lines;
  const Known known = this->known(target, {}, try_hashed ? Tries::all : Tries::readable);
  const auto [users, store] = books(target);
  for (const KnownHost* host : known.lines) lines.push_back(line(*known.book, *host, known.book == store));
  if (known.lines.empty()) {
    for (const std::string& name : vague_names_of(target)) {
      for (const KnownHost* host : users->hosts.find_readable(name)) lines.push_back(line(*users, *host, false));
    }
  }
  for (const Book* book : {store, users}) {
    if (book == nullptr) continue;
    std::vector<const KnownHost*> seen;
    for (const auto marker : {KnownHost::Marker::revoked, KnownHost::Marker::cert_authority}) {
      for (const std::string& name : all_names_of(target)) {
        for (const KnownHost* host : book->hosts.find_marked(name, marker)) {
          if (std::find(seen.begin(), seen.end(), host) != seen.end()) continue;
          seen.push_back(host);
          lines.push_back(line(*book, *host, book == store));
        }
      }
    }
  }
  return lines;
}

Result<std::vector<HostKeys::Line>> HostKeys::store_lines_of_key(const Target& target, std::string_view key_blob) {
  KFAB_TRY_VOID(read_books(target));
  const std::shared_lock lock(mutex_);
  std::vector<Line> lines;
  const Book* store = books(target).store;
  if (store == nullptr) return lines;
  for (const KnownHost* host : store->hosts.lines_of_key(key_blob)) lines.push_back(line(*store, *host, true));
  return lines;
}

std::vector<std::string> HostKeys::authority_trouble(const Target& target) {
  std::vector<std::string> trouble;
  (void)read_books(target);
  const std::shared_lock lock(mutex_);
  for (const std::string& path : target.host_ca_files) {
    if (const auto file = authorities_.find(path); file != authorities_.end() && !file->second->trouble.empty()) trouble.push_back(file->second->trouble);
  }
  return trouble;
}

}  // namespace kfab::ssh
