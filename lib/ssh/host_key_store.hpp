#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "ssh/host_names.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd();
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// A store file opened for appending, made with its folder when it is not there, and locked against every other kfab
// until this goes. It is the file that the path names now, not one that somebody has replaced meanwhile. The error's
// message is the system's reason.
class LockedFile {
 public:
  static Result<std::unique_ptr<LockedFile>> open(const std::string& path);
  int fd() const { return file_.get(); }

 private:
  explicit LockedFile(int fd) : file_(fd) {}
  Fd file_;
};

// Whether a known_hosts line can hold the target's names, and that line.
bool can_be_stored(const Target&);
std::string store_line(const Target&, std::string_view key_blob);

// What is to become of one node in a store: these keys are added; with `replace` every line that names the node is
// taken out before. Marked lines (@revoked, @cert-authority) are never touched.
struct StoreChange {
  const Target* target = nullptr;
  std::vector<std::string> blobs{};
  bool replace = false;
};
struct ReplacedLine {
  std::string node;
  std::size_t line = 0;   // in the file as it was
  std::string type, fingerprint;
};
// Makes all changes at once: a reader finds the old file or the new one, and a crash leaves one of both. A key that is
// there already is not added again. Error: host_key_not_stored, and then nothing has changed.
Result<std::vector<ReplacedLine>> update_store(const std::string& path, const std::vector<StoreChange>&);

}  // namespace kfab::ssh
