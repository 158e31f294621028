#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "json/value.hpp"

// Work that goes on on the node after its owner has left: what it was told, how far it is and what it found, in a folder of
// its own. Who holds the folder's lock is at work; a lock ends with its process, so nothing here can outlive the truth.
//
//   request    the task and its members, as it was told
//   state      {"pid","boot_id","started_at","started_boottime_s","board_serial"}: of the process that works, and where
//   progress   the newest progress message of each accelerator and step, as an array
//   messages   one line per message of the task, "done" last, with the "boot_id" and "boottime_s" of the end
//   stop       is there once somebody wants it to stop
//   log        what the process said on stderr
namespace kfab::agent {

struct JobLimits {
  std::size_t messages = 150'000;
  std::size_t bytes = std::size_t{64} << 20;      // of `messages`
};

// Where jobs may be kept: on the node itself, so that they outlive a restart and no two nodes share them as they may share homes.
// Tests give other places.
struct JobPlaces { std::string lib = "/var/lib", tmp = "/var/tmp"; };

// Where new jobs of this user are, made where it is missing: $KFAB_JOBS_DIR; else for root /var/lib/kfab/jobs; else
// /var/tmp/kfab-UID/jobs, or, where somebody else was there first, /var/tmp/kfab-UID-XXXXXX/jobs of a name that nobody can know
// before. Errors: agent_job_not_started, for places that others could write to.
Result<std::string> jobs_root(const JobPlaces& = {});
// All of them that are there and this user's own, so that jobs which were begun in one of the others are found. Makes nothing.
std::vector<std::string> jobs_roots(const JobPlaces& = {});

// Whether it can be the name of a folder and of a unit: letters, digits, ". _ -", not more than 120 of them.
bool is_job_id(std::string_view);

class JobFolder {
 public:
  enum class State : std::uint8_t { running, done, lost, restarted };

  // A new one with its request. Errors: agent_job_not_started (it is there already, no space, no permission).
  static Result<JobFolder> make(const std::string& root, const std::string& id, const json::Value& request);
  static std::optional<JobFolder> find(const std::string& root, const std::string& id);
  static std::optional<JobFolder> find(const std::vector<std::string>& roots, const std::string& id);   // the first
  static JobFolder at(std::string path) { return JobFolder(std::move(path)); }
  static std::vector<std::string> all(const std::string& root);   // the ids that are there, sorted

  const std::string& path() const { return path_; }
  std::string id() const { return path_.substr(path_.rfind('/') + 1); }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  Result<json::Value> request() const;
  bool is_held() const;                  // a process is at work
  // Takes the lock for as long as the descriptor is open. Errors: agent_job_not_started.
  Result<int> hold() const;
  // done: its last message is there. restarted: it is not, and the node has been started again since. lost: it is not.
  State state() const;
  json::Value progress() const;          // an array; empty where nothing was told yet
  std::optional<double> elapsed_s() const;   // since it began, suspended time included; absent after a restart
  std::string started_at() const;        // RFC 3339 by the node's clock, or empty
  std::string last_words() const;        // the end of its log, one line
  double age_s() const;                  // since anything in it was last written, by the node's clock
  // Since it ended, however that was; absent while it is at work. By the clock that no setting moves where it ended in this boot,
  // else by the node's clock, and at least as long as the node has been up.
  std::optional<double> ended_s_ago() const;
  std::string board_serial() const;      // of the machine that it was begun on; empty where that tells none

  // Every whole line of `messages` in order. False when one of them cannot be read: the record is damaged.
  bool each_message(const std::function<void(const json::Value&)>&) const;
  json::Value done() const;              // the last message, null when it is not there

  Status ask_to_stop() const;
  void remove() const;                   // nobody may be at work

 private:
  explicit JobFolder(std::string path) : path_(std::move(path)) {}
  double since_written(std::initializer_list<const char*> names) const;
  std::string path_;
};

// Which boot of the node this is; empty when it is not told.
std::string boot_id();
// Seconds since the node was started, suspended time included.
double boottime_s();

}  // namespace kfab::agent
