#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.hpp"
#include "fleet/fleet.hpp"
#include "fleet/supervisor.hpp"
#include "ssh/transport.hpp"

namespace kfab::fleet {

// A file of this machine that any number of nodes may be sent. It is read again for each of them; one that is cut short
// meanwhile is noticed, and one that changes otherwise arrives with the wrong checksum.
class LocalFile final : public ssh::ByteSource {
 public:
  // Told how much of the file was read, of how much; with false the reading stops.
  using Watch = std::function<bool(std::uint64_t done, std::uint64_t total)>;
  // Reads it once for its checksums. Errors: copy_source_unusable (missing, unreadable, a directory, a special file),
  // copy_source_changed, fleet_cancelled (by `watch`).
  static Result<LocalFile> open(const std::string& path, const Watch& watch = {});
  ~LocalFile() override;
  LocalFile(LocalFile&& other) noexcept;
  LocalFile& operator=(LocalFile&&) = delete;
  LocalFile(const LocalFile&) = delete;
  LocalFile& operator=(const LocalFile&) = delete;

  static constexpr std::uint64_t grid_bytes = std::uint64_t{1} << 20;   // a transfer is resumed at a multiple of this
  std::uint64_t size() const { return size_; }                          // as it was when it was opened
  bool read(std::uint64_t at, char* into, std::size_t count) const override;
  bool cut_short() const { return cut_short_; }                         // a read() has failed
  const std::string& sha256() const { return sha256_; }                 // of the whole, lower-case hex
  unsigned mode() const { return mode_; }                               // permission bits
  // Whether this is the checksum of the first `bytes`, a multiple of grid_bytes.
  bool begins_with(std::uint64_t bytes, std::string_view sha256) const;

 private:
  LocalFile() = default;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  unsigned mode_ = 0;
  mutable std::atomic<bool> cut_short_{false};
  std::string sha256_;
  std::vector<std::string> grid_;   // the checksum of the first i + 1 grid steps
};

// Who writes or reads on the node. What is referred to outlives the run.
struct CopyRights {
  Become become = Become::none;
  const Secret* password = nullptr;   // for Become::sudo_password, with a line end
};

struct CopyTask {
  const LocalFile* file = nullptr;
  std::string path;          // on the node: a file, or a folder that is there; relative to the user's home
  std::string name;          // what it is called in a folder
  unsigned mode = 0;         // its permission bits there; 0: as the umask 077 leaves them
  std::string owner{};       // USER or USER:GROUP; empty: who writes it
  CopyRights rights{};
};

struct FetchTask {
  std::string path;                   // on the node
  std::vector<std::string> local{};   // where it is put, one per target; the folders are there
  std::uint64_t max_bytes = 0;        // a larger file is not fetched
  unsigned mode = 0600;               // its permission bits here
  CopyRights rights{};
};

// What came of one file on one node. ok: the whole file is in place, and its checksum was found right.
struct CopyResult {
  std::string node;
  NodeOutcome outcome = NodeOutcome::unreachable;
  ssh::Phase phase = ssh::Phase::resolve;
  std::uint64_t bytes_sent = 0;           // by this run, in either direction
  std::uint64_t resumed_from_bytes = 0;   // what an earlier run had left and need not be sent again
  std::string sha256{};                   // of the whole; empty when it is not known
  bool changed = false;                   // false also when it was there already
  double duration_s = 0;
  std::optional<Diagnostic> why{};        // present unless ok; names the node
};

// Copies one file to every target, or from every target, through one window. On the receiving side it is written under
// a hidden name in the same folder, which a later run goes on from, and takes the place of the old file at once when
// its checksum is right; a file that is there already is not sent. One result per target, in their order, always.
// Cancelling is as with run_command(). Emits node_started, progress and node_done.
std::vector<CopyResult> copy_to(ssh::Transport&, const std::vector<ssh::Target>&, const CopyTask&, const FleetOptions&, const Clock&,
                                EventSink&, const CancelToken&);
std::vector<CopyResult> fetch_from(ssh::Transport&, const std::vector<ssh::Target>&, const FetchTask&, const FleetOptions&, const Clock&,
                                   EventSink&, const CancelToken&);

// The scripts as they travel: without comments, on one line.
std::string copy_in_script();
std::string copy_out_script();

}  // namespace kfab::fleet
