#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/codes/commands.hpp"
#include "base/codes/ssh.hpp"
#include "base/embedded.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "fleet/transfer_job.hpp"

KFAB_EMBEDDED(copy_out_sh)

namespace kfab::fleet {

std::string copy_out_script() { return session_script(embedded_copy_out_sh()); }

namespace {

// A local file that grows: what was written, and its checksum so far.
class GrowingFile {
 public:
  ~GrowingFile() { close(); }
  GrowingFile() = default;
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  // Opens it, made where it is missing, and reads what an earlier run left. False with errno.
  bool open(const std::string& path) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return false;
    std::array<char, 256 * 1024> chunk;
    for (;;) {
      const ssize_t got = ::read(fd_, chunk.data(), chunk.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return false;
      if (got == 0) return true;
      sum_.update({chunk.data(), static_cast<std::size_t>(got)});
      size_ += static_cast<std::uint64_t>(got);
    }
  }
  bool restart() {
    size_ = 0;
    sum_ = Sha256();
    return ::ftruncate(fd_, 0) == 0 && ::lseek(fd_, 0, SEEK_SET) == 0;
  }
  bool append(std::string_view bytes) {
    sum_.update(bytes);
    size_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  // Makes it last, with these permission bits. False with errno.
  bool finish(unsigned mode) {
    const bool good = ::fchmod(fd_, static_cast<mode_t>(mode)) == 0 && ::fsync(fd_) == 0;
    close();
    return good;
  }
  std::uint64_t size() const { return size_; }
  std::string sha256() const { return Sha256(sum_).hex(); }

 private:
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
  std::uint64_t size_ = 0;
  Sha256 sum_;
};

class FetchJob final : public TransferJob {
 public:
  FetchJob(const ssh::Target& target, const FetchTask& task, const std::string& local, const std::string& script, const FleetOptions& options,
           const Clock& clock, CopyResult& result, EventSink& sink)
      : TransferJob(target, task.rights, options, clock, result, sink), task_(task), local_(local), script_(script), out_voice_(nonce()) {}

  void on_stdout(std::string_view bytes) override {
    if (!listening()) return;
    out_voice_.feed(bytes, [this](std::string_view own) { take(own); },   // before its first word: what a login shell prints
                    [this](const SupervisorVoice::Word& word) { begin(word); });
  }

 private:
  std::string line() const override {
    return fmt::format("{} {} {}", session_line(script_, nonce(), become()), task_.max_bytes, lines_of(task_.path));
  }
  void hand_over() override { send(task_.path + "\n"); }

  // "BYTES SHA256" of the file on the node.
  void on_word(const SupervisorVoice::Word& word) override {
    if (word.word != "file" || known_) return;
    const std::string& detail = word.detail;
    const auto [end, failed] = std::from_chars(detail.data(), detail.data() + detail.size(), size_);
    const std::string sum = failed == std::errc{} && end != detail.data() + detail.size() ? std::string(end + 1, detail.data() + detail.size()) : "";
    if (sum.size() != 64 || sum.find_first_not_of("0123456789abcdef") != std::string::npos || size_ > task_.max_bytes)
      return give_up(error(code::copy_damaged, who() + ": the node's script does not say what it has"));
    known_ = true;
    result().sha256 = sum;
    if (there_already(sum)) {
      same_ = true;
      send("skip\n");
      return;
    }
    part_ = local_.substr(0, local_.rfind('/') + 1) + ".kfab-" + sha256_hex(sum + "\n" + local_).substr(0, 32);
    if (!file_.open(part_)) return unusable(part_);
    if (file_.size() > size_ && !file_.restart()) return unusable(part_);
    send(file_.size() > 0 ? fmt::format("{} {}\n", file_.size(), file_.sha256()) : "0 -\n");
  }

  bool there_already(const std::string& sum) const {
    struct stat facts{};
    if (::lstat(local_.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode) || static_cast<std::uint64_t>(facts.st_size) != size_) return false;
    auto there = LocalFile::open(local_);
    return there && there->sha256() == sum;
  }

  void begin(const SupervisorVoice::Word& word) {
    std::uint64_t from = 0;
    std::from_chars(word.detail.data(), word.detail.data() + word.detail.size(), from);
    if (word.word != "ready" || !known_ || same_) return;
    if (from != file_.size()) {
      if (from != 0) return give_up(error(code::copy_damaged, who() + ": the node goes on from where it was not asked to"));
      if (!file_.restart()) return unusable(part_);
    }
    result().resumed_from_bytes = from;
    receiving_ = true;
  }

  void take(std::string_view bytes) {
    if (!receiving_) return;
    if (bytes.size() > size_ - file_.size()) {
      receiving_ = false;
      return give_up(error(code::copy_damaged, who() + ": the node sends more than the file has"));
    }
    result().bytes_sent += bytes.size();
    if (!file_.append(bytes)) {
      receiving_ = false;
      unusable(part_);
    }
  }

  void conclude() override {
    if (same_) return done();
    if (!known_ || file_.size() != size_) return;
    if (file_.sha256() != result().sha256) {
      ::unlink(part_.c_str());
      return give_up(error(code::copy_damaged, who() + ": the checksum of what arrived is wrong; did the file change meanwhile?"));
    }
    if (!file_.finish(task_.mode) || std::rename(part_.c_str(), local_.c_str()) != 0) return unusable(local_);
    result().changed = true;
    done();
  }

  void tell_progress() override {
    if (!receiving_) return;
    emit({.type = "progress", .node = node(), .step = "copy", .message = "fetching", .done = static_cast<double>(file_.size()), .total = static_cast<double>(size_)});
  }

  void unusable(const std::string& path) {
    give_up(error(code::copy_folder_unusable, fmt::format("{}: {}: {}", who(), one_line(path), std::strerror(errno))));
  }

  const FetchTask& task_;
  const std::string& local_;
  const std::string& script_;
  SupervisorVoice out_voice_;
  GrowingFile file_;
  std::string part_;
  std::uint64_t size_ = 0;
  bool known_ = false, same_ = false, receiving_ = false;
};

}  // namespace

std::vector<CopyResult> fetch_from(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const FetchTask& task, const FleetOptions& options,
                                   const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  std::vector<CopyResult> results(targets.size());
  std::vector<bool> made(targets.size(), false);
  const std::string script = copy_out_script();
  for (std::size_t i = 0; i < targets.size(); ++i) {
    results[i].node = targets[i].node;
    results[i].why = cancelled(targets[i].node, true);   // until it has ended
  }
  const auto make = [&](std::size_t i) {
    made[i] = true;
    return std::make_shared<FetchJob>(targets[i], task, task.local.at(i), script, options, clock, results[i], sink);
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (!made[i]) results[i].why = never_started(options, i, targets[i].node);
  return results;
}

}  // namespace kfab::fleet
