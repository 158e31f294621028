#include <fmt/format.h>

#include <charconv>

#include "base/codes/ssh.hpp"
#include "base/embedded.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "fleet/transfer_job.hpp"

KFAB_EMBEDDED(copy_in_sh)

namespace kfab::fleet {

std::string copy_in_script() { return session_script(embedded_copy_in_sh()); }

namespace {

// What all nodes are sent alike.
struct Parcel {
  const CopyTask& task;
  std::string script = copy_in_script();
  std::string preamble;
  std::string arguments;   // after those of session.sh

  explicit Parcel(const CopyTask& given) : task(given) {
    preamble = fmt::format("{}\n{}\n{}\n", task.path, task.name, task.owner);
    // Two different files, or two places, never meet in one hidden name.
    const std::string part = sha256_hex(task.file->sha256() + "\n" + task.path + "\n" + task.name).substr(0, 32);
    arguments = fmt::format("{} {} {:04o} {} {} {} {}", task.file->sha256(), task.file->size(), task.mode, part, lines_of(task.path),
                            lines_of(task.name), lines_of(task.owner));
  }
};

class CopyJob final : public TransferJob {
 public:
  CopyJob(const ssh::Target& target, const Parcel& parcel, const FleetOptions& options, const Clock& clock, CopyResult& result, EventSink& sink)
      : TransferJob(target, parcel.task.rights, options, clock, result, sink), parcel_(parcel) {}

 private:
  std::string line() const override { return session_line(parcel_.script, nonce(), become()) + " " + parcel_.arguments; }
  void hand_over() override { send_view(parcel_.preamble); }

  void on_word(const SupervisorVoice::Word& word) override {
    if (word.word == "part" && !sending_) {
      start_sending(word.detail);
    } else if (word.word == "same" || word.word == "stored") {
      result().changed = word.word == "stored";
      done();
    }
  }

  // "BYTES SHA256" of what the node has from an earlier try: gone on from if it is the beginning of this file.
  void start_sending(std::string_view detail) {
    sending_ = true;
    std::uint64_t have = 0;
    const auto [end, failed] = std::from_chars(detail.data(), detail.data() + detail.size(), have);
    const std::string_view sum = failed == std::errc{} && end != detail.data() + detail.size() ? std::string_view(end + 1, detail.data() + detail.size()) : "";
    const LocalFile& file = *parcel_.task.file;
    if (!file.begins_with(have, sum)) have = 0;
    const std::uint64_t rest = file.size() - have;
    result().resumed_from_bytes = have;
    result().bytes_sent = rest;
    emit({.type = "progress", .node = node(), .step = "copy", .message = fmt::format("sending {} bytes", with_thousands(static_cast<long long>(rest))),
          .done = static_cast<double>(have), .total = static_cast<double>(file.size())});
    send(fmt::format("{}\n", have));
    send_from(file, have, rest);
  }

  void look_for_trouble() override {
    if (parcel_.task.file->cut_short()) give_up(error(code::copy_source_changed, who() + ": the file was cut short here while it was sent"));
  }

  const Parcel& parcel_;
  bool sending_ = false;
};

}  // namespace

std::vector<CopyResult> copy_to(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const CopyTask& task, const FleetOptions& options,
                                const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  std::vector<CopyResult> results(targets.size());
  std::vector<bool> made(targets.size(), false);
  const Parcel parcel(task);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    results[i].node = targets[i].node;
    results[i].sha256 = task.file->sha256();
    results[i].why = cancelled(targets[i].node, true);   // until it has ended
  }
  const auto make = [&](std::size_t i) {
    made[i] = true;
    return std::make_shared<CopyJob>(targets[i], parcel, options, clock, results[i], sink);
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (!made[i]) results[i].why = never_started(options, i, targets[i].node);
  return results;
}

}  // namespace kfab::fleet
