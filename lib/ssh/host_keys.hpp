#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "ssh/known_hosts.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// Decides whether a machine is the one it should be. Two sources: known_hosts files of the user (asked for the
// address, as ssh asks them, and for the node's name where they say nothing about the address) and the site's own
// store (asked for the node's name first, so that an address given to another machine is noticed). The site's store
// decides where it knows the node. Files are read once and kept; only the store is ever written.
class HostKeys {
 public:
  // `home` and the system's own file are used for targets that name no known_hosts files.
  explicit HostKeys(std::string home) : home_(std::move(home)) {}

  // The key types by which this machine is known, so that it can be asked for just these. Errors:
  // known_hosts_unreadable.
  Result<std::vector<std::string>> known_types(const Target&);
  // Whether the machine that showed this key is trusted; stores the key when it is the first and the target's policy
  // says so. `checkable` are the types that this libssh2 can ask for: a machine known only by others is unknown, not
  // changed. Errors: host_key_unknown, host_key_changed, host_key_revoked, host_key_not_stored.
  Status check(const Target&, std::string_view key_blob, const std::vector<std::string>& checkable);

 private:
  struct Book {
    std::vector<std::string> files;
    KnownHosts hosts;
    std::uintmax_t bytes = 0;   // of all files when they were read, with what was appended since
    std::size_t lines = 0;
  };
  struct Known {   // what applies to one target, and whose lines they are
    std::vector<const KnownHost*> lines;
    const Book* book = nullptr;
    bool vague = false;   // found under the node's name in the user's own files: may confirm, cannot contradict
  };
  Result<Book*> book_of(const std::vector<std::string>& files);
  Result<Known> known(const Target&);
  Result<std::vector<const KnownHost*>> marked(const Target&);
  Status store(const Target&, std::string_view key_blob, const std::vector<std::string>& checkable);
  std::vector<std::string> files_of(const Target&) const;

  std::string home_;
  std::map<std::vector<std::string>, std::unique_ptr<Book>> books_;
};

}  // namespace kfab::ssh
