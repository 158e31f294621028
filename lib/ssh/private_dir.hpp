#pragma once

#include <string>

#include "base/result.hpp"

namespace kfab::ssh {

// A directory of this process for sockets and files that nobody else may see: mode 0700, below $XDG_RUNTIME_DIR, else
// $TMPDIR, else /tmp, whichever first can be written, has a path that no shell reads anything into, and is short enough
// for a Unix socket. Gone with this object. Those of processes that were killed are removed when the next one is made:
// each holds a lock on a file in it while it lives.
class PrivateDir {
 public:
  static Result<PrivateDir> make(const std::string& purpose);   // errors: private_dir_unusable
  PrivateDir(PrivateDir&&) noexcept;
  PrivateDir& operator=(PrivateDir&&) noexcept;
  ~PrivateDir();
  const std::string& path() const { return path_; }

 private:
  PrivateDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  void remove();
  std::string path_;
  int lock_ = -1;
};

}  // namespace kfab::ssh
