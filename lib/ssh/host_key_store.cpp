#include "ssh/host_key_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/known_hosts.hpp"

namespace kfab::ssh {
namespace {

Diagnostic not_written(const std::string& path, std::string_view why) {
  return error(code::host_key_not_stored, fmt::format("{} was not changed: {}", one_line(path), one_line(why)));
}

// The names of a line without those in `gone`; empty when none is left.
std::string names_without(std::string_view names, const std::unordered_set<std::string>& gone) {
  std::vector<std::string> kept;
  for (std::string& name : split(names, ',')) {
    if (!gone.contains(to_lower(name))) kept.push_back(std::move(name));
  }
  return join(kept, ",");
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::unique_ptr<LockedFile>> LockedFile::open(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  // Whoever held the lock may have put another file in this one's place; how often that happens in a row is bounded.
  for (int attempt = 0; attempt < 100; ++attempt) {
    auto file = std::unique_ptr<LockedFile>(new LockedFile(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)));
    struct stat held {}, named {};
    if (file->fd() < 0 || ::flock(file->fd(), LOCK_EX) != 0 || ::fstat(file->fd(), &held) != 0) {
      return error(code::host_key_not_stored, std::strerror(errno));
    }
    if (::stat(path.c_str(), &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev) return file;
  }
  return error(code::host_key_not_stored, "it is replaced again and again");
}

bool can_be_stored(const Target& target) {
  constexpr std::string_view special = " \t\r\n,*?!|@#";
  const auto fit = [&](const std::string& name) { return !name.empty() && name.find_first_of(special) == std::string::npos; };
  return fit(node_name(target)) && fit(address_name(target));
}

std::string store_line(const Target& target, std::string_view key_blob) {
  const std::string address = address_name(target), node = node_name(target);
  return fmt::format("{} {} {}", node == address ? address : node + "," + address, key_type(key_blob), base64_encode(key_blob));
}

Result<std::vector<ReplacedLine>> update_store(const std::string& path, const std::vector<StoreChange>& changes) {
  for (const StoreChange& change : changes) {
    if (!can_be_stored(*change.target)) return not_written(path, "a line cannot hold the name or address of " + shown(*change.target));
  }
  auto lock = LockedFile::open(path);
  if (!lock) return not_written(path, lock.error().message);
  auto text = read_file(path);
  if (!text) return not_written(path, text.error().message);

  std::unordered_map<std::string, std::string> replaced_names;   // -> node
  for (const StoreChange& change : changes) {
    if (!change.replace) continue;
    replaced_names.emplace(node_name(*change.target), change.target->node);
    replaced_names.emplace(address_name(*change.target), change.target->node);
  }
  // A hashed line costs an HMAC for each name that is replaced; known_hosts lines of people's own may be such.
  KnownHosts hosts;
  hosts.add(*text);
  std::unordered_map<std::size_t, std::unordered_set<std::string>> gone;   // by line number: which of its names go
  std::vector<ReplacedLine> replaced;
  for (const auto& [name, node] : replaced_names) {
    for (const KnownHost* line : hosts.find(name)) {
      const bool listed = line->names.find_first_of("*?!|") == std::string::npos;
      if (!listed && !line->names.starts_with("|")) {
        return not_written(path, fmt::format("line {} names {} by a pattern; take it out by hand", line->line, one_line(node)));
      }
      if (gone[line->line].empty()) replaced.push_back({node, line->line, line->type, fingerprint(line->blob)});
      gone[line->line].insert(listed ? name : to_lower(line->names));
    }
  }

  std::string written;
  std::size_t number = 0;
  for (const std::string_view line : split_lines(*text)) {
    const auto names_go = gone.find(++number);
    if (names_go == gone.end()) {
      written.append(line).append("\n");
      continue;
    }
    const std::size_t begin = line.find_first_not_of(" \t");
    const std::size_t end = line.find_first_of(" \t", begin);
    if (const std::string kept = names_without(line.substr(begin, end - begin), names_go->second); !kept.empty()) {
      written.append(kept).append(line.substr(end)).append("\n");
    }
  }
  for (const StoreChange& change : changes) {
    for (const std::string& blob : change.blobs) {
      const bool there = !change.replace && hosts.find_key(node_name(*change.target), blob) != nullptr;
      if (!there) written += store_line(*change.target, blob) + "\n";
    }
  }
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, failed);   // a link stays a link
  if (auto done = write_file_atomically(failed ? std::filesystem::path(path) : real, written, 0600); !done) {
    return not_written(path, done.error().message);
  }
  return replaced;
}

}  // namespace kfab::ssh
