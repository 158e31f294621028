#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "ssh/known_hosts.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// What is asked of one machine while it is met, kept by whoever meets it from HostKeys::prepare() to the last judge().
struct HostKeyInquiry {
  std::vector<std::string> types{};   // ask for these first: the machine is, or may be, known by them
  bool guessed = false;               // they come of lines that hide their names
  bool asked_again = false;           // judge() has said ask_again once
};

enum class HostKeyAnswer {
  trusted,
  ask_again,   // it is known, but by another type than it showed: connect again, asking for the types now in the inquiry
};

// Decides whether a machine is the one it should be. Two sources: known_hosts files of the user (asked for the
// address, as ssh asks them, and for the node's name where they say nothing about the address) and the site's own
// store (asked for the node's name first, so that an address given to another machine is noticed). The site's store
// decides where it knows the node. Files are read once and kept; only the store is ever written. May be used by several
// threads at once: those that only look do not wait for each other.
class HostKeys {
 public:
  // `home` and the system's own file are used for targets that name no known_hosts files.
  explicit HostKeys(std::string home) : home_(std::move(home)) {}
  ~HostKeys();

  // What this machine is to be asked for. Where no line that can be read names it, these are the types of the hashed
  // lines, the most frequent first, and nothing is tried. Errors: known_hosts_unreadable.
  Result<HostKeyInquiry> prepare(const Target&);
  // Whether the machine that showed this key is trusted; stores the key when it is the first and the target's policy
  // says so. `checkable` are the types that this libssh2 can ask for: a machine known only by others is unknown, not
  // changed. Errors: host_key_unknown, host_key_changed, host_key_revoked, host_key_not_stored, known_hosts_unreadable.
  Result<HostKeyAnswer> judge(const Target&, HostKeyInquiry&, std::string_view key_blob, const std::vector<std::string>& checkable);

 private:
  struct Book {
    std::vector<std::string> files;
    KnownHosts hosts;
    std::uintmax_t bytes = 0;   // of all files when they were read, with what was appended since
    std::size_t lines = 0;
  };
  struct Known {   // what applies to one target, and whose lines they are
    KnownHosts::Lines lines{};
    const Book* book = nullptr;
    bool vague = false;   // found under another of its names in the user's own files: may confirm, cannot contradict
    bool trusted = false;   // the key in question is among them
  };
  struct Books { const Book* users = nullptr; const Book* store = nullptr; };   // store: null when there is none

  Result<Book*> book_of(const std::vector<std::string>& files);
  Status read_books(const Target&);
  Books books(const Target&) const;
  Known known(const Target&, std::string_view key_blob) const;
  const KnownHost* revoked(const Target&, std::string_view key_blob) const;
  Result<HostKeyAnswer> judge_known(const Target&, HostKeyInquiry&, std::string_view key_blob, const Known&,
                                    const std::vector<std::string>& checkable) const;
  Diagnostic unknown(const Target&, std::string_view key_blob, const Known&) const;
  Status store(const Target&, std::string_view key_blob);
  Status append(const Target&, int fd, std::string_view key_blob);
  std::vector<std::string> files_of(const Target&) const;

  std::string home_;
  mutable std::shared_mutex mutex_;   // books_: held alone while one is read or added to
  std::map<std::vector<std::string>, std::unique_ptr<Book>> books_;
  std::map<std::string, std::chrono::steady_clock::time_point> synced_;   // stores written to: when they were last put on disk
};

}  // namespace kfab::ssh
